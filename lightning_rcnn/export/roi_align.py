"""RoIAlign as one weighted sum of pixels, in standard operators: the CPU implementation of `ops/` in a graph.

With a fixed number of samples no size depends on the data: where samples of a bin share a pixel, one has all of its
weight and the others none, so every bin has as many pixels (see `ops/cpu/roi_align.py`). With an adaptive number, in
`adaptive_bins.py`, sizes are those of the regions at hand. Both add the same weights in the same order as the CPU
implementation, and give the same bits. On a processor either takes a sixth of the time of torchvision's operator, or
less, and regions need not be sorted by level.

Shape letters: N images, C channels, R regions, ph and pw bins, P bins along one axis, G samples of a bin along one
axis.
"""

import itertools
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_rcnn.export.adaptive_bins import Axis, adaptive_sums


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
        sampling_ratio: G; 0 for as many as the region has pixels.
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
    in_y, in_x = Axis(y1, y2, heights, output_size[0], aligned), Axis(x1, x2, widths, output_size[1], aligned)
    rows = torch.cat([feature.flatten(2).transpose(1, 2) for feature in features], dim=1)  # [N, pixels of an image, C]
    first_rows = image * rows.shape[1] + first_rows
    table = rows.flatten(0, 1).to(rois.dtype)
    sums = adaptive_sums if sampling_ratio <= 0 else partial(_fixed_sums, sampling_ratio)
    bins = sums(table, first_rows, is_region, in_y, in_x)
    return bins.to(rows.dtype).view(-1, *output_size, rows.shape[2]).permute(0, 3, 1, 2)


def _fixed_sums(
    num_samples: int, table: Tensor, first_rows: Tensor, is_region: Tensor, in_y: Axis, in_x: Axis
) -> Tensor:
    """Sum the pixels of each bin; see `adaptive_sums`."""
    y, weight_y = _axis_pixels(in_y, num_samples)
    x, weight_x = _axis_pixels(in_x, num_samples)
    lines = first_rows[:, None, None] + y * in_x.sizes[:, None, None]
    weight_y = torch.where(is_region[:, None, None], weight_y, 0.0)

    # int32 halves the traffic; a pyramid of 2^31 pixels fits no memory.
    pixels = lines.to(torch.int32)[:, :, None, :, None] + x.to(torch.int32)[:, None, :, None, :]
    weights = weight_y[:, :, None, :, None] * weight_x[:, None, :, None, :]
    of_bin = (2 * num_samples) ** 2
    return F.embedding_bag(pixels.view(-1, of_bin), table, mode="sum", per_sample_weights=weights.view(-1, of_bin))


def _level_sizes(features: Sequence[Tensor], levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return height and width of the map of each region, and the number of an image's pixels on the maps before it."""
    sizes, first_row = [], 0
    for feature in features:
        height, width = feature.shape[2:]
        sizes.append(torch.stack([torch.full_like(levels[:1], value) for value in (height, width, first_row)]))
        first_row += height * width
    heights, widths, first_rows = torch.cat(sizes, dim=1)[:, levels]
    return heights, widths, first_rows


def _axis_pixels(axis: Axis, num_samples: int) -> tuple[Tensor, Tensor]:
    """Return the pixels under each bin along one axis, int64 [R, P, 2G], and their weights [R, P, 2G]."""
    samples = torch.arange(num_samples, dtype=axis.starts.dtype, device=axis.starts.device)
    ratios = torch.full_like(axis.starts, num_samples)
    pixels, weights = axis.pixels(samples[None, None, :], ratios)
    return pixels.flatten(2), torch.stack(_merge_shared(pixels, weights), dim=-1)


def _merge_shared(pixels: Tensor, weights: Tensor) -> list[Tensor]:
    """Move the weight of a pixel to the next sample of the bin if that uses it, too.

    Args:
        pixels: int64 [R, P, G, 2].
        weights: [R, P, G, 2].

    Returns:
        2G tensors [R, P].
    """
    merged = [list(sample.unbind(-1)) for sample in weights.unbind(2)]
    for sample in range(len(merged) - 1):
        for source, target in itertools.product((0, 1), (0, 1)):
            is_shared = pixels[:, :, sample, source] == pixels[:, :, sample + 1, target]
            moved = torch.where(is_shared, merged[sample][source], 0.0)
            merged[sample + 1][target] = merged[sample + 1][target] + moved
            merged[sample][source] = merged[sample][source] - moved
    return list(itertools.chain.from_iterable(merged))
