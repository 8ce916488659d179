"""RoIAlign (Mask R-CNN, arXiv:1703.06870, section 3) over one feature map or a pyramid.

Registered as operators of `torch.library`, so that `torch.compile` sees two calls with known shapes. There is no
autocast rule: features keep their type while the regions' coordinates stay float32.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_rcnn.roi.bags import pool_by_bags, spread_by_bags
from lightning_rcnn.roi.pyramid import assign_levels, level_range
from lightning_rcnn.roi.sampling import Grid, Pyramid


def multiscale_roi_align(
    features: Sequence[Tensor],
    rois: Tensor,
    *,
    output_size: int | tuple[int, int],
    scales: Sequence[float],
    sampling_ratio: int = 2,
    aligned: bool = False,
    levels: Tensor | None = None,
    canonical: tuple[int, float] = (4, 224.0),
) -> Tensor:
    """Pools each region from the pyramid level that suits its size.

    The values are those of `torchvision.ops.MultiScaleRoIAlign`; a region whose batch index is not that of an image
    (-1 marks padding) pools to zeros and costs next to nothing.

    Args:
        features: [N, C, H_l, W_l] for each level, finest first, of one floating-point type. Channels last is faster.
        rois: [R, 5]: batch index, x1, y1, x2, y2 in pixels of the network's input; best in float32.
        output_size: bins along (y, x), or one number for both.
        scales: size of each level's features over the size of the input, such as 1/4, 1/8, 1/16, 1/32.
        sampling_ratio: samples along each side of a bin; 0 for as many as the bin has pixels.
        aligned: whether the centre of the first pixel lies at 0.5 (detectron2's default) or at 0 (torchvision's).
        levels: int64 [R], the level of each region; by default `pyramid.assign_levels` decides.
        canonical: (k0, size0) of the level rule.

    Returns:
        [R, C, ph, pw] of the features' type, channels last. Differentiable once, in the features.

    Raises:
        ValueError, TypeError: the shapes or types do not fit together.
    """
    size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    _check_arguments(features, rois, size, scales, levels)
    if levels is None:
        level_range(scales)
    return torch.ops.lightning_rcnn.roi_align(
        list(features), rois, levels, list(scales), list(size), sampling_ratio, aligned, canonical[0], canonical[1]
    )


def roi_align(
    features: Tensor,
    rois: Tensor,
    *,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 2,
    aligned: bool = False,
) -> Tensor:
    """Pools regions from a single feature map [N, C, H, W]; see `multiscale_roi_align`."""
    return multiscale_roi_align(
        [features],
        rois,
        output_size=output_size,
        scales=[spatial_scale],
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )


def _check_arguments(
    features: Sequence[Tensor],
    rois: Tensor,
    output_size: tuple[int, ...],
    scales: Sequence[float],
    levels: Tensor | None,
) -> None:
    if not features or len(features) != len(scales):
        raise ValueError(f"{len(features)} feature maps need as many scales, at least one; got {len(scales)}")
    first = features[0]
    for feature in features:
        if feature.dim() != 4 or feature.shape[:2] != first.shape[:2]:
            raise ValueError(
                f"feature maps must be [N, C, H, W] with the same N and C, got {[tuple(f.shape) for f in features]}"
            )
        if feature.dtype != first.dtype or feature.device != first.device or not feature.is_floating_point():
            raise TypeError("feature maps must share one floating-point type and one device")
    if rois.dim() != 2 or rois.shape[1] != 5 or not rois.is_floating_point():
        raise ValueError(f"rois must be floating-point [R, 5] (batch index, x1, y1, x2, y2), got {tuple(rois.shape)}")
    if levels is not None and levels.shape != rois.shape[:1]:
        raise ValueError(f"levels must have one entry for each of {rois.shape[0]} regions, got {tuple(levels.shape)}")
    if len(output_size) != 2 or min(output_size) < 1:
        raise ValueError(f"output_size must be two positive numbers of bins, got {output_size}")


# --- the operators -------------------------------------------------------------------------------------------------

torch.library.define(
    "lightning_rcnn::roi_align",
    "(Tensor[] features, Tensor rois, Tensor? levels, float[] scales, SymInt[] output_size, int sampling_ratio, "
    "bool aligned, int canonical_level, float canonical_size) -> Tensor",
)
torch.library.define(
    "lightning_rcnn::roi_align_backward",
    "(Tensor grad, Tensor rois, Tensor? levels, float[] scales, SymInt num_images, SymInt[] heights, SymInt[] widths, "
    "int sampling_ratio, bool aligned, int canonical_level, float canonical_size) -> Tensor[]",
)


@torch.library.impl("lightning_rcnn::roi_align", "CompositeExplicitAutograd")
def _roi_align(
    features: list[Tensor],
    rois: Tensor,
    levels: Tensor | None,
    scales: list[float],
    output_size: list[int],
    sampling_ratio: int,
    aligned: bool,
    canonical_level: int,
    canonical_size: float,
) -> Tensor:
    if levels is None:
        levels = assign_levels(rois[:, 1:], scales, (canonical_level, canonical_size))
    return pool_by_bags(features, rois, levels, scales, Grid((output_size[0], output_size[1]), sampling_ratio, aligned))


@torch.library.impl("lightning_rcnn::roi_align_backward", "CompositeExplicitAutograd")
def _roi_align_backward(
    grad: Tensor,
    rois: Tensor,
    levels: Tensor | None,
    scales: list[float],
    num_images: int,
    heights: list[int],
    widths: list[int],
    sampling_ratio: int,
    aligned: bool,
    canonical_level: int,
    canonical_size: float,
) -> list[Tensor]:
    if levels is None:
        levels = assign_levels(rois[:, 1:], scales, (canonical_level, canonical_size))
    grid = Grid((grad.shape[2], grad.shape[3]), sampling_ratio, aligned)
    return spread_by_bags(grad, rois, levels, Pyramid(num_images, heights, widths, scales), grid)


@torch.library.register_fake("lightning_rcnn::roi_align")
def _roi_align_shape(
    features: list[Tensor], rois: Tensor, levels: Any, scales: Any, output_size: Any, *_: Any
) -> Tensor:
    channels_last = (rois.shape[0], output_size[0], output_size[1], features[0].shape[1])
    return features[0].new_empty(channels_last).permute(0, 3, 1, 2)


@torch.library.register_fake("lightning_rcnn::roi_align_backward")
def _roi_align_backward_shape(
    grad: Tensor, rois: Any, levels: Any, scales: Any, num_images: int, heights: list[int], widths: list[int], *_: Any
) -> list[Tensor]:
    return [
        grad.new_empty((num_images, height, width, grad.shape[1])).permute(0, 3, 1, 2)
        for height, width in zip(heights, widths, strict=True)
    ]


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, rois, levels, scales, _, *rule = inputs
    ctx.save_for_backward(rois, levels)
    ctx.pyramid = (scales, features[0].shape[0], [f.shape[2] for f in features], [f.shape[3] for f in features])
    ctx.rule = rule


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    rois, levels = ctx.saved_tensors
    grads = torch.ops.lightning_rcnn.roi_align_backward(grad, rois, levels, *ctx.pyramid, *ctx.rule)
    return grads, *(None,) * 8


def _refuse_second_derivative(ctx: Any, *grads: Any) -> None:
    raise NotImplementedError("RoIAlign can be differentiated once only: do not ask for create_graph=True through it")


torch.library.register_autograd("lightning_rcnn::roi_align", _differentiate, setup_context=_save_for_backward)
torch.library.register_autograd("lightning_rcnn::roi_align_backward", _refuse_second_derivative)
