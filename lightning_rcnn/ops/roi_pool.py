"""RoIPool (Fast R-CNN, arXiv:1504.08083, section 2.1) over one feature map or a pyramid: the maximum of each bin."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_rcnn.ops import operators  # noqa: F401  # registers the operator called below
from lightning_rcnn.ops.dispatch import Implementation
from lightning_rcnn.ops.inputs import checked_output_size


def multiscale_roi_pool(
    features: Sequence[Tensor],
    rois: Tensor,
    *,
    output_size: int | tuple[int, int],
    scales: Sequence[float],
    levels: Tensor | None = None,
    canonical: tuple[int, float] = (4, 224.0),
    impl: Implementation = "auto",
) -> Tensor:
    """Divides each region into bins of whole pixels on the level that suits its size, and takes each bin's maximum.

    The values are those of `torchvision.ops.roi_pool` on that level: corners are rounded to pixels and belong to the
    region, an empty bin is 0. A region with a corner that is not finite, or whose batch index is not that of an image
    (-1 marks padding), pools to zeros and costs next to nothing.

    Args:
        features: [N, C, H_l, W_l] for each level, finest first, of one floating-point type. Channels last is faster.
        rois: [R, 5]: batch index, x1, y1, x2, y2 in pixels of the network's input; best in float32.
        output_size: bins along (y, x), or one number for both.
        scales, levels, canonical, impl: as in `multiscale_roi_align`.

    Returns:
        [R, C, ph, pw] of the features' type, channels last. Differentiable once, in the features.

    Raises:
        ValueError, TypeError: the shapes or types do not fit together.
        RuntimeError: `impl` is "cuda" and the kernels cannot be used.
    """
    size = checked_output_size(features, rois, output_size, scales, levels)
    pooled, _ = torch.ops.lightning_rcnn.roi_pool(list(features), rois, levels, list(scales), size, *canonical, impl)
    return pooled


def roi_pool(
    features: Tensor,
    rois: Tensor,
    *,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    impl: Implementation = "auto",
) -> Tensor:
    """Pools regions from a single feature map [N, C, H, W]; see `multiscale_roi_pool`."""
    return multiscale_roi_pool([features], rois, output_size=output_size, scales=[spatial_scale], impl=impl)
