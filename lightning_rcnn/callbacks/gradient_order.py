"""Give the sums of gradients over ranks one order from the first step of a process on."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.parallel import DistributedDataParallel


class GradientOrder(Callback):
    """Lets DDP arrange its buckets before the first step, so that a resumed training is the undisturbed one to the bit.

    DDP divides the gradients into buckets in the order of the parameters, and after its first backward pass once more
    in the order in which gradients were ready. With three or more ranks the order in which theirs are added depends on
    the place in a bucket: the first step after a start rounds otherwise than the same step in the middle of a training.
    A pass in which all gradients are zero brings the second order before the first step.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run a backward pass of zeros."""
        parallel = trainer.strategy.model
        if not isinstance(parallel, DistributedDataParallel) or parallel.static_graph:
            return  # a static graph has to be that of the training from the first pass on
        parameters = [parameter for parameter in pl_module.parameters() if parameter.requires_grad]
        if not parameters:
            return
        pl_module.forward = lambda: sum(parameter.sum() * 0 for parameter in parameters)  # type: ignore[method-assign, misc]
        try:
            with torch.enable_grad():
                parallel().backward()
                parallel()  # buckets change at the beginning of the next pass
        finally:
            del pl_module.forward  # the class's is back
        for parameter in parameters:
            parameter.grad = None
