"""RoIPool by torchvision's operator, on any device and for any floating-point type."""

import torch
import torchvision  # noqa: F401  # registers torch.ops.torchvision
from torch import Tensor

from lightning_rcnn.roi.pixel_weights import Pyramid

_FAR_OUTSIDE = 2.0**20
"""A coordinate on the map whose bins hold no pixel, so that a region pools to zeros."""


def forward(features: Tensor, rois: Tensor, scale: float, output_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The maxima [R, C, ph, pw] and the pixel y * W + x of each, int32, -1 for an empty bin; both channels last."""
    size = (rois.shape[0], *output_size, features.shape[1])
    if features.numel() == 0:
        zeros = features.new_zeros(size).permute(0, 3, 1, 2)
        return zeros, torch.full_like(zeros, -1, dtype=torch.int32)
    # torchvision's operator knows no bfloat16, and wants regions of the features' type, where float16 loses pixels.
    precise = features if features.dtype == torch.float64 else features.float()
    pooled, argmax = torch.ops.torchvision.roi_pool(
        precise, _safe_rois(rois, features.shape[0], scale).to(precise.dtype), scale, *output_size
    )
    return _channels_last(pooled.to(features.dtype)), _channels_last(argmax)


def backward(grad: Tensor, argmax: Tensor, rois: Tensor, pyramid: Pyramid) -> Tensor:
    """The gradient of `forward`, [N, C, H, W]."""
    size = (pyramid.num_images, grad.shape[1], pyramid.heights[0], pyramid.widths[0])
    if 0 in size:
        return grad.new_zeros(size)
    precise = grad if grad.dtype == torch.float64 else grad.float()
    rois = _safe_rois(rois, pyramid.num_images, pyramid.scales[0]).to(precise.dtype)
    spread = torch.ops.torchvision._roi_pool_backward(
        precise.contiguous(), rois, argmax.contiguous(), pyramid.scales[0], *grad.shape[2:], *size
    )
    return spread.to(grad.dtype)


def _safe_rois(rois: Tensor, num_images: int, scale: float) -> Tensor:
    """Regions that torchvision's unchecked operator can take.

    Those of no image, or with a corner that is not finite, are moved to where they hold no pixel; corners are clamped
    to what int32 can hold.
    """
    in_range = (rois[:, :1] >= 0) & (rois[:, :1] < num_images) & rois.isfinite().all(dim=1, keepdim=True)
    limit = _FAR_OUTSIDE / scale
    boxes = torch.where(in_range, rois[:, 1:].nan_to_num(0).clamp(-limit, limit), -limit)
    return torch.cat((torch.where(in_range, rois[:, :1], 0), boxes), dim=1)


def _channels_last(bins: Tensor) -> Tensor:
    return bins.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
