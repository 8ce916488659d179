"""The loader that follows a plan: what Lightning and torch see of it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from multiprocessing import connection
from typing import Any, cast

import torch
from lightning.fabric.utilities.rank_zero import rank_prefixed_message
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from lightning_rcnn.data.dataset import BatchRequest, DetectionDataset
from lightning_rcnn.data.plan import Plan
from lightning_rcnn.data.worker_deaths import SamplesInHand, death_of_worker, raise_death, watch
from lightning_rcnn.data.workers import initialise_worker, signals_blocked
from lightning_rcnn.errors import InputError
from lightning_rcnn.structures import Batch

logger = logging.getLogger(__name__)


class PlanSampler(DistributedSampler):
    """Yields one rank's planned batches as requests for the dataset.

    It is a `DistributedSampler` because Lightning puts one of its own in place of any other sampler.

    Args:
        dataset: what the plan is about.
        plan: epoch -> the plan of this rank.
        num_batches: of this rank, in every epoch.
        rank, world: which part of the whole this rank reads.

    Attributes:
        epoch: which epoch is next; `set_epoch` sets it.
        first: the batch at which it begins.
    """

    def __init__(
        self, dataset: DetectionDataset, plan: Callable[[int], Plan], num_batches: int, rank: int, world: int
    ) -> None:
        super().__init__(dataset, num_replicas=world, rank=rank, shuffle=False)
        self.plan = plan
        self.num_batches = num_batches
        self.first = 0

    def __len__(self) -> int:
        """Batches of a whole epoch, wherever this one begins: Lightning counts from the epoch's beginning."""
        return self.num_batches

    def __iter__(self) -> Iterator[BatchRequest]:
        epoch = self.epoch
        plan = self.plan(epoch)
        for batch in range(self.first, self.num_batches):
            height, width = plan.shapes[batch].tolist()
            yield BatchRequest(epoch, int(plan.scales[batch]), (height, width), tuple(plan.samples[batch].tolist()))


class PlannedLoader(DataLoader[Batch]):
    """A `DataLoader` over planned batches, with exact resume.

    Args:
        dataset: answers requests with batches.
        plan: epoch -> the plan of this rank.
        num_batches: of this rank, in every epoch.
        position: where the epoch that is about to begin is to begin, as (epoch, batch). Asked at the first batch, not
            at `iter()`: Lightning calls that before it has restored its counters. By default batch 0 of the epoch that
            was given to `loader.sampler.set_epoch`.
        rank, world: which part of the whole this rank reads.
        max_corrupt_share: share of an epoch's samples of this rank which may be unreadable.
        num_workers, multiprocessing_context, pin_memory: as for `DataLoader`.
        injected: ignored. Lightning copies loaders with another sampler in them, for prediction and `overfit_batches`;
            the plan stays in force.

    Attributes:
        problems: what is wrong with unreadable records, each named once, in the order in which they were met.
    """

    sampler: PlanSampler

    def __init__(
        self,
        dataset: DetectionDataset,
        plan: Callable[[int], Plan],
        num_batches: int,
        *,
        position: Callable[[], tuple[int, int]] | None = None,
        rank: int = 0,
        world: int = 1,
        max_corrupt_share: float = 0.01,
        num_workers: int = 0,
        multiprocessing_context: str | None = None,
        pin_memory: bool = False,
        **injected: Any,
    ) -> None:
        super().__init__(
            cast(Dataset[Batch], dataset),  # an InputError never leaves __iter__
            batch_size=None,  # an item is a batch
            sampler=PlanSampler(dataset, plan, num_batches, rank, world),
            num_workers=num_workers,
            multiprocessing_context=multiprocessing_context if num_workers else None,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            worker_init_fn=initialise_worker,
            generator=torch.Generator(),  # the seed of workers is drawn from it, else from the global one
        )
        dataset.samples_in_hand = SamplesInHand(num_workers)
        self.problems: list[str] = []
        self._position = position
        self._data = dataset
        self._max_corrupt_share = max_corrupt_share

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Begin an epoch; the loader goes to work when its first batch is asked for."""
        if self._position is not None:
            self.sampler.epoch, self.sampler.first = self._position()
        num_unreadable = 0
        with signals_blocked() if self.num_workers else nullcontext():
            batches = super().__iter__()
        if self.num_workers:
            watch(self)
        for batch in self._naming_deaths(batches):
            if isinstance(batch, InputError):
                raise InputError(str(batch))  # not itself: its traceback and this frame would keep each other alive
            problems = [record.problem for record in batch.records if record.problem]
            if problems:
                num_unreadable += len(problems)
                self._report(problems, num_unreadable)
            yield batch

    def death(self, within: float) -> InputError | None:
        """What became of the first worker that ended by itself, and its last sample.

        Args:
            within: seconds to wait for an end; None is returned where there is none.
        """
        iterator: Any = self._iterator  # torch's, whose workers no public name leads to
        workers = [] if iterator is None or iterator._shutdown else iterator._workers
        ended = connection.wait([worker.sentinel for worker in workers], timeout=within)
        for number, worker in enumerate(workers):
            if worker.sentinel in ended:
                worker.join(within)  # its files are closed a moment before its status is known
            if worker.exitcode:
                sample = self._data.samples_in_hand.of_worker(number)
                return death_of_worker(worker.exitcode, None if sample is None else self._data.name(sample))
        return None

    def state_dict(self) -> dict[str, Any]:
        """Empty, as the data module keeps the state; that there is one tells Lightning that resuming is possible."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load; see `state_dict`."""

    def _naming_deaths(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        try:
            yield from batches
        except (RuntimeError, OSError, EOFError):  # what torch makes of a death, and of a connection that it breaks
            if self.num_workers:
                raise_death(self, within=1.0)
            raise

    def _report(self, problems: list[str], num_unreadable: int) -> None:
        for problem in problems:
            if problem not in self.problems:
                self.problems.append(problem)
                rank = self.sampler.rank if self.sampler.num_replicas > 1 else None
                logger.warning(rank_prefixed_message(f"left out an unreadable record: {problem}", rank))
        num_samples = self.sampler.num_samples
        if num_unreadable > self._max_corrupt_share * num_samples:
            raise InputError(
                f"{num_unreadable} of {num_samples} records of an epoch cannot be read; "
                f"data.loading.max_corrupt_share allows {self._max_corrupt_share:g} of them: "
                f"pack the data set again or raise it. The last: {problems[-1]}"
            )
