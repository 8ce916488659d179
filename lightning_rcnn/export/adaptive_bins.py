"""Bins of RoIAlign with as many samples as a region has pixels, in standard operators.

Lists of pixels are as long as the regions at hand need: a graph has sizes for that which are known only when it runs.
They are expanded as in `ops/cpu/pixel_weights.py`, first to the lines under each bin, then to the pixels of each line.

Shape letters: R regions, P bins along one axis, G samples of a bin along one axis, B bins, L lines under all bins, T
pixels under all bins, C channels.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_SHORTEST = 1e-6
"""Least distance of samples, pixels, against division by zero."""


class Axis(NamedTuple):
    """Regions along one axis.

    Attributes:
        starts, ends: floating point [R], pixels of the level's map.
        sizes: int64 [R], size of the map, pixels.
        num_bins: P.
        aligned: see `multiscale_roi_align`.
    """

    starts: Tensor
    ends: Tensor
    sizes: Tensor
    num_bins: int
    aligned: bool

    def bin_lengths(self) -> Tensor:
        """Return the length of a bin of each region, pixels, [R]."""
        length = self.ends - self.starts if self.aligned else (self.ends - self.starts).clamp(min=1)
        return length / self.num_bins

    def bin_starts(self) -> Tensor:
        """Return where each bin starts, pixels, [R, P]."""
        bins = torch.arange(self.num_bins, dtype=self.starts.dtype, device=self.starts.device)
        return self.starts[:, None] + bins * self.bin_lengths()[:, None]

    def pixels(self, samples: Tensor, ratios: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pixels on both sides of samples and their weights; edges as in `ops/cpu/pixel_weights.py`.

        Args:
            samples: numbers of samples in their bin, [R or 1, P or 1, G].
            ratios: how many samples a bin of each region has, [R]; further ones have no weight.

        Returns:
            int64 [R, P, G, 2] and floating point [R, P, G, 2].
        """
        steps = (self.bin_lengths() / ratios)[:, None, None]
        position = self.bin_starts()[:, :, None] + (samples + 0.5) * steps
        size, ratio = self.sizes[:, None, None], ratios[:, None, None]
        is_valid = (position >= -1) & (position <= size) & (samples < ratio)
        position = torch.minimum(position.nan_to_num().clamp(min=0), size.to(position.dtype))
        low = torch.minimum(position.to(torch.int64), size - 1)
        high = torch.minimum(low + 1, size - 1)
        fraction = torch.where(high > low, position - low, 0.0)
        weight = torch.where(is_valid, 1 / ratio, 0.0)
        return torch.stack((low, high), dim=-1), torch.stack(((1 - fraction) * weight, fraction * weight), dim=-1)


def adaptive_sums(table: Tensor, first_rows: Tensor, is_region: Tensor, in_y: Axis, in_x: Axis) -> Tensor:
    """Sum the pixels of each bin.

    Args:
        table: floating point [pixels, C] of all maps, map by map and line by line.
        first_rows: int64 [R], the row of the first pixel of each region's map.
        is_region: bool [R]; the bins of others are zeros.
        in_y, in_x: the regions along both axes.

    Returns:
        [B, C] in the order of regions, bins along y, and bins along x.
    """
    first_y, count_y, weights_y = _axis_pixels(in_y)
    first_x, count_x, weights_x = _axis_pixels(in_x)
    weights_y = torch.where(is_region[:, None, None], weights_y, 0.0)
    shape = (-1, in_y.num_bins, in_x.num_bins)

    # The lines under each bin.
    lines_of_bin = count_y[:, :, None].expand(shape).reshape(-1)
    bin_of_line = torch.repeat_interleave(lines_of_bin)
    y = torch.arange(bin_of_line.shape[0], device=table.device) - _starts(lines_of_bin)[bin_of_line]
    row_y = (torch.arange(count_y.numel(), device=table.device) * weights_y.shape[2]).view(count_y.shape)
    row_x = (torch.arange(count_x.numel(), device=table.device) * weights_x.shape[2]).view(count_x.shape)
    weight_of_line = weights_y.flatten()[row_y[:, :, None].expand(shape).reshape(-1)[bin_of_line] + y]
    first_pixel = (first_rows[:, None] + first_y * in_x.sizes[:, None])[:, :, None] + first_x[:, None, :]
    widths = in_x.sizes[:, None, None].expand(shape).reshape(-1)
    pixel_of_line = first_pixel.reshape(-1)[bin_of_line] + y * widths[bin_of_line]

    # The pixels of each line.
    pixels_of_line = count_x[:, None, :].expand(shape).reshape(-1)[bin_of_line]
    line = torch.repeat_interleave(pixels_of_line)
    number = torch.arange(line.shape[0], device=table.device)
    start = _starts(pixels_of_line)
    pixels = (pixel_of_line - start)[line] + number
    x = (row_x[:, None, :].expand(shape).reshape(-1)[bin_of_line] - start)[line] + number
    weights = weight_of_line[line] * weights_x.flatten()[x]
    offsets = _starts(lines_of_bin * count_x[:, None, :].expand(shape).reshape(-1))
    return F.embedding_bag(pixels, table, offsets, mode="sum", per_sample_weights=weights)


def _axis_pixels(axis: Axis) -> tuple[Tensor, Tensor, Tensor]:
    """Return first pixel and number of pixels under each bin, int64 [R, P], and their weights [R, P, 2G]."""
    # An empty region has no sample, and a bin without one has a pixel of weight 0, so that no list is empty.
    lengths, starts = axis.bin_lengths(), axis.bin_starts()
    ratios = lengths.ceil().clamp(min=1)
    # However large the region, at most 2 (size + 1) samples of a bin lie on the map: count from the first of them.
    num_samples = torch.minimum(ratios.max().to(torch.int64), 2 * axis.sizes.max() + 6).clamp(min=2).item()
    torch._check(num_samples >= 2)
    first_samples = ((-1 - starts) / (lengths / ratios).clamp(min=_SHORTEST)[:, None] - 1.5).floor().clamp(min=0)
    samples = first_samples[:, :, None] + torch.arange(num_samples, dtype=starts.dtype, device=starts.device)
    is_empty = (lengths <= 0)[:, None, None]
    pixels, weights = (values.flatten(2) for values in axis.pixels(samples, ratios))
    is_valid = (weights.unflatten(2, (-1, 2)) > 0).any(dim=3).repeat_interleave(2, dim=2)
    first = torch.where(is_valid, pixels, axis.sizes[:, None, None]).amin(dim=2).clamp(max=axis.sizes[:, None] - 1)
    last = torch.maximum(torch.where(is_valid, pixels, 0).amax(dim=2), first)
    # Sample by sample, in the order of the CPU implementation: sums in another order are rounded otherwise.
    merged = torch.zeros_like(weights).scatter_add(
        2,
        torch.where(is_valid, pixels - first[:, :, None], 0),
        torch.where(is_valid & ~is_empty, weights, 0.0),
    )
    return first, last - first + 1, merged


def _starts(counts: Tensor) -> Tensor:
    return counts.cumsum(0) - counts
