"""The loader that follows a plan: the `DataLoader` and the sampler that Lightning and torch see."""

import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import chain
from multiprocessing import connection
from typing import Any, cast

import torch
from lightning.fabric.utilities.rank_zero import rank_prefixed_message
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from lightning_rcnn.data.batch_memory import BatchMemory
from lightning_rcnn.data.current_samples import CurrentSamples
from lightning_rcnn.data.dataset import BatchRequest, DetectionDataset
from lightning_rcnn.data.decoded_batch import LoadedBatch
from lightning_rcnn.data.plan import Plan
from lightning_rcnn.data.worker_deaths import death_of_worker, raise_death, watch
from lightning_rcnn.data.workers import initialize_worker, signals_blocked
from lightning_rcnn.errors import InputError

logger = logging.getLogger(__name__)


class PlanSampler(DistributedSampler):
    """Yields the planned batches of one rank as requests for the dataset.

    It is a `DistributedSampler` because Lightning replaces any other sampler with its own.

    Args:
        dataset: dataset of the plan.
        plan: function from the epoch to the plan of this rank.
        num_batches: batches of this rank in every epoch.
        rank, world: rank of this process, and number of ranks.

    Attributes:
        epoch: next epoch; `set_epoch` sets it.
        first: batch at which the epoch begins.
    """

    def __init__(
        self, dataset: DetectionDataset, plan: Callable[[int], Plan], num_batches: int, rank: int, world: int
    ) -> None:
        super().__init__(dataset, num_replicas=world, rank=rank, shuffle=False)
        self.plan = plan
        self.num_batches = num_batches
        self.first = 0

    def __len__(self) -> int:
        """Return the number of batches in a whole epoch, because Lightning counts from the epoch's beginning."""
        return self.num_batches

    def __iter__(self) -> Iterator[BatchRequest]:
        epoch = self.epoch
        plan = self.plan(epoch)
        for batch in range(self.first, self.num_batches):
            height, width = plan.shapes[batch].tolist()
            samples, occurrences = plan.samples[batch].tolist(), plan.occurrences[batch].tolist()
            yield BatchRequest(epoch, int(plan.scales[batch]), (height, width), tuple(samples), tuple(occurrences))


class PlannedLoader(DataLoader[LoadedBatch]):
    """A `DataLoader` over planned batches, with exact resume.

    Args:
        dataset: dataset that answers requests with batches.
        plan: function from the epoch to the plan of this rank.
        num_batches: batches of this rank in every epoch.
        position: function that returns the (epoch, batch) at which the next epoch begins. It is called at the first
            batch, not at `iter()`, which Lightning calls before it has restored its counters. By default an epoch
            begins at batch 0 of the epoch given to `loader.sampler.set_epoch`.
        rank, world: rank of this process, and number of ranks.
        max_corrupt_share: share of this rank's samples in an epoch, 0 to 1, that may be unreadable.
        image_bytes: bytes of the images of the largest batch, for which workers keep memory; 0 for fresh memory each.
        num_workers, multiprocessing_context, pin_memory: as for `DataLoader`.
        injected: ignored. Lightning copies loaders with another sampler, for prediction and `overfit_batches`; the
            plan still decides.

    Attributes:
        problems: problems of unreadable records and damage of images that still decode, each once, in order of
            occurrence.
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
        image_bytes: int = 0,
        num_workers: int = 0,
        multiprocessing_context: str | None = None,
        pin_memory: bool = False,
        **injected: Any,
    ) -> None:
        super().__init__(
            cast(Dataset[LoadedBatch], dataset),  # an InputError never leaves __iter__
            batch_size=None,  # an item is a batch
            sampler=PlanSampler(dataset, plan, num_batches, rank, world),
            num_workers=num_workers,
            multiprocessing_context=multiprocessing_context if num_workers else None,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            worker_init_fn=initialize_worker,
            generator=torch.Generator(),  # the workers' seeds are drawn from it instead of the global generator
        )
        dataset.current_samples = CurrentSamples(num_workers)
        self._image_bytes = image_bytes
        self.problems: list[str] = []
        self._position = position
        self._data = dataset
        self._max_corrupt_share = max_corrupt_share

    def __iter__(self) -> Iterator[LoadedBatch]:  # type: ignore[override]
        """Begin an epoch; loading starts when the first batch is requested."""
        if self._position is not None:
            self.sampler.epoch, self.sampler.first = self._position()
        if self._iterator is None:  # workers start
            self._memory = self._data.memory = BatchMemory(self.num_workers, self._image_bytes)
        num_unreadable = 0
        with signals_blocked() if self.num_workers else nullcontext():
            batches = super().__iter__()
        if self.num_workers:
            watch(self)
        for batch in self._naming_deaths(batches):
            if isinstance(batch, InputError):
                raise InputError(str(batch))  # a copy: its traceback and this frame would keep each other alive
            for record in chain.from_iterable((record, *record.partners) for record in batch.records):
                if record.damage:
                    self._name_once("using a damaged image", record.damage)
                if record.problem:
                    self._name_once("left out an unreadable record", record.problem)
            # An unreadable partner costs no sample, and the plan comes to it, too.
            problems = [record.problem for record in batch.records if record.problem]
            if problems:
                num_unreadable += len(problems)
                self._require_few(num_unreadable, problems[-1])
            yield batch

    def death(self, within: float) -> InputError | None:
        """Return the error for the first worker that died, with its last sample; None if none dies.

        Args:
            within: seconds to wait for a death.
        """
        iterator: Any = self._iterator  # torch has no public name for the workers
        workers = [] if iterator is None or iterator._shutdown else iterator._workers
        ended = connection.wait([worker.sentinel for worker in workers], timeout=within)
        for number, worker in enumerate(workers):
            if worker.sentinel in ended:
                worker.join(within)  # its files close a moment before its exit status is known
            if worker.exitcode:
                sample = self._data.current_samples.of_worker(number)
                return death_of_worker(worker.exitcode, None if sample is None else self._data.name(sample))
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state: the data module keeps it. This method tells Lightning that the loader can resume."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load nothing; see `state_dict`."""

    def _naming_deaths(self, batches: Iterator[LoadedBatch]) -> Iterator[LoadedBatch]:
        try:
            yield from batches
        except (RuntimeError, OSError, EOFError):  # torch's errors after a worker's death or a broken connection
            if self.num_workers:
                raise_death(self, within=1.0)
            raise

    def _require_few(self, num_unreadable: int, last_problem: str) -> None:
        num_samples = self.sampler.num_samples
        if num_unreadable > self._max_corrupt_share * num_samples:
            raise InputError(
                f"{num_unreadable} of {num_samples} records of an epoch cannot be read, more than "
                f"data.loading.max_corrupt_share {self._max_corrupt_share:g} allows (last: {last_problem}); "
                "pack the data set again or raise it"
            )

    def _name_once(self, event: str, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
            rank = self.sampler.rank if self.sampler.num_replicas > 1 else None
            logger.warning(rank_prefixed_message(f"{event}: {problem}", rank))
