"""RoIPool (Fast R-CNN, arXiv:1504.08083, section 2.1) over one feature map or a pyramid: the maximum of each bin.

Shape letters: N images, C channels, H_l and W_l height and width of the map of level l, R regions, ph and pw bins.
"""

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
    """Divide each region into bins of whole pixels on the pyramid level of its size, and take the maximum of each bin.

    The values are those of `torchvision.ops.roi_pool` on that level: corners are rounded to pixels that belong to the
    region, an empty bin is 0. A region with a corner that is not finite, or whose batch index is not that of an image
    (-1 marks padding), pools to zeros at almost no cost.

    Args:
        features: [N, C, H_l, W_l] for each level, finest first, of one floating-point type. Channels last is faster.
        rois: [R, 5]: batch index, x1, y1, x2, y2 in pixels of the network's input; float32 is best.
        output_size: bins along (y, x), or one number for both.
        scales, levels, canonical, impl: as in `multiscale_roi_align`.

    Returns:
        [R, C, ph, pw] of the features' type, channels last. Differentiable once, in the features.

    Raises:
        ValueError, TypeError: shapes or types do not match.
        RuntimeError: `impl` is "cuda" and the kernels cannot run.
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
    """Pool regions from a single feature map [N, C, H, W]; see `multiscale_roi_pool`."""
    return multiscale_roi_pool([features], rois, output_size=output_size, scales=[spatial_scale], impl=impl)
