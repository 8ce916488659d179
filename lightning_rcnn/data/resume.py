"""The position of a training in the data, and its position after a restart.

Lightning's counters state exactly which batch of an epoch comes next, if they are read when the first batch is
requested (`PlannedLoader`). They do not state two things:

- Whether the previous batches were the same. With another global batch size, other shards or another seed, batch 700
  means other samples. The rest of such an epoch is undefined, so the next epoch begins.
- The planned epoch, after the rest of an epoch was left out for that reason. So its number is stored here.
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
    """Everything that determines batch k of an epoch; the numbers of ranks and workers do not.

    Attributes:
        data: fingerprint of the training shards.
        padding: hash of the resized sizes, the padded shapes and the transforms that change sizes, which determine the
            samples that share a batch.
        seed, window: seed and window (in samples) of the shuffling.
        balance: `PaddedSet.balance` of the run; empty without exchanges.
        global_batch_size: number of samples of all ranks together.
        sampling: description of `data.sampling`.
        counts: fingerprint of how often an epoch has each sample.
        version: version of the planning code.
    """

    data: str
    padding: str
    seed: int
    window: int
    balance: str
    global_batch_size: int
    sampling: str
    counts: str
    version: int = PLAN_VERSION

    def difference(self, saved: dict[str, Any]) -> str:
        """Return why a checkpoint's batches differ from those of this run; empty if they are the same."""
        if saved["data"] != self.data:
            return "the training shards changed"
        if saved["global_batch_size"] != self.global_batch_size:
            return (
                f"the global batch had {saved['global_batch_size']} images and has {self.global_batch_size} "
                "(number of devices x data.batch_size)"
            )
        if saved["seed"] != self.seed:
            return f"data.seed was {saved['seed']} and is {self.seed}"
        if saved["window"] != self.window:
            return f"data.loading.shuffle_window was {saved['window']} and is {self.window}"
        if saved.get("balance", "") != self.balance:  # checkpoints of older versions have none
            return "data.loading.balance_window changed, or the numbers of objects by which it exchanges images"
        if saved["padding"] != self.padding:
            return "the resize rule or the padded shapes changed, or a transform that decides sizes"
        if saved["sampling"] != self.sampling:
            return f"data.sampling was {saved['sampling']} and is {self.sampling}"
        if saved["counts"] != self.counts:
            return "the labels or the sources of the images changed, which data.sampling counts"
        return "" if saved["version"] == self.version else "another version of lightning-rcnn planned its batches"


class TrainingPosition:
    """Follows a trainer through the epochs of the plan.

    Args:
        trainer: trainer whose progress counts.
        identity: identity of this run's plan.
        num_batches: number of batches of one rank in an epoch.
    """

    def __init__(self, trainer: Trainer, identity: PlanIdentity, num_batches: int) -> None:
        self._trainer = trainer
        self._loop = use_exact_loops(trainer)
        self._epochs: Any = trainer.fit_loop.epoch_progress.current
        self._batches: Any = trainer.fit_loop.epoch_loop.batch_progress.current
        self._identity = identity
        self._num_batches = num_batches
        self._epoch = 0  # the current epoch, or the first one
        self._ahead = 0  # planned epoch minus Lightning's
        self._is_left_out = False
        self._resumed: dict[str, Any] | None = None

    def begin_epoch(self) -> tuple[int, int]:
        """Return the (epoch, batch) at which the data continue; called when an epoch's first batch is requested.

        If nothing is left of the epoch, the batch is the number of batches.
        """
        batch = self._batches.ready
        if self._resumed is not None and self._resumed["samples"] and self._must_leave_out_rest(self._resumed):
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
        """Return the next batch, the same on all ranks: planned epoch, its processed samples, and the identity."""
        epoch, batches = self._epoch, self._batches.processed
        if self._resumed is not None:
            return {**self._resumed, "lightning_epoch": self._lightning_epoch}
        if self._is_left_out or batches >= self._trainer.num_training_batches:
            epoch, batches = epoch + 1, 0
        samples = batches * self._identity.global_batch_size
        return {"epoch": epoch, "samples": samples, "lightning_epoch": self._lightning_epoch, **asdict(self._identity)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Store the position at which the first requested batch resumes."""
        self._resumed = state
        self._epoch = state["epoch"]

    def _must_leave_out_rest(self, resumed: dict[str, Any]) -> bool:
        """Return whether the epoch's batches differ from the checkpoint's; if so, warn and skip to the next epoch."""
        reason = self._identity.difference(resumed)
        if not reason:
            return False
        if self._trainer.is_global_zero:
            logger.warning(
                f"the checkpoint is from within epoch {self._epoch}, but {reason}; continuing with the next epoch"
            )
        self._ahead = self._epoch - resumed["lightning_epoch"]
        self._resumed = None
        self._is_left_out = self._lightning_epoch == resumed["lightning_epoch"]
        return self._is_left_out

    @property
    def _lightning_epoch(self) -> int:
        return self._epochs.processed - self._loop.has_open_epoch
