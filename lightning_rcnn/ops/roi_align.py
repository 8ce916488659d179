"""RoIAlign (Mask R-CNN, arXiv:1703.06870, section 3) over one feature map or a pyramid.

Shape letters: N images, C channels, H_l and W_l height and width of the map of level l, R regions, ph and pw bins.
"""

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
    """Pool each region from the pyramid level of its size.

    The values are those of `torchvision.ops.MultiScaleRoIAlign`. A region whose batch index is not that of an image
    (-1 marks padding) pools to zeros at almost no cost.

    Args:
        features: [N, C, H_l, W_l] for each level, finest first, of one floating-point type. Channels last is faster.
        rois: [R, 5]: batch index, x1, y1, x2, y2 in pixels of the network's input; float32 is best.
        output_size: bins along (y, x), or one number for both.
        scales: size of each level's map over the size of the input, such as 1/4, 1/8, 1/16, 1/32.
        sampling_ratio: number of samples along each side of a bin; 0 for about one a pixel.
        aligned: whether the center of the first pixel lies at 0.5 (detectron2's default) or at 0 (torchvision's).
        levels: int64 [R], the level of each region; by default that of `assign_levels`.
        canonical: (k0, size0) of `assign_levels`.
        impl: "auto" runs the CUDA kernels if possible, and warns once if not; "cuda" requires them; "portable" runs on
            any device.

    Returns:
        [R, C, ph, pw] of the features' type, channels last. Differentiable once, in the features.

    Raises:
        ValueError, TypeError: shapes or types do not match.
        RuntimeError: `impl` is "cuda" and the kernels cannot run.
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
    """Pool regions from a single feature map [N, C, H, W]; see `multiscale_roi_align`."""
    return multiscale_roi_align(
        [features],
        rois,
        output_size=output_size,
        scales=[spatial_scale],
        sampling_ratio=sampling_ratio,
        aligned=aligned,
        impl=impl,
    )
