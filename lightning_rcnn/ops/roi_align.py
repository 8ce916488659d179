"""RoIAlign (Mask R-CNN, arXiv:1703.06870, section 3) over one feature map or a pyramid."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_rcnn.ops import operators  # noqa: F401  # registers the operators called below
from lightning_rcnn.ops.dispatch import Implementation
from lightning_rcnn.ops.inputs import checked_output_size


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
        aligned: whether the center of the first pixel lies at 0.5 (detectron2's default) or at 0 (torchvision's).
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
    size = checked_output_size(features, rois, output_size, scales, levels)
    return torch.ops.lightning_rcnn.roi_align(
        list(features), rois, levels, list(scales), size, sampling_ratio, aligned, *canonical, impl
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
