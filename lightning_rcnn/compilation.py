"""Compiled training: which parts of a detector torch's compiler takes, and what happens where it cannot.

A compiled part keeps its place, its parameters and their names, so that checkpoints of compiled trainings and of others
are the same. All shapes that a training meets come from short lists, and for each the compiler works once.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import nn

Scope = Literal["parts", "step"]
LOSS_SUMS = "loss_sums"
"""The function of a detector from a batch to its losses, before they are divided by what all ranks counted."""
_SHAPES = 256
"""For how many shapes a part may be compiled: of images, objects and bytes of masks there are some dozens together.
torch's own limit of 8 is for programs that never repeat a shape."""


class Compiled:
    """A function that is compiled when it is first called, and runs as it is for good if that fails.

    Where it was compiled for as many shapes as it may be, it runs as it is for those that are new.

    Args:
        function: what to compile.
        name: for the one line that says that it failed.
        **options: of `torch.compile`.
    """

    def __init__(self, function: Callable[..., Any], name: str, **options: Any) -> None:
        self._plain, self._name = function, name
        self._run = torch.compile(function, **options)
        self._has_warned = False

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """The function's result; evaluation, which meets each shape a few times only, takes it as it is."""
        if not torch.is_grad_enabled():
            return self._plain(*arguments, **keywords)
        try:
            return self._run(*arguments, **keywords)
        except torch._dynamo.exc.FailOnRecompileLimitHit:
            self._warn(f"{self._name} is compiled for {_SHAPES} shapes, and runs as it is for others: use fewer")
        except torch._dynamo.exc.TorchDynamoException as error:
            if self._run is self._plain:
                raise
            self._warn(f"{self._name} cannot be compiled and runs as it is: {_first_line(error)}")
            self._run = self._plain
        return self._plain(*arguments, **keywords)

    def _warn(self, line: str) -> None:
        if not self._has_warned:
            rank_zero_warn(line)
        self._has_warned = True

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., Any]:
        """A copy of the detector runs as it was written: what is compiled here has the original's weights in it."""
        return copy.deepcopy(self._plain, memo)


def _first_line(error: Exception) -> str:
    """What happened; where a backend failed, in its own words."""
    cause = getattr(error, "inner_exception", error)
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)


def compile_training(detector: LightningModule, scope: Scope, capture: bool, backend: str = "inductor") -> None:
    """Let a detector's training run compiled.

    Args:
        detector: is changed in place; `undo_compilation` brings it back.
        scope: "parts" compiles the modules with most of the arithmetic one by one, "step" all from the images to the
            losses in one piece.
        capture: on a GPU also record what is compiled as CUDA graphs, one for each shape; elsewhere a line says that it
            has no effect.
        backend: of `torch.compile`.
    """
    layers = list(compiled_layers(detector))
    limits = torch._dynamo.config
    limits.recompile_limit = max(_SHAPES, limits.recompile_limit)
    limits.accumulated_recompile_limit = max(len(layers) * _SHAPES, limits.accumulated_recompile_limit)
    # Else the backward direction is compiled within `backward`, from where there is no way back to the plain function.
    torch._functorch.config.force_non_lazy_backward_lowering = True
    options: dict[str, Any] = {"backend": backend, "dynamic": False}
    if capture and backend == "inductor" and detector.device.type == "cuda":
        options["options"] = {"triton.cudagraphs": True}
    elif capture:
        place = f"{detector.device} and {backend}"
        rank_zero_warn(f"nothing is captured: CUDA graphs are for GPUs and the backend inductor, not for {place}")
    if scope == "step":
        # A function in the instance's own dictionary hides the method of the class.
        step = getattr(detector, LOSS_SUMS)
        detector.__dict__[LOSS_SUMS] = Compiled(step, "the training step", fullgraph=True, **options)
        return
    for name, module, is_dynamic in layers:
        # What `module.compile()` sets, with a way out; copies and pickles of the module leave it behind.
        module._compiled_call_impl = Compiled(
            cast(Callable[..., Any], module._call_impl),
            f"the part {name}",
            **{**options, "dynamic": is_dynamic and detector.device.type == "cpu"},  # there padding is skipped
        )


def compiled_layers(detector: nn.Module) -> Iterator[tuple[str, nn.Module, bool]]:
    """Yield layers that parts give to a compiler: name, module, and whether its first dimension varies on a CPU.

    They do nearly all of the arithmetic. What lies between them sorts, samples and gathers.
    """
    for prefix, part in detector.named_modules():
        for layer in getattr(part, "compiled_layers", ()):
            name = f"{prefix}.{layer}".rstrip(".")
            yield name, part.get_submodule(layer), layer in getattr(part, "dynamic_layers", ())


def undo_compilation(detector: nn.Module) -> None:
    """Let a detector run as it was written."""
    detector.__dict__.pop(LOSS_SUMS, None)
    for module in detector.modules():
        module._compiled_call_impl = None
