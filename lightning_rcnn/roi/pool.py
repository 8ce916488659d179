"""RoIPool (Fast R-CNN, arXiv:1504.08083, section 2.1): the maximum of the pixels of each bin."""

import torch
import torchvision.ops
from torch import Tensor

_FAR_OUTSIDE = -(2.0**20)
"""A coordinate whose bins hold no pixel, so that a region pools to zeros."""


def roi_pool(
    features: Tensor, rois: Tensor, *, output_size: int | tuple[int, int], spatial_scale: float = 1.0
) -> Tensor:
    """Divides each region into bins of whole pixels and takes each bin's maximum.

    The values are those of `torchvision.ops.roi_pool`: corners are rounded to pixels and belong to the region, an empty
    bin is 0. A region with a NaN, or whose batch index is not that of an image (-1 marks padding), pools to zeros.

    Args:
        features: floating-point [N, C, H, W].
        rois: [R, 5]: batch index, x1, y1, x2, y2 in pixels of the network's input.
        output_size: bins along (y, x), or one number for both.
        spatial_scale: size of the features over the size of the input.

    Returns:
        [R, C, ph, pw] of the features' type. Differentiable once, in the features.

    Raises:
        ValueError: the shapes do not fit together.
    """
    if features.dim() != 4 or rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(f"need features [N, C, H, W] and rois [R, 5], got {features.shape} and {rois.shape}")
    if features.numel() == 0:
        height, width = (output_size, output_size) if isinstance(output_size, int) else output_size
        return features.sum() + features.new_zeros(rois.shape[0], features.shape[1], height, width)
    in_range = (rois[:, :1] >= 0) & (rois[:, :1] < features.shape[0]) & rois.isfinite().all(dim=1, keepdim=True)
    limit = -_FAR_OUTSIDE / spatial_scale  # torchvision keeps rounded coordinates in int32
    boxes = torch.where(in_range, rois[:, 1:].nan_to_num(0).clamp(-limit, limit), -limit)
    images = torch.where(in_range, rois[:, :1], 0)

    # torchvision's operator knows no bfloat16, and wants regions of the features' type, where float16 loses pixels.
    precise = features if features.dtype == torch.float64 else features.float()
    pooled = torchvision.ops.roi_pool(
        precise, torch.cat((images, boxes), 1).to(precise.dtype), output_size, spatial_scale
    )
    return pooled.to(features.dtype)
