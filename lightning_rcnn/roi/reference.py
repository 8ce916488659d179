"""RoIAlign in plain PyTorch, slow and clear: one region and one level at a time, in any precision, on any device.

The oracle of the tests beside torchvision. Interpolation is a matrix along each axis, so autograd differentiates it and
nothing here is shared with the fast ways.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def roi_align_reference(
    features: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    *,
    output_size: tuple[int, int],
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """As `multiscale_roi_align`, with the level of each region given; in the features' precision, [R, C, ph, pw]."""
    pooled_height, pooled_width = output_size
    offset = 0.5 if aligned else 0.0
    pooled = []
    for roi, level in zip(rois.to(features[0].dtype), levels.tolist(), strict=True):
        image = int(roi[0]) if roi[0].isfinite() else -1
        if not (0 <= level < len(features) and 0 <= image < features[0].shape[0]):
            pooled.append(features[0].new_zeros(features[0].shape[1], *output_size))
            continue
        feature = features[level][image]
        x1, y1, x2, y2 = roi[1:] * scales[level] - offset
        roi_height, roi_width = y2 - y1, x2 - x1
        if not aligned:
            roi_height, roi_width = roi_height.clamp(min=1), roi_width.clamp(min=1)
        weights_y = _axis_weights(y1, roi_height, feature.shape[1], pooled_height, sampling_ratio)
        weights_x = _axis_weights(x1, roi_width, feature.shape[2], pooled_width, sampling_ratio)
        pooled.append(weights_y @ feature @ weights_x.T)
    return torch.stack(pooled) if pooled else features[0].new_zeros(0, features[0].shape[1], *output_size)


def _axis_weights(roi_start: Tensor, roi_length: Tensor, length: int, num_bins: int, sampling_ratio: int) -> Tensor:
    """[num_bins, length]: how much each pixel along the axis weighs in each bin."""
    weights = roi_start.new_zeros(num_bins, length)
    bin_size = roi_length / num_bins
    if length == 0 or not bin_size.isfinite():
        return weights
    bin_grid = sampling_ratio if sampling_ratio > 0 else int(bin_size.ceil())
    for bin_index in range(num_bins):
        sample = torch.arange(bin_grid, dtype=roi_start.dtype, device=roi_start.device)
        position = roi_start + bin_index * bin_size + (sample + 0.5) * bin_size / bin_grid
        position = position[(position >= -1) & (position <= length)].clamp(0, length - 1)
        low = position.floor().long()
        high = (low + 1).clamp(max=length - 1)
        fraction = position - low
        weights[bin_index].index_put_((low,), (1 - fraction) / bin_grid, accumulate=True)
        weights[bin_index].index_put_((high,), fraction / bin_grid, accumulate=True)
    return weights
