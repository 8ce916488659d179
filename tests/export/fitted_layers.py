"""Random weights that behave like trained ones: scores are certain and uncertain, boxes move, roundings stay small."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

SPREAD = {
    **dict.fromkeys(("objectness", "cls_logits"), 2.0),
    **dict.fromkeys(("rpn.head.deltas", "rpn.head.bbox_pred"), 0.2),
    **dict.fromkeys(("box_deltas", "box_predictor.bbox_pred"), 0.5),
    **dict.fromkeys(("class_logits", "cls_score"), 3.0),
    **dict.fromkeys(("mask.head.logits", "mask_fcn_logits"), 3.0),
}
"""Standard deviation of the outputs of the last layers, ours and torchvision's; that of the others is 1."""
_SMOOTH = 0.5
"""Share of its mean in a kernel: photos are smooth, and so are the features of trained networks."""
_LAST_NORM = ".bn3"
_RESIDUAL = 0.25
"""Weight of the last norm of a residual block: as in trained networks, a block changes its input little."""


@torch.no_grad()
def fit_layers(network: nn.Module, run: Callable[[], object]) -> None:
    """Give the outputs of each layer mean 0 and its spread, and each norm the statistics of its inputs.

    Args:
        network: detector with random weights.
        run: function that runs it on photos.
    """
    fitted: set[nn.Module] = set()
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.weight.lerp_(module.weight.mean((2, 3), keepdim=True), _SMOOTH)
        if name.endswith(_LAST_NORM):
            module.weight.fill_(_RESIDUAL)
        if hasattr(module, "running_var"):
            handles.append(module.register_forward_pre_hook(_fit_norm))
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)) and module.bias is not None:
            spread = next((value for end, value in SPREAD.items() if name.endswith(end)), 1.0)
            handles.append(module.register_forward_hook(_layer_hook(spread, fitted)))
    run()
    for handle in handles:
        handle.remove()


def _layer_hook(spread: float, fitted: set[nn.Module]) -> Callable[..., Tensor | None]:
    def fit(layer: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> Tensor | None:
        if layer in fitted:  # it runs on several levels
            return None
        fitted.add(layer)
        mean, std = _statistics(outputs)
        factor = spread / std
        axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        layer.weight.mul_(_along(factor, axis, layer.weight.ndim))
        layer.bias.sub_(mean).mul_(factor)
        return (outputs - _along(mean, 1, outputs.ndim)) * _along(factor, 1, outputs.ndim)

    return fit


def _fit_norm(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    mean, std = _statistics(inputs[0])
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(std**2)


def _statistics(values: Tensor) -> tuple[Tensor, Tensor]:
    axes = [axis for axis in range(values.ndim) if axis != 1]
    return values.mean(axes), values.std(axes).clamp(min=1e-3)


def _along(values: Tensor, axis: int, ndim: int) -> Tensor:
    return values.view([-1 if one == axis else 1 for one in range(ndim)])
