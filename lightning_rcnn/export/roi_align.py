"""RoIAlign with a fixed number of samples as one weighted sum of pixels, in standard operators.

It is the CPU implementation of `ops/` (see `ops/cpu/roi_align.py`) without the parts whose sizes depend on the data:
samples of a bin that share a pixel are not merged, so every bin has as many pixels. On a processor it takes a sixth of
the time of torchvision's operator, and regions need not be sorted by level.

Shape letters: N images, C channels, R regions, ph and pw bins, P bins along one axis, G samples of a bin along one
axis.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def roi_align(
    features: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    scales: Sequence[float],
    output_size: Sequence[int],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Pool each region from its level; regions of padding (batch index -1) are zeros.

    Args:
        features: [N, C, H, W] for each level.
        rois: [R, 5]: batch index, x1, y1, x2, y2 in pixels of the network's input.
        levels: int64 [R], the level of each region.
        scales: size of each level's map over the size of the input.
        output_size: (ph, pw).
        sampling_ratio: G, at least 1.
        aligned: see `multiscale_roi_align`.

    Returns:
        [R, C, ph, pw] of the features' type, channels last.
    """
    is_region = rois[:, 0] >= 0
    levels = torch.where(is_region, levels, 0)
    image = torch.where(is_region, rois[:, 0], 0).to(torch.int64)
    heights, widths, first_rows = _level_sizes(features, levels)
    scale = torch.tensor(scales, dtype=rois.dtype, device=rois.device)[levels]
    x1, y1, x2, y2 = (rois[:, 1:] * scale[:, None] - (0.5 if aligned else 0.0)).unbind(1)
    y, weight_y = _axis_pixels(y1, y2, heights, output_size[0], sampling_ratio, aligned)
    x, weight_x = _axis_pixels(x1, x2, widths, output_size[1], sampling_ratio, aligned)
    rows = torch.cat([feature.flatten(2).transpose(1, 2) for feature in features], dim=1)  # [N, pixels of an image, C]
    lines = (image * rows.shape[1] + first_rows)[:, None, None] + y * widths[:, None, None]
    weight_y = torch.where(is_region[:, None, None], weight_y, 0.0)

    # int32 halves the traffic; a pyramid of 2^31 pixels fits no memory.
    pixels = lines.to(torch.int32)[:, :, None, :, None] + x.to(torch.int32)[:, None, :, None, :]
    weights = weight_y[:, :, None, :, None] * weight_x[:, None, :, None, :]
    of_bin = (2 * sampling_ratio) ** 2
    table = rows.flatten(0, 1).to(rois.dtype)
    bins = F.embedding_bag(pixels.view(-1, of_bin), table, mode="sum", per_sample_weights=weights.view(-1, of_bin))
    return bins.to(rows.dtype).view(-1, *output_size, rows.shape[2]).permute(0, 3, 1, 2)


def _level_sizes(features: Sequence[Tensor], levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return height and width of the map of each region, and the number of an image's pixels on the maps before it."""
    sizes, first_row = [], 0
    for feature in features:
        height, width = feature.shape[2:]
        sizes.append(torch.stack([torch.full_like(levels[:1], value) for value in (height, width, first_row)]))
        first_row += height * width
    heights, widths, first_rows = torch.cat(sizes, dim=1)[:, levels]
    return heights, widths, first_rows


def _axis_pixels(
    start: Tensor, end: Tensor, size: Tensor, num_bins: int, num_samples: int, aligned: bool
) -> tuple[Tensor, Tensor]:
    """Return the pixels under each bin along one axis, int64 [R, P, 2G], and their weights [R, P, 2G].

    Edges are treated as in `ops/cpu/pixel_weights.py`.
    """
    length = end - start if aligned else (end - start).clamp(min=1)
    bin_length = length / num_bins
    bins, samples = (torch.arange(n, dtype=start.dtype, device=start.device) for n in (num_bins, num_samples))
    bin_start = start[:, None] + bins * bin_length[:, None]
    position = bin_start[:, :, None] + (samples + 0.5) * (bin_length / num_samples)[:, None, None]
    size = size[:, None, None]
    is_valid = (position >= -1) & (position <= size)
    position = torch.where(is_valid, position, 0.0).clamp(min=0)
    low = torch.minimum(position.to(torch.int64), size - 1)
    high = torch.minimum(low + 1, size - 1)
    fraction = torch.where(high > low, position - low, 0.0)
    weight = torch.where(is_valid, 1 / num_samples, 0.0)
    pixels = torch.stack((low, high), dim=-1).flatten(2)
    return pixels, torch.stack(((1 - fraction) * weight, fraction * weight), dim=-1).flatten(2)
