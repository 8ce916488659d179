"""What the last two stages of R-CNN share: one pass over the data with the network as it is, and then a solution.

There are no gradients, no optimizer and no schedule. Under Lightning's trainer an epoch is a pass; what is solved for
stands in the weights when its last step ends, so that validation and checkpoints have it.
"""

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from lightning_rcnn.detectors.rcnn.rcnn import RCNN
from lightning_rcnn.errors import InputError
from lightning_rcnn.structures import Batch, Inputs, Targets


class SolvedStage(RCNN):
    """A stage of R-CNN that is solved for."""

    def after_init(self) -> None:
        """Tell Lightning that there is nothing for an optimizer to do."""
        super().after_init()
        self.automatic_optimization = False

    def begin_pass(self) -> None:
        """Forget what was collected; each stage's own."""
        raise NotImplementedError

    def collect(self, inputs: Inputs, targets: Targets) -> Tensor:
        """Take from a batch what the solution is made of, and give the loss of what it holds, a scalar; each's own."""
        raise NotImplementedError

    def solve(self) -> None:
        """Set the weights, the same on all ranks; each stage's own."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Refuse what cannot be.

        Raises:
            InputError: see `RCNN.setup`; or an average of weights that are set once.
        """
        super().setup(stage)
        averaging = any(isinstance(callback, WeightAveraging) for callback in self.trainer.callbacks)  # type: ignore[attr-defined]
        if stage == "fit" and averaging:
            raise InputError(
                f"trainer.callbacks: {type(self).__name__} is solved for, and there is nothing to average; leave out "
                "the averaging of weights"
            )

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """None."""
        return []

    def on_train_start(self) -> None:
        """Keep the network as it is detected with, and begin with the first batch.

        Raises:
            InputError: the checkpoint was written in the middle of a pass, and has nothing of what was collected.
        """
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        if progress.current.completed and not progress.is_last_batch:
            raise InputError(
                f"{type(self).__name__} cannot go on within a pass over the data: start it anew, without --ckpt_path, "
                "in another --run_dir"
            )
        self.eval()

    def on_train_epoch_start(self) -> None:
        """A pass begins."""
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
