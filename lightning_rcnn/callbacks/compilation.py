"""Training through torch's compiler, and through CUDA graphs."""

from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_rcnn.compilation import LOSS_SUMS, compile_training, compiled_layers, undo_compilation
from lightning_rcnn.errors import InputError


class Compilation(Callback):
    """Compiles the detector while it trains.

    Checkpoints do not depend on it: a compiled training resumes one that was not, and the reverse. A layer that cannot
    be compiled runs uncompiled, and one line says so.

    Args:
        scope: "none"; "parts", the backbone and the heads one by one; or "step", all from the images to the losses as
            one graph, which on a CPU also computes the masks of padding.
        capture: also record CUDA graphs, forward and backward, for each shape; has no effect on a CPU, and one line
            says so.
        backend: backend of `torch.compile`.

    Raises:
        InputError: `capture` without a scope.
    """

    def __init__(
        self, scope: Literal["none", "parts", "step"] = "none", capture: bool = False, backend: str = "inductor"
    ) -> None:
        super().__init__()
        if capture and scope == "none":
            raise InputError("compilation.capture: only compiled code can be captured; set compilation.scope as well")
        self.scope, self.capture, self.backend = scope, capture, backend

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compile: the model is on its device, and averages of its weights are copied."""
        if self.scope == "none":
            return
        is_compilable = pl_module.automatic_optimization and any(compiled_layers(pl_module))
        if not hasattr(pl_module, LOSS_SUMS) or not is_compilable:
            raise InputError(f"compilation.scope {self.scope}: {type(pl_module).__name__} has nothing to compile")
        compile_training(pl_module, self.scope, self.capture, self.backend)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Let the captured graphs reuse their memory."""
        if self.capture:
            torch.compiler.cudagraph_mark_step_begin()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy gradients that the next batch adds to: that batch overwrites the memory of the graphs."""
        will_add = trainer.fit_loop.epoch_loop._should_accumulate()
        if self.capture and will_add and pl_module.device.type == "cuda":
            for parameter in pl_module.parameters():
                if parameter.grad is not None:
                    parameter.grad = parameter.grad.clone()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Undo the compilation."""
        if self.scope != "none":
            undo_compilation(pl_module)
