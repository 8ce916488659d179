"""A checkpoint in the memory of the machine, from which its ranks start again: see `lightning_rcnn/healing`."""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lightning_rcnn.callbacks.checkpoints import NamedCheckpoint, writer_of
from lightning_rcnn.callbacks.sharded_strategy import ShardedStrategy
from lightning_rcnn.checkpoints.in_memory import FOLDER_VARIABLE, NAME, STEPS_VARIABLE
from lightning_rcnn.errors import InputError


class MemoryCheckpoint(NamedCheckpoint):
    """Keeps a checkpoint in memory, beside `last.ckpt` on the disk, and more often.

    The first one is written after the first step of this process, and not before it: Lightning 2.6 miscounts the
    batches of a training that resumes from a checkpoint written while a batch begins. Without room for it the training
    continues with a warning: the ranks would start again from an older one or from `last.ckpt`.

    Args:
        folder: folder on a file system in memory.
        every_n_steps: optimizer steps between two writes.
    """

    name = NAME

    def __init__(self, folder: Path, every_n_steps: int) -> None:
        super().__init__()
        self.folder, self.every_n_steps = folder, every_n_steps

    def path(self, trainer: Trainer) -> Path:
        """Return the path of the file in memory."""
        return self.folder / self.name

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the training continue if the file cannot be written.

        Raises:
            InputError: a node would have its part of a split checkpoint only.
        """
        strategy = trainer.strategy
        if trainer.num_nodes > 1 and isinstance(strategy, ShardedStrategy) and strategy.split_checkpoints:
            raise InputError(
                "trainer.strategy: split_checkpoints has to be false where lost nodes shall be healed: another node "
                "has a copy of the checkpoint in memory, not of the parts of all nodes"
            )
        if (writer := writer_of(trainer)) is not None:
            writer.make_expendable(self.path(trainer))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write after the first step, and every `every_n_steps` steps."""
        if trainer.fit_loop.epoch_loop._should_accumulate():
            return  # several batches end at one step
        if self.saved_path is None or trainer.global_step % self.every_n_steps == 0:
            self.write(trainer)

    def _tell_loggers(self, trainer: Trainer) -> None:
        """Keep it from loggers, which would upload it."""


def given_memory_checkpoint() -> MemoryCheckpoint | None:
    """Return the callback if the launcher of this process wants it."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return MemoryCheckpoint(Path(folder), int(os.environ[STEPS_VARIABLE])) if folder else None
