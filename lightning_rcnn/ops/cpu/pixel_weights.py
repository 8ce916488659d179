"""The pixel weights of RoIAlign as a sparse matrix: one row for each output bin, one column for each input pixel.

Every output bin of RoIAlign is a weighted sum of pixels. The weights are separable: those along y and those along x are
computed separately, samples of a bin that share a pixel are merged (16 reads of a 7 x 7 bin at ratio 2 become 9.9 on
average), and the pixels of a bin are the cross product of the two short lists.

The bookkeeping is many short steps, so it is done in NumPy: on one thread it takes no longer than torch on two (4 ms
for 512 regions and 7 x 7 bins), and it does not wait at barriers while data loaders keep the other cores busy.

Shape letters: R regions, P bins along one axis, G samples of a bin along one axis, B rows of a sparse matrix, T nonzero
weights, C channels.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


class Pyramid(NamedTuple):
    """Sizes of feature maps whose pixels are stacked as rows: level by level, image by image, line by line.

    Attributes:
        num_images: N, the same for all levels.
        heights, widths: of each level's map, pixels.
        scales: size of each level's map over the size of the input.
    """

    num_images: int
    heights: list[int]
    widths: list[int]
    scales: list[float]

    def level_rows(self) -> list[int]:
        """Return the number of rows of each level."""
        return [self.num_images * height * width for height, width in zip(self.heights, self.widths, strict=True)]


class Grid(NamedTuple):
    """Bins and samples of a region: arguments of `multiscale_roi_align`."""

    output_size: tuple[int, int]
    sampling_ratio: int
    aligned: bool


class SparseWeights(NamedTuple):
    """A sparse matrix of B rows in CSR form: row b has the entries from offsets[b] to before offsets[b + 1].

    Attributes:
        indices: int32 (int64 beyond 2^31) [T], the column of each weight.
        values: floating point [T], the weights.
        offsets: [B + 1], of the type of `indices`.
    """

    indices: Array
    values: Array
    offsets: Array

    def rows_between(self, first: int, stop: int) -> "SparseWeights":
        """Return the matrix of the rows from `first` to before `stop`."""
        offsets = self.offsets[first : stop + 1]
        entries = slice(offsets[0], offsets[-1])
        return SparseWeights(self.indices[entries], self.values[entries], offsets - offsets[0])


class AxisPixels(NamedTuple):
    """The pixels under each bin along one axis; entries of weight 0 do not count.

    Attributes:
        pixels: int64 [R, P, 2G].
        weights: [R, P, 2G].
    """

    pixels: Array
    weights: Array


def bin_weights(rois: Array, levels: Array, pyramid: Pyramid, grid: Grid) -> SparseWeights:
    """Compute the weight of every pixel in every bin.

    Args:
        rois: floating point [R, 5]: batch index, x1, y1, x2, y2 in pixels of the network's input.
        levels: int64 [R], the level of each region.
        pyramid: sizes of the feature maps.
        grid: bins and samples.

    Returns:
        A row for each bin in the order [R, ph, pw] and a column for each row of the stacked maps; values of the type of
        `rois`. The rows of a region without image or level (an index out of range) are empty.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # NaN and infinite corners weigh nothing
        in_range = (
            (rois[:, 0] >= 0) & (rois[:, 0] < pyramid.num_images) & (levels >= 0) & (levels < len(pyramid.scales))
        )
        images = np.where(in_range, rois[:, 0], 0).astype(np.int64)
        levels = np.where(in_range, levels, 0)
        heights, widths = np.array(pyramid.heights)[levels], np.array(pyramid.widths)[levels]
        scales = np.array(pyramid.scales, dtype=rois.dtype)[levels]

        x1, y1, x2, y2 = (rois[:, 1:] * scales[:, None] - rois.dtype.type(0.5 if grid.aligned else 0)).T
        in_y = _axis_pixels(y1, y2, heights, grid.output_size[0], grid)
        in_x = _axis_pixels(x1, x2, widths, grid.output_size[1], grid)

    level_starts = np.array([0, *itertools.accumulate(pyramid.level_rows())])
    first_rows = level_starts[levels] + images * heights * widths
    line_rows = first_rows[:, None, None] + in_y.pixels * widths[:, None, None]
    line_weights = np.where(in_range[:, None, None], in_y.weights, 0)
    return _cross_product(AxisPixels(line_rows, line_weights), in_x, int(level_starts[-1]))


def transpose(weights: SparseWeights, num_columns: int) -> SparseWeights:
    """Transpose a sparse matrix of `num_columns` columns; the entries of each new row are sorted by the old rows."""
    # NumPy sorts 16-bit keys by counting, in linear time: one pass for every 16 bits of a column index.
    order = np.argsort(weights.indices.astype(np.uint16), kind="stable")
    for shift in range(16, num_columns.bit_length(), 16):
        digit = (weights.indices >> shift).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
    rows = np.repeat(np.arange(weights.offsets.size - 1, dtype=weights.indices.dtype), np.diff(weights.offsets))
    offsets = np.zeros(num_columns + 1, dtype=weights.indices.dtype)
    np.cumsum(np.bincount(weights.indices, minlength=num_columns), out=offsets[1:])
    return SparseWeights(rows[order], weights.values[order], offsets)


def weighted_sum(weights: SparseWeights, rows: Tensor) -> Tensor:
    """Multiply a sparse matrix with rows [columns of the matrix, C], on the device of the rows; [B, C]."""
    if weights.indices.size == 0 or rows.shape[1] == 0:
        return rows.new_zeros(weights.offsets.size - 1, rows.shape[1])
    indices, values, offsets = (torch.from_numpy(part).to(rows.device) for part in weights)
    return F.embedding_bag(indices, rows, offsets, mode="sum", per_sample_weights=values, include_last_offset=True)


def _axis_pixels(start: Array, end: Array, size: Array, num_bins: int, grid: Grid) -> AxisPixels:
    """Compute pixels and weights along one axis; at the edges as torchvision's kernel.

    A sample outside [-1, size] (or NaN) counts for nothing; one before the center of the first pixel takes that pixel,
    one past the center of the last pixel that one. The mean divides by all samples of the bin, also those outside.
    """
    length = end - start if grid.aligned else np.maximum(end - start, 1)
    bin_length = length / num_bins
    ratio = np.full_like(length, grid.sampling_ratio) if grid.sampling_ratio > 0 else np.ceil(bin_length)
    bin_starts = start[:, None] + np.arange(num_bins, dtype=start.dtype) * bin_length[:, None]
    step = (bin_length / ratio)[:, None]

    # An adaptive grid samples at least every pixel and at most every half pixel: however large the box, at most
    # 2 (size + 1) samples of a bin lie on the map, and counting starts at the first of them.
    num_samples = grid.sampling_ratio
    first = np.zeros_like(bin_starts)
    if grid.sampling_ratio <= 0:
        max_ratio = np.nan_to_num(ratio).max(initial=1)
        num_samples = int(min(max_ratio, 2 * size.max(initial=0) + 6))
        first = np.maximum(np.nan_to_num(np.floor((-1 - bin_starts) / step - 1.5)), 0)
    sample = first[:, :, None] + np.arange(num_samples, dtype=start.dtype)
    position = bin_starts[:, :, None] + (sample + start.dtype.type(0.5)) * step[:, :, None]

    size, ratio = size[:, None, None], ratio[:, None, None]
    valid = (position >= -1) & (position <= size) & (sample < ratio) & (size > 0)
    # Samples without weight stay in their order, too: where they take over that of a pixel, pixels stay in order.
    position = np.clip(np.nan_to_num(position), 0, size.astype(start.dtype))
    last = np.maximum(size - 1, 0)
    low = np.minimum(position.astype(np.int64), last)
    high = np.minimum(low + 1, last)
    fraction = np.where(high > low, position - low.astype(start.dtype), 0)
    sample_weight = np.where(valid, 1 / ratio, 0)
    weights = np.stack(((1 - fraction) * sample_weight, fraction * sample_weight), axis=-1)
    pixels = np.stack((low, high), axis=-1)
    _merge_shared(pixels, weights)
    shape = (*bin_starts.shape, 2 * num_samples)
    return AxisPixels(pixels.reshape(shape), weights.reshape(shape))


def _merge_shared(pixels: Array, weights: Array) -> None:
    """Move the weight of a pixel to the next sample of the bin if that uses it too; in place, [R, P, G, 2]."""
    for sample in range(pixels.shape[2] - 1):
        for source, target in itertools.product((0, 1), (0, 1)):
            shared = pixels[:, :, sample, source] == pixels[:, :, sample + 1, target]
            moved = np.where(shared, weights[:, :, sample, source], 0)
            weights[:, :, sample + 1, target] += moved
            weights[:, :, sample, source] -= moved


def _cross_product(in_y: AxisPixels, in_x: AxisPixels, num_columns: int) -> SparseWeights:
    """Combine the pixels of each bin along y (given as the index of their line's first pixel) with those along x.

    Ragged lists are expanded twice: first to every (bin, line) with weight, then to the pixels of each such line.
    """
    has_weight_y, has_weight_x = in_y.weights != 0, in_x.weights != 0
    counts_y, counts_x = has_weight_y.sum(-1), has_weight_x.sum(-1)
    offsets = np.cumsum(np.append(0, counts_y[:, :, None] * counts_x[:, None, :]))
    num_entries = int(offsets[-1])
    index_type = np.int32 if max(num_columns, num_entries) < 2**31 else np.int64  # half the traffic where it fits

    num_regions, bins_y, entries_y = in_y.weights.shape
    lines_shape = (num_regions, bins_y, in_x.weights.shape[1], entries_y)
    line = np.flatnonzero(np.broadcast_to(has_weight_y[:, :, None, :], lines_shape))

    def of_line(values: Array) -> Array:
        return np.broadcast_to(values, lines_shape).reshape(-1)[line]

    line_lengths = of_line(counts_x[:, None, :, None])
    first_x = np.cumsum(counts_x).reshape(counts_x.shape) - counts_x
    shift = of_line(first_x[:, None, :, None]) - (np.cumsum(line_lengths) - line_lengths)
    x_of_entry = np.repeat(shift.astype(index_type), line_lengths) + np.arange(num_entries, dtype=index_type)

    indices = np.repeat(of_line(in_y.pixels.astype(index_type)[:, :, None, :]), line_lengths)
    indices += in_x.pixels[has_weight_x].astype(index_type)[x_of_entry]
    values = np.repeat(of_line(in_y.weights[:, :, None, :]), line_lengths)
    values *= in_x.weights[has_weight_x][x_of_entry]
    return SparseWeights(indices, values, offsets.astype(index_type))
