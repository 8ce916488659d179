"""RoIPool (Fast R-CNN, arXiv:1504.08083, section 2.1): the maximum of the pixels of each bin."""

import torch
from torch import Tensor

from lightning_rcnn.roi import operators  # noqa: F401  # registers the operator called below
from lightning_rcnn.roi.dispatch import Implementation


def roi_pool(
    features: Tensor,
    rois: Tensor,
    *,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    impl: Implementation = "auto",
) -> Tensor:
    """Divides each region into bins of whole pixels and takes each bin's maximum.

    The values are those of `torchvision.ops.roi_pool`: corners are rounded to pixels and belong to the region, an empty
    bin is 0. A region with a corner that is not finite, or whose batch index is not that of an image (-1 marks
    padding), pools to zeros.

    Args:
        features: floating-point [N, C, H, W].
        rois: [R, 5]: batch index, x1, y1, x2, y2 in pixels of the network's input.
        output_size: bins along (y, x), or one number for both.
        spatial_scale: size of the features over the size of the input.
        impl: as in `multiscale_roi_align`.

    Returns:
        [R, C, ph, pw] of the features' type, channels last. Differentiable once, in the features.

    Raises:
        ValueError: the shapes do not fit together.
        RuntimeError: `impl` is "cuda" and the kernels cannot be used.
    """
    if features.dim() != 4 or rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(
            f"need features [N, C, H, W] and rois [R, 5], got {tuple(features.shape)} and {tuple(rois.shape)}"
        )
    size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    pooled, _ = torch.ops.lightning_rcnn.roi_pool(features, rois, spatial_scale, list(size), impl)
    return pooled
