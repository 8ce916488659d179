"""RoIAlign and RoIPool as operators of `torch.library`: schemas, fake implementations and gradients.

`torch.compile` sees each operator as one call with known shapes. There is no autocast rule: features keep their type,
and coordinates of regions stay float32. Each operator runs CUDA kernels or code for any device; see `dispatch.run`.
"""

from typing import Any

import torch
from torch import Tensor

from lightning_rcnn.ops.cpu import roi_align, roi_pool
from lightning_rcnn.ops.cpu.pixel_weights import Grid, Pyramid
from lightning_rcnn.ops.cuda import operations as kernels
from lightning_rcnn.ops.dispatch import run
from lightning_rcnn.ops.level_assignment import assign_levels

_LEVEL_RULE = "int canonical_level, float canonical_size"
_GRID_RULE = "int sampling_ratio, bool aligned"
_MAP_SIZES = "SymInt num_images, SymInt[] heights, SymInt[] widths, bool channels_last"

torch.library.define(
    "lightning_rcnn::roi_align",
    "(Tensor[] features, Tensor rois, Tensor? levels, float[] scales, SymInt[] output_size, "
    f"{_GRID_RULE}, {_LEVEL_RULE}, str impl) -> Tensor",
)
torch.library.define(
    "lightning_rcnn::roi_align_backward",
    f"(Tensor grad, Tensor rois, Tensor? levels, float[] scales, {_MAP_SIZES}, "
    f"{_GRID_RULE}, {_LEVEL_RULE}, str impl) -> Tensor[]",
)
torch.library.define(
    "lightning_rcnn::roi_pool",
    "(Tensor[] features, Tensor rois, Tensor? levels, float[] scales, SymInt[] output_size, "
    f"{_LEVEL_RULE}, str impl) -> (Tensor, Tensor)",
)
torch.library.define(
    "lightning_rcnn::roi_pool_backward",
    f"(Tensor grad, Tensor argmax, Tensor rois, Tensor? levels, float[] scales, {_MAP_SIZES}, "
    f"{_LEVEL_RULE}, str impl) -> Tensor[]",
)


# --- RoIAlign --------------------------------------------------------------------------------------------------------


@torch.library.impl("lightning_rcnn::roi_align", "CompositeExplicitAutograd")
def _align(
    features: list[Tensor],
    rois: Tensor,
    levels: Tensor | None,
    scales: list[float],
    output_size: list[int],
    sampling_ratio: int,
    aligned: bool,
    canonical_level: int,
    canonical_size: float,
    impl: str,
) -> Tensor:
    grid = Grid((output_size[0], output_size[1]), sampling_ratio, aligned)
    rule = kernels.LevelRule(canonical_level, canonical_size)
    return run(
        "roi_align",
        impl,
        features[0].device,
        kernels.obstacle(features[0], rois, output_size, _pyramid(features, scales)),
        lambda: kernels.roi_align(features, rois, levels, scales, grid, rule),
        lambda: roi_align.forward(features, rois, _levels(rois, levels, scales, rule), scales, grid),
    )


@torch.library.impl("lightning_rcnn::roi_align_backward", "CompositeExplicitAutograd")
def _align_backward(
    grad: Tensor,
    rois: Tensor,
    levels: Tensor | None,
    scales: list[float],
    num_images: int,
    heights: list[int],
    widths: list[int],
    channels_last: bool,
    sampling_ratio: int,
    aligned: bool,
    canonical_level: int,
    canonical_size: float,
    impl: str,
) -> list[Tensor]:
    pyramid = Pyramid(num_images, heights, widths, scales)
    grid = Grid((grad.shape[2], grad.shape[3]), sampling_ratio, aligned)
    rule = kernels.LevelRule(canonical_level, canonical_size)

    def by_kernels() -> list[Tensor]:
        grads = kernels.roi_align_backward(grad, rois, levels, pyramid, grid, rule)
        return grads if channels_last else kernels.to_channels_first(grads)

    def portably() -> list[Tensor]:
        grads = roi_align.backward(grad, rois, _levels(rois, levels, scales, rule), pyramid, grid)
        return grads if channels_last else [g.contiguous() for g in grads]

    obstacle = kernels.obstacle(grad, rois, grid.output_size, pyramid)
    return run("roi_align_backward", impl, grad.device, obstacle, by_kernels, portably)


@torch.library.register_fake("lightning_rcnn::roi_align")
def _align_shape(
    features: list[Tensor], rois: Tensor, levels: Any, scales: Any, output_size: list[int], *_: Any
) -> Tensor:
    return _empty_bins(features[0], rois, output_size)


@torch.library.register_fake("lightning_rcnn::roi_align_backward")
def _align_backward_shape(grad: Tensor, rois: Any, levels: Any, scales: Any, *rest: Any) -> list[Tensor]:
    num_images, heights, widths, channels_last, *_ = rest
    return _empty_maps(grad, num_images, heights, widths, channels_last)


def _save_for_align_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, rois, levels, scales, _, *rules = inputs
    ctx.save_for_backward(rois, levels)
    ctx.arguments = (scales, *_map_sizes(features), *rules)


def _differentiate_align(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    rois, levels = ctx.saved_tensors
    grads = torch.ops.lightning_rcnn.roi_align_backward(grad, rois, levels, *ctx.arguments)
    return grads, *(None,) * 9


# --- RoIPool ---------------------------------------------------------------------------------------------------------


@torch.library.impl("lightning_rcnn::roi_pool", "CompositeExplicitAutograd")
def _pool(
    features: list[Tensor],
    rois: Tensor,
    levels: Tensor | None,
    scales: list[float],
    output_size: list[int],
    canonical_level: int,
    canonical_size: float,
    impl: str,
) -> tuple[Tensor, Tensor]:
    size = (output_size[0], output_size[1])
    rule = kernels.LevelRule(canonical_level, canonical_size)
    return run(
        "roi_pool",
        impl,
        features[0].device,
        kernels.obstacle(features[0], rois, size, _pyramid(features, scales)),
        lambda: kernels.roi_pool(features, rois, levels, scales, size, rule),
        lambda: roi_pool.forward(features, rois, _levels(rois, levels, scales, rule), scales, size),
    )


@torch.library.impl("lightning_rcnn::roi_pool_backward", "CompositeExplicitAutograd")
def _pool_backward(
    grad: Tensor,
    argmax: Tensor,
    rois: Tensor,
    levels: Tensor | None,
    scales: list[float],
    num_images: int,
    heights: list[int],
    widths: list[int],
    channels_last: bool,
    canonical_level: int,
    canonical_size: float,
    impl: str,
) -> list[Tensor]:
    pyramid = Pyramid(num_images, heights, widths, scales)
    rule = kernels.LevelRule(canonical_level, canonical_size)

    def by_kernels() -> list[Tensor]:
        grads = kernels.roi_pool_backward(grad, argmax, rois, levels, pyramid, rule)
        return grads if channels_last else kernels.to_channels_first(grads)

    def portably() -> list[Tensor]:
        grads = roi_pool.backward(grad, argmax, rois, _levels(rois, levels, scales, rule), pyramid)
        return grads if channels_last else [g.contiguous() for g in grads]

    obstacle = kernels.obstacle(grad, rois, grad.shape[2:], pyramid)
    return run("roi_pool_backward", impl, grad.device, obstacle, by_kernels, portably)


@torch.library.register_fake("lightning_rcnn::roi_pool")
def _pool_shape(
    features: list[Tensor], rois: Tensor, levels: Any, scales: Any, output_size: list[int], *_: Any
) -> tuple[Tensor, Tensor]:
    pooled = _empty_bins(features[0], rois, output_size)
    return pooled, torch.empty_like(pooled, dtype=torch.int32)


@torch.library.register_fake("lightning_rcnn::roi_pool_backward")
def _pool_backward_shape(grad: Tensor, argmax: Any, rois: Any, levels: Any, scales: Any, *rest: Any) -> list[Tensor]:
    num_images, heights, widths, channels_last, *_ = rest
    return _empty_maps(grad, num_images, heights, widths, channels_last)


def _save_for_pool_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    features, rois, levels, scales, _, *rules = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1], rois, levels)
    ctx.arguments = (scales, *_map_sizes(features), *rules)


def _differentiate_pool(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    return torch.ops.lightning_rcnn.roi_pool_backward(grad, *ctx.saved_tensors, *ctx.arguments), *(None,) * 7


# --- both ------------------------------------------------------------------------------------------------------------


def _levels(rois: Tensor, levels: Tensor | None, scales: list[float], rule: kernels.LevelRule) -> Tensor:
    return assign_levels(rois[:, 1:], scales, rule) if levels is None else levels


def _pyramid(features: list[Tensor], scales: list[float]) -> Pyramid:
    return Pyramid(features[0].shape[0], [f.shape[2] for f in features], [f.shape[3] for f in features], scales)


def _map_sizes(features: list[Tensor]) -> tuple[int, list[int], list[int], bool]:
    """Return number of images, heights, widths, and whether the gradients are channels last, as the features are."""
    channels_last = all(f.is_contiguous(memory_format=torch.channels_last) for f in features)
    return features[0].shape[0], [f.shape[2] for f in features], [f.shape[3] for f in features], channels_last


def _empty_bins(features: Tensor, rois: Tensor, output_size: list[int]) -> Tensor:
    return features.new_empty((rois.shape[0], output_size[0], output_size[1], features.shape[1])).permute(0, 3, 1, 2)


def _empty_maps(
    grad: Tensor, num_images: int, heights: list[int], widths: list[int], channels_last: bool
) -> list[Tensor]:
    shapes = [(num_images, height, width, grad.shape[1]) for height, width in zip(heights, widths, strict=True)]
    maps = [grad.new_empty(shape).permute(0, 3, 1, 2) for shape in shapes]
    return maps if channels_last else [m.contiguous() for m in maps]


def _refuse_second_derivative(ctx: Any, *grads: Any) -> None:
    raise NotImplementedError("RoI pooling is differentiable once only; do not use create_graph=True through it")


torch.library.register_autograd(
    "lightning_rcnn::roi_align", _differentiate_align, setup_context=_save_for_align_backward
)
torch.library.register_autograd("lightning_rcnn::roi_pool", _differentiate_pool, setup_context=_save_for_pool_backward)
torch.library.register_autograd("lightning_rcnn::roi_align_backward", _refuse_second_derivative)
torch.library.register_autograd("lightning_rcnn::roi_pool_backward", _refuse_second_derivative)
