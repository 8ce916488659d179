"""Where training stands in the data, and where it goes on after a restart.

Lightning's own counters tell which batch of an epoch comes next, exactly, if they are read when the first batch is
asked for (`PlannedLoader`). Two things they do not tell:

- Whether the batches before it were the same: with another global batch size, other shards or another seed, batch 700
  stands for other samples. Then nothing sensible is left of this epoch, and the next one begins.
- The epoch itself, where the rest of one was left out for that. So the number of the planned epoch is kept here.
"""

import logging
from dataclasses import asdict, dataclass
from typing import Any

from lightning.pytorch import Trainer

from lightning_rcnn.data.plan import PLAN_VERSION
from lightning_rcnn.training_loops import use_exact_loops

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlanIdentity:
    """What has to stay the same for batch k of an epoch to stay the same; numbers of ranks and workers are not in it.

    Attributes:
        data: fingerprint of the training shards.
        padding: hash of the resized sizes and padded shapes, which decide what samples go together.
        seed, window: of the shuffling.
        global_batch_size: samples of all ranks together.
        version: of the planning itself.
    """

    data: str
    padding: str
    seed: int
    window: int
    global_batch_size: int
    version: int = PLAN_VERSION

    def difference(self, saved: dict[str, Any]) -> str:
        """In words, why a checkpoint's batches are not those of this run; empty if they are."""
        if saved["data"] != self.data:
            return "the training shards are others"
        if saved["global_batch_size"] != self.global_batch_size:
            return (
                f"the global batch had {saved['global_batch_size']} images and has {self.global_batch_size} "
                "(number of devices x data.batch_size)"
            )
        if saved["seed"] != self.seed:
            return f"data.seed was {saved['seed']} and is {self.seed}"
        if saved["window"] != self.window:
            return f"data.loading.shuffle_window was {saved['window']} and is {self.window}"
        if saved["padding"] != self.padding:
            return "the resize rule or the padded shapes are others"
        return "" if saved["version"] == self.version else "another version of lightning-rcnn planned its batches"


class TrainingPosition:
    """Follows a trainer through the epochs of the plan.

    Args:
        trainer: whose progress counts.
        identity: of this run's plan.
        num_batches: of one rank in an epoch.
    """

    def __init__(self, trainer: Trainer, identity: PlanIdentity, num_batches: int) -> None:
        self._trainer = trainer
        self._loop = use_exact_loops(trainer)
        self._epochs: Any = trainer.fit_loop.epoch_progress.current
        self._batches: Any = trainer.fit_loop.epoch_loop.batch_progress.current
        self._identity = identity
        self._num_batches = num_batches
        self._epoch = 0  # that is running, or comes first
        self._ahead = 0  # planned epoch less Lightning's
        self._is_left_out = False
        self._resumed: dict[str, Any] | None = None

    def begin_epoch(self) -> tuple[int, int]:
        """(Epoch, batch) at which the data go on; to be called when the first batch of an epoch is asked for.

        The batch is the number of batches where nothing is left of the epoch.
        """
        batch = self._batches.ready
        if self._resumed is not None and self._resumed["samples"] and self._cannot_go_on(self._resumed):
            return self._epoch, self._num_batches
        if batch >= self._trainer.num_training_batches:
            return self._epoch, self._num_batches
        if self._resumed is not None:
            self._ahead = self._resumed["epoch"] - self._lightning_epoch
            self._resumed = None
        self._epoch = self._lightning_epoch + self._ahead
        self._is_left_out = False
        return self._epoch, batch

    def state_dict(self) -> dict[str, Any]:
        """Which batch is next, the same on all ranks: planned epoch, samples of it that are done, and the identity."""
        epoch, batches = self._epoch, self._batches.processed
        if self._resumed is not None:
            return {**self._resumed, "lightning_epoch": self._lightning_epoch}
        if self._is_left_out or batches >= self._trainer.num_training_batches:
            epoch, batches = epoch + 1, 0
        samples = batches * self._identity.global_batch_size
        return {"epoch": epoch, "samples": samples, "lightning_epoch": self._lightning_epoch, **asdict(self._identity)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, at the first batch that is asked for."""
        self._resumed = state
        self._epoch = state["epoch"]

    def _cannot_go_on(self, resumed: dict[str, Any]) -> bool:
        """Leave out the rest of an epoch whose batches are not those of the checkpoint; say so."""
        reason = self._identity.difference(resumed)
        if not reason:
            return False
        if self._trainer.is_global_zero:
            logger.warning(
                f"the checkpoint is from within epoch {self._epoch}, but {reason}; going on with the next epoch"
            )
        self._ahead = self._epoch - resumed["lightning_epoch"]
        self._resumed = None
        self._is_left_out = self._lightning_epoch == resumed["lightning_epoch"]
        return self._is_left_out

    @property
    def _lightning_epoch(self) -> int:
        return self._epochs.processed - self._loop.has_open_epoch
