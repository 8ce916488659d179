"""Base of the last two stages of R-CNN: one pass over the data with a fixed network, then a closed-form solution.

There are no gradients, no optimizer and no schedule. Under Lightning's trainer an epoch is a pass; its last step sets
the weights, so that validation and checkpoints have them.
"""

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from lightning_rcnn.detectors.rcnn.rcnn import RCNN
from lightning_rcnn.errors import InputError
from lightning_rcnn.structures import Batch, Inputs, Targets


class SolvedStage(RCNN):
    """Stage of R-CNN that solves for its weights."""

    def after_init(self) -> None:
        """Switch off Lightning's automatic optimization."""
        super().after_init()
        self.automatic_optimization = False

    def begin_pass(self) -> None:
        """Drop the collected examples. Every stage overrides it."""
        raise NotImplementedError

    def collect(self, inputs: Inputs, targets: Targets) -> Tensor:
        """Collect examples of a batch, and return their mean loss, a scalar. Every stage overrides it."""
        raise NotImplementedError

    def solve(self) -> None:
        """Set the weights, the same on all ranks. Every stage overrides it."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Refuse averaging of weights, which are set once.

        Raises:
            InputError: a callback averages weights; see also `RCNN.setup`.
        """
        super().setup(stage)
        averaging = any(isinstance(callback, WeightAveraging) for callback in self.trainer.callbacks)  # type: ignore[attr-defined]
        if stage == "fit" and averaging:
            raise InputError(
                f"trainer.callbacks: {type(self).__name__} solves for its weights once, with nothing to average; leave "
                "out the averaging of weights"
            )

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return no optimizers."""
        return []

    def on_train_start(self) -> None:
        """Put the network into evaluation mode, and refuse to resume within a pass.

        Raises:
            InputError: the checkpoint was written mid-epoch, without the collected examples.
        """
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        if progress.current.completed and not progress.is_last_batch:
            raise InputError(
                f"{type(self).__name__} cannot resume within a pass over the data; start from scratch, without "
                "--ckpt_path, in another --run_dir"
            )
        self.eval()

    def on_train_epoch_start(self) -> None:
        """Begin a pass."""
        self.begin_pass()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Collect, and solve at the end of the pass."""
        assert batch.targets is not None
        with torch.no_grad():
            loss = self.collect(batch.inputs, batch.targets)
        self.log("train/loss", loss, batch_size=len(batch.records))
        if self.trainer.is_last_batch:
            self.solve()
        return loss
