"""RoIAlign and RoIPool in plain PyTorch: slow, clear, in any precision, on any device.

Tests compare the fast implementations with this one and with torchvision. It shows what `cuda/roi_kernels.cu` computes,
with the same variable names. It pools one region at a time, autograd differentiates it, and it shares no code with the
fast implementations.

Shape letters: N images, C channels, R regions, ph and pw bins.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def roi_align_reference(
    features: Sequence[Tensor],
    rois: Tensor,
    roi_levels: Tensor,
    *,
    output_size: tuple[int, int],
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Compute `multiscale_roi_align` in the features' precision, with a given level of each region; [R, C, ph, pw]."""
    pooled = []
    for roi, level in zip(rois.to(features[0].dtype), roi_levels.tolist(), strict=True):
        image = int(roi[0]) if roi[0].isfinite() else -1
        if not (0 <= level < len(features) and 0 <= image < features[0].shape[0] and roi.isfinite().all()):
            pooled.append(features[0].new_zeros(features[0].shape[1], *output_size))
            continue
        pixels = features[level][image]
        x1, y1, x2, y2 = roi[1:] * scales[level]
        _, height, width = pixels.shape
        weights_y = _align_axis(y1, y2, output_size[0], height, sampling_ratio, aligned)
        weights_x = _align_axis(x1, x2, output_size[1], width, sampling_ratio, aligned)
        pooled.append(weights_y @ pixels @ weights_x.T)
    return _stack(pooled, features[0], output_size)


def _align_axis(start: Tensor, end: Tensor, num_bins: int, size: int, sampling_ratio: int, aligned: bool) -> Tensor:
    """Compute the weight of each pixel along an axis in each bin, [num_bins, size]."""
    weights = start.new_zeros(num_bins, size)
    offset = 0.5 if aligned else 0.0
    roi_start = start - offset
    roi_length = (end - offset) - (start - offset)
    if not aligned:
        roi_length = roi_length.clamp(min=1)
    bin_size = roi_length / num_bins
    bin_grid = sampling_ratio if sampling_ratio > 0 else int(bin_size.ceil())
    if size == 0 or bin_grid <= 0:
        return weights
    sample_weight = 1 / bin_grid
    step = bin_size * sample_weight
    for bin_index in range(num_bins):
        sample = torch.arange(bin_grid, dtype=start.dtype, device=start.device)
        position = roi_start + bin_index * bin_size + (sample + 0.5) * step
        position = position[(position >= -1) & (position <= size)].clamp(0, size - 1)
        low = position.floor().long()
        high = (low + 1).clamp(max=size - 1)
        fraction = position - low
        weights[bin_index].index_put_((low,), (1 - fraction) * sample_weight, accumulate=True)
        weights[bin_index].index_put_((high,), fraction * sample_weight, accumulate=True)
    return weights


def roi_pool_reference(features: Tensor, rois: Tensor, *, output_size: tuple[int, int], spatial_scale: float) -> Tensor:
    """Compute `roi_pool`, [R, C, ph, pw]."""
    pooled = []
    for roi in rois:
        maximum = features.new_zeros(features.shape[1], *output_size)
        pooled.append(maximum)
        if not (roi.isfinite().all() and 0 <= roi[0] < features.shape[0]):
            continue
        pixels = features[int(roi[0])]
        _, height, width = pixels.shape
        x1, y1, x2, y2 = (roi[1:] * spatial_scale).tolist()
        for bin_y, (top, bottom) in enumerate(_pool_axis(y1, y2, output_size[0], height)):
            for bin_x, (left, right) in enumerate(_pool_axis(x1, x2, output_size[1], width)):
                if top < bottom and left < right:
                    maximum[:, bin_y, bin_x] = pixels[:, top:bottom, left:right].flatten(1).max(dim=1).values
    return _stack(pooled, features, output_size)


def _pool_axis(start: float, end: float, num_bins: int, size: int) -> list[tuple[int, int]]:
    """Compute the pixels [begin, end) of each bin along an axis."""
    roi_start, roi_end = _round_half_away(start), _round_half_away(end)
    bin_size = torch.tensor(max(roi_end - roi_start + 1, 1), dtype=torch.float32) / num_bins
    spans = []
    for bin_index in range(num_bins):
        begin = int((bin_index * bin_size).floor()) + roi_start
        stop = int(((bin_index + 1) * bin_size).ceil()) + roi_start
        spans.append((min(max(begin, 0), size), min(max(stop, 0), size)))
    return spans


def _round_half_away(value: float) -> int:
    """Round as C's `round`; Python's `round` takes halves to the even neighbor."""
    return int(abs(value) + 0.5) * (1 if value >= 0 else -1)


def _stack(pooled: list[Tensor], features: Tensor, output_size: tuple[int, int]) -> Tensor:
    return torch.stack(pooled) if pooled else features.new_zeros(0, features.shape[1], *output_size)
