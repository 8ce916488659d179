"""RoIAlign (Mask R-CNN, arXiv:1703.06870, section 3) over one feature map or a pyramid."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_rcnn.roi import operators  # noqa: F401  # registers the operators called below
from lightning_rcnn.roi.dispatch import Implementation
from lightning_rcnn.roi.pyramid import level_range


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
    impl: Implementation = "auto",
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
        impl: "auto" takes the CUDA kernels where they can be had, and says once why they cannot; "cuda" insists on
            them; "portable" is the way for any device.

    Returns:
        [R, C, ph, pw] of the features' type, channels last. Differentiable once, in the features.

    Raises:
        ValueError, TypeError: the shapes or types do not fit together.
        RuntimeError: `impl` is "cuda" and the kernels cannot be used.
    """
    size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    _check_arguments(features, rois, size, scales, levels)
    if levels is None:
        level_range(scales)
    return torch.ops.lightning_rcnn.roi_align(
        list(features), rois, levels, list(scales), list(size), sampling_ratio, aligned, *canonical, impl
    )


def roi_align(
    features: Tensor,
    rois: Tensor,
    *,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 2,
    aligned: bool = False,
    impl: Implementation = "auto",
) -> Tensor:
    """Pools regions from a single feature map [N, C, H, W]; see `multiscale_roi_align`."""
    return multiscale_roi_align(
        [features],
        rois,
        output_size=output_size,
        scales=[spatial_scale],
        sampling_ratio=sampling_ratio,
        aligned=aligned,
        impl=impl,
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
