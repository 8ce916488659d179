"""Compiled training: the parts of a detector that `torch.compile` takes, and the fallback if it fails.

A compiled part keeps its parameters and their names, so checkpoints do not depend on compilation. All shapes of a
training come from short lists, and the compiler runs once for each.
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
"""Method of a detector from a batch to its summed losses, before the division by the counts of all ranks."""
_SHAPES = 256
"""Shapes for which a part may be compiled: there are some dozens of images, objects and mask bytes together.
torch's default limit of 8 suits programs that never repeat a shape."""


class Compiled:
    """A function that is compiled at its first call, and runs uncompiled if that fails.

    Beyond the limit of shapes it runs new shapes uncompiled.

    Args:
        function: function to compile.
        name: name in the warning if compilation fails.
        **options: options of `torch.compile`.
    """

    def __init__(self, function: Callable[..., Any], name: str, **options: Any) -> None:
        self._plain, self._name = function, name
        self._run = torch.compile(function, **options)
        self._has_warned = False

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the function; evaluation, which sees each shape only a few times, runs it uncompiled."""
        if not torch.is_grad_enabled():
            return self._plain(*arguments, **keywords)
        try:
            return self._run(*arguments, **keywords)
        except torch._dynamo.exc.FailOnRecompileLimitHit:
            self._warn(f"{self._name} is compiled for {_SHAPES} shapes and runs uncompiled for others: use fewer")
        except torch._dynamo.exc.TorchDynamoException as error:
            if self._run is self._plain:
                raise
            self._warn(f"{self._name} cannot be compiled and runs uncompiled: {_first_line(error)}")
            self._run = self._plain
        return self._plain(*arguments, **keywords)

    def _warn(self, line: str) -> None:
        if not self._has_warned:
            rank_zero_warn(line)
        self._has_warned = True

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., Any]:
        """Copy the plain function: the compiled one is bound to the weights of the original."""
        return copy.deepcopy(self._plain, memo)


def _first_line(error: Exception) -> str:
    """Return the first line of the error, or of the backend's error behind it."""
    cause = getattr(error, "inner_exception", error)
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)


def compile_training(detector: LightningModule, scope: Scope, capture: bool, backend: str = "inductor") -> None:
    """Compile the training of a detector.

    Args:
        detector: detector, changed in place; `undo_compilation` restores it.
        scope: "parts" compiles the modules with most of the arithmetic one by one, "step" all from the images to the
            losses as one graph.
        capture: on a GPU, also record CUDA graphs, one for each shape; elsewhere a warning says that it has no effect.
        backend: backend of `torch.compile`.
    """
    layers = list(compiled_layers(detector))
    limits = torch._dynamo.config
    limits.recompile_limit = max(_SHAPES, limits.recompile_limit)
    limits.accumulated_recompile_limit = max(len(layers) * _SHAPES, limits.accumulated_recompile_limit)
    # Without this, backward is compiled during `backward`, too late to fall back to the plain function.
    torch._functorch.config.force_non_lazy_backward_lowering = True
    options: dict[str, Any] = {"backend": backend, "dynamic": False}
    if capture and backend == "inductor" and detector.device.type == "cuda":
        options["options"] = {"triton.cudagraphs": True}
    elif capture:
        target = f"{detector.device} and {backend}"
        rank_zero_warn(f"nothing is captured: CUDA graphs need a GPU and the backend inductor, not {target}")
    if scope == "step":
        # A function in the instance's own dictionary hides the method of the class.
        step = getattr(detector, LOSS_SUMS)
        detector.__dict__[LOSS_SUMS] = Compiled(step, "the training step", fullgraph=True, **options)
        return
    for name, module, is_dynamic in layers:
        # The attribute that `module.compile()` sets, here with a fallback; copies and pickles of the module omit it.
        module._compiled_call_impl = Compiled(
            cast(Callable[..., Any], module._call_impl),
            f"the part {name}",
            **{**options, "dynamic": is_dynamic and detector.device.type == "cpu"},  # the CPU skips padding
        )


def compiled_layers(detector: nn.Module) -> Iterator[tuple[str, nn.Module, bool]]:
    """Yield the layers that parts offer for compilation: name, module, whether its first dimension varies on a CPU.

    They do nearly all of the arithmetic; the code between them sorts, samples and gathers.
    """
    for prefix, part in detector.named_modules():
        for layer in getattr(part, "compiled_layers", ()):
            name = f"{prefix}.{layer}".rstrip(".")
            yield name, part.get_submodule(layer), layer in getattr(part, "dynamic_layers", ())


def undo_compilation(detector: nn.Module) -> None:
    """Remove the compilation of a detector."""
    detector.__dict__.pop(LOSS_SUMS, None)
    for module in detector.modules():
        module._compiled_call_impl = None
