"""RoIAlign as bags of weighted pixels.

Every output bin of RoIAlign is a weighted sum of pixels. The weights are separable: those along y and those along x are
found alone, samples of a bin that share a pixel are merged (16 reads of a 7 x 7 bin at ratio 2 become 9.9 on average),
and the pixels of a bin are the cross product of the two short lists.

Shape letters: R regions, L levels, P bins along one axis, G samples of a bin along one axis, B = R * bins, T pixels of
all bins together.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Pyramid(NamedTuple):
    """Sizes of the feature maps whose pixels are stacked to rows: level by level, image by image, line by line."""

    num_images: int
    heights: list[int]
    widths: list[int]
    scales: list[float]

    def level_rows(self) -> list[int]:
        """How many rows each level has."""
        return [self.num_images * height * width for height, width in zip(self.heights, self.widths, strict=True)]


class Grid(NamedTuple):
    """How a region is divided and sampled: arguments as in `multiscale_roi_align`."""

    output_size: tuple[int, int]
    sampling_ratio: int
    aligned: bool


class Bags(NamedTuple):
    """B bags of weighted rows: bag b holds the entries from offsets[b] to offsets[b + 1].

    Attributes:
        rows: int32 (int64 beyond 2^31) [T].
        weights: [T].
        offsets: of the type of `rows`, [B + 1].
    """

    rows: Tensor
    weights: Tensor
    offsets: Tensor


class AxisPixels(NamedTuple):
    """The pixels under each bin along one axis; entries of weight 0 do not count.

    Attributes:
        pixels: int64 [R, P, 2G].
        weights: [R, P, 2G].
    """

    pixels: Tensor
    weights: Tensor


def region_bags(rois: Tensor, levels: Tensor, pyramid: Pyramid, grid: Grid) -> Bags:
    """The weighted rows of every bin of every region.

    Args:
        rois: float [R, 5]: batch index, x1, y1, x2, y2 in pixels of the network's input.
        levels: int64 [R].
        pyramid: the feature maps.
        grid: bins and samples.

    Returns:
        Bags in the order [R, ph, pw]. A region of no image or no level (an index out of range) has empty bags.
    """
    images = rois[:, 0].to(torch.int64)
    in_range = (images >= 0) & (images < pyramid.num_images) & (levels >= 0) & (levels < len(pyramid.scales))
    levels = torch.where(in_range, levels, 0)
    heights, widths = (torch.tensor(sizes, device=rois.device)[levels] for sizes in (pyramid.heights, pyramid.widths))
    scales = torch.tensor(pyramid.scales, dtype=rois.dtype, device=rois.device)[levels]

    offset = 0.5 if grid.aligned else 0.0
    x1, y1, x2, y2 = (rois[:, 1:] * scales[:, None] - offset).unbind(1)
    bins_y, bins_x = grid.output_size
    in_y = _axis_pixels(y1, y2, heights, bins_y, grid)
    in_x = _axis_pixels(x1, x2, widths, bins_x, grid)
    in_y.weights.mul_(in_range[:, None, None])

    level_rows = pyramid.level_rows()
    level_starts = torch.tensor([sum(level_rows[:level]) for level in range(len(level_rows))], device=rois.device)
    first_rows = level_starts[levels] + images * heights * widths
    line_rows = AxisPixels(first_rows[:, None, None] + in_y.pixels * widths[:, None, None], in_y.weights)
    return _cross_product(line_rows, in_x, sum(level_rows))


def transpose_bags(bags: Bags, num_rows: int) -> Bags:
    """The same weights seen from the rows: `num_rows` bags of bins, each in the order of the bins."""
    sorted_rows, order = torch.sort(bags.rows, stable=True)
    bag_of_entry = torch.repeat_interleave(
        torch.arange(bags.offsets.numel() - 1, dtype=bags.rows.dtype, device=bags.rows.device),
        bags.offsets.diff(),
        output_size=bags.rows.numel(),
    )
    boundaries = torch.arange(num_rows + 1, dtype=bags.rows.dtype, device=bags.rows.device)
    offsets = torch.searchsorted(sorted_rows, boundaries, out_int32=bags.rows.dtype == torch.int32)
    return Bags(bag_of_entry.index_select(0, order), bags.weights.index_select(0, order), offsets)


def _axis_pixels(start: Tensor, end: Tensor, size: Tensor, num_bins: int, grid: Grid) -> AxisPixels:
    """Pixels and weights along one axis, with the edges of torchvision's kernel.

    A sample outside [-1, size] (or NaN) counts for nothing; one before the first pixel's centre takes the first, one
    past the last pixel's centre the last. The mean divides by all samples of the bin, those outside included.
    """
    length = end - start
    if not grid.aligned:
        length = length.clamp(min=1)
    bin_length = length / num_bins
    ratio = torch.full_like(length, grid.sampling_ratio) if grid.sampling_ratio > 0 else torch.ceil(bin_length)
    bin_starts = start[:, None] + torch.arange(num_bins, device=start.device) * bin_length[:, None]
    step = (bin_length / ratio)[:, None, None]

    # An adaptive grid samples at least every pixel and at most every half pixel: however large the box, no more than
    # 2 (size + 1) samples of a bin lie on the map, and counting starts at the first of them.
    num_samples = grid.sampling_ratio
    first = torch.zeros_like(bin_starts)[:, :, None]
    if grid.sampling_ratio <= 0 and start.numel():
        num_samples = int(min(ratio.nan_to_num(0).max(), 2 * size.max() + 6).clamp(min=1))
        first = ((-1 - bin_starts[:, :, None]) / step - 1.5).floor().nan_to_num(0).clamp(min=0)
    sample = first + torch.arange(max(num_samples, 1), device=start.device)
    position = bin_starts[:, :, None] + (sample + 0.5) * step

    size = size[:, None, None]
    valid = (position >= -1) & (position <= size) & (sample < ratio[:, None, None]) & (size > 0)
    position = torch.where(valid, position, 0).clamp(min=0)
    low = torch.minimum(position.to(torch.int64), (size - 1).clamp(min=0))
    high = torch.minimum(low + 1, (size - 1).clamp(min=0))
    towards_high = torch.where(high > low, position - low, 0)
    share = torch.where(valid, 1 / ratio[:, None, None], 0)
    weights = torch.stack(((1 - towards_high) * share, towards_high * share), dim=-1)
    pixels = torch.stack((low, high), dim=-1)
    return AxisPixels(pixels.flatten(2), _merge_shared(pixels, weights).flatten(2))


def _merge_shared(pixels: Tensor, weights: Tensor) -> Tensor:
    """Moves the weight of a pixel that the next sample of the bin also uses to that sample. [R, P, G, 2]."""
    for sample in range(pixels.shape[2] - 1):
        low, high = pixels[:, :, sample].unbind(-1)
        weight_low, weight_high = weights[:, :, sample].unbind(-1)
        next_low, next_high = pixels[:, :, sample + 1].unbind(-1)
        next_weight_low, next_weight_high = weights[:, :, sample + 1].unbind(-1)
        for source, source_weight in ((low, weight_low), (high, weight_high)):
            for target, target_weight in ((next_low, next_weight_low), (next_high, next_weight_high)):
                moved = torch.where(source == target, source_weight, 0)
                target_weight.add_(moved)
                source_weight.sub_(moved)
    return weights


def _cross_product(in_y: AxisPixels, in_x: AxisPixels, num_rows: int) -> Bags:
    """The pixels of each bin: those along y (as rows where their lines begin) times those along x.

    Two expansions of ragged lists: first every (bin, line) that carries weight, then the pixels of each such line.
    """
    num_regions, bins_y, entries_y = in_y.weights.shape
    bins_x = in_x.weights.shape[1]
    lines_shape = (num_regions, bins_y, bins_x, entries_y)
    counts_y, counts_x = in_y.weights.ne(0).sum(-1), in_x.weights.ne(0).sum(-1)
    counts = (counts_y[:, :, None] * counts_x[:, None, :]).flatten()
    offsets = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
    num_entries = int(offsets[-1])
    index_type = torch.int32 if max(num_rows, num_entries) < 2**31 else torch.int64  # half the traffic where it fits

    entry_x = in_x.weights.flatten().nonzero().squeeze(1)
    line = in_y.weights.ne(0)[:, :, None, :].expand(lines_shape).flatten().nonzero().squeeze(1)

    def of_line(values: Tensor) -> Tensor:
        return values.expand(lines_shape).reshape(-1).index_select(0, line)

    def of_entry(values: Tensor) -> Tensor:
        return values.index_select(0, line_of_entry)

    line_lengths = of_line(counts_x[:, None, :, None])
    first_x = (counts_x.flatten().cumsum(0).view_as(counts_x) - counts_x)[:, None, :, None]
    shift = of_line(first_x) - (line_lengths.cumsum(0) - line_lengths)
    line_of_entry = torch.repeat_interleave(line_lengths, output_size=num_entries)
    x_of_entry = of_entry(shift.to(index_type)) + torch.arange(num_entries, dtype=index_type, device=line.device)

    pixels_x = in_x.pixels.to(index_type).flatten().index_select(0, entry_x)
    weights_x = in_x.weights.flatten().index_select(0, entry_x)
    rows = of_entry(of_line(in_y.pixels.to(index_type)[:, :, None, :])) + pixels_x.index_select(0, x_of_entry)
    weights = of_entry(of_line(in_y.weights[:, :, None, :])) * weights_x.index_select(0, x_of_entry)
    return Bags(rows, weights, offsets.to(index_type))
