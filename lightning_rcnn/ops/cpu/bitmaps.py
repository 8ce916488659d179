"""RoIAlign of packed bitmaps in host memory: each bitmap is summed along y first and along x second.

RoIAlign's weights are separable: a region reads every line of its bitmap about once, which leaves one line a bin. Both
steps are sparse weighted sums, as in `roi_align.py`.

Shape letters: N images, M ground truths, R regions, S bins along each side, T samples of all bins.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.ops.cpu.pixel_weights import Array, SparseWeights, weighted_sum

FARTHEST_CORNER = 2.0**30
"""Largest coordinate of a usable region, pixels; regions with a corner beyond it, or NaN, give zeros."""
_ELEMENTS_AT_ONCE = 2**20
"""Elements left after the first step that are held at a time; bounds the memory."""


class HostBitmaps(NamedTuple):
    """`structures.Bitmaps` as arrays, with the objects of all images in one dimension: [N * M] instead of [N, M]."""

    bits: Array
    first_byte: Array
    sizes: Array
    boxes: Array

    def unpacked(self, index: int) -> Tensor:
        """Return the bitmap of one object, float32 [height, width], 0 or 1."""
        height, width = self.sizes[index]
        first = self.first_byte[index]
        packed = self.bits[first : first + -(-height * width // 8)]
        return torch.from_numpy(np.unpackbits(packed, count=height * width).astype(np.float32)).view(height, width)


class Axis(NamedTuple):
    """Regions along one axis, in pixels of their bitmaps; the center of the first pixel lies at 0.

    Attributes:
        start: float64 [R].
        length: float32 [R].
        size: int64 [R], pixels of the bitmap.
    """

    start: Array
    length: Array
    size: Array


def align_bitmaps(masks: HostBitmaps, boxes: Array, objects: Array, size: int, aligned: bool) -> Array:
    """Compute the fraction of each cell that the region's object covers.

    Args:
        masks: masks of all objects.
        boxes: float32 [R, 4] in the resized frame.
        objects: int64 [R], indices into `masks`; -1 for a region that gives zeros.
        size: S.
        aligned: as in `mask_targets.align_bitmaps`.

    Returns:
        Float32 [R, S, S].
    """
    targets = np.zeros((len(boxes), size, size), dtype=np.float32)
    active = np.flatnonzero((objects >= 0) & (np.abs(boxes) <= FARTHEST_CORNER).all(axis=1))
    active = active[(masks.sizes[objects[active]] > 0).all(axis=1)]
    if active.size == 0:
        return targets
    active = active[np.argsort(objects[active], kind="stable")]  # so that each bitmap is unpacked once
    elements = np.cumsum(size * masks.sizes[objects[active]].sum(axis=1))
    for regions in np.split(active, np.flatnonzero(np.diff(elements // _ELEMENTS_AT_ONCE)) + 1):
        targets[regions] = _align_sorted(masks, boxes[regions], objects[regions], size, aligned)
    return targets


def axis_weights(axis: Axis, num_bins: int, first_rows: Array) -> SparseWeights:
    """Compute the pixel weights of every bin along one axis, with an adaptive number of samples.

    Args:
        axis: the regions.
        num_bins: S.
        first_rows: int64 [R], the column of each region's first pixel in the sparse matrix.

    Returns:
        A row for each bin in the order [R, S].
    """
    bin_length = axis.length / np.float32(num_bins)
    ratio = np.maximum(np.ceil(bin_length), 0).astype(np.int64)
    step = bin_length.astype(np.float64) / np.maximum(ratio, 1)

    # The samples of a region are evenly spaced. Those from -1 to `size` count; the list has them and few others.
    with np.errstate(divide="ignore", invalid="ignore"):
        first, last = np.nan_to_num((np.stack((np.full_like(axis.start, -1), axis.size)) - axis.start) / step)
    num_samples = num_bins * ratio
    first = np.clip(np.floor(first) - 1, 0, num_samples).astype(np.int64)
    counts = np.clip(np.ceil(last) + 1, first, num_samples).astype(np.int64) - first
    region = np.repeat(np.arange(len(counts)), counts)
    sample = np.arange(len(region)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    position = axis.start[region] + (sample + 0.5) * step[region]

    last_pixel = axis.size[region] - 1
    sample_weight = ((position >= -1) & (position <= axis.size[region])) / ratio[region]
    position = np.clip(position, 0, last_pixel)
    low = position.astype(np.int64)
    high = np.minimum(low + 1, last_pixel)
    weight_high = (position - low) * sample_weight
    bins = region * num_bins + sample // ratio[region]
    weight_low = sample_weight - weight_high
    return _merge(bins, low, high, weight_low, weight_high, len(counts) * num_bins, first_rows[region])


def _merge(
    bins: Array, low: Array, high: Array, weight_low: Array, weight_high: Array, num_bins: int, first_rows: Array
) -> SparseWeights:
    """Merge samples [T], sorted by bin, so that each pixel occurs once in a bin."""
    starts = np.flatnonzero(np.diff(bins, prepend=-1))
    lengths = np.diff(np.append(starts, len(bins)))
    spans = high[starts + lengths - 1] - low[starts] + 1
    before = np.cumsum(spans) - spans
    shift = np.repeat(before - low[starts], lengths)
    num_entries = int(spans.sum())
    values = np.bincount(low + shift, weight_low, num_entries) + np.bincount(high + shift, weight_high, num_entries)
    indices = np.arange(num_entries) + np.repeat(first_rows[starts] + low[starts] - before, spans)
    offsets = np.zeros(num_bins + 1, dtype=np.int64)
    offsets[bins[starts] + 1] = spans
    return SparseWeights(indices, values.astype(np.float32), np.cumsum(offsets))


def _align_sorted(masks: HostBitmaps, boxes: Array, objects: Array, size: int, aligned: bool) -> Array:
    """Run `align_bitmaps` for regions sorted by object."""
    y, x = (_region_axis(masks, boxes, objects, axis, aligned) for axis in (1, 0))
    num_regions = len(boxes)
    first_columns = np.cumsum(x.size) - x.size
    in_y = axis_weights(y, size, np.zeros(num_regions, dtype=np.int64))
    in_x = axis_weights(x, size, first_columns)

    columns = torch.empty(int(x.size.sum()), size)
    first_regions = np.flatnonzero(np.diff(objects, prepend=-1)).tolist()
    for first, stop in zip(first_regions, [*first_regions[1:], num_regions], strict=True):
        bitmap = masks.unpacked(objects[first])
        lines = weighted_sum(in_y.rows_between(first * size, stop * size), bitmap).view(stop - first, size, -1)
        of_object = columns[first_columns[first] :][: (stop - first) * bitmap.shape[1]]
        of_object.view(stop - first, -1, size).copy_(lines.transpose(1, 2))
    cells = weighted_sum(in_x, columns)
    return cells.view(num_regions, size, size).transpose(1, 2).numpy()


def _region_axis(masks: HostBitmaps, boxes: Array, objects: Array, axis: int, aligned: bool) -> Axis:
    """Map regions into their bitmaps along x (axis 0) or y (axis 1).

    Lengths stay in float32: they decide the number of samples.
    """
    crop_start, crop_end = masks.boxes[objects, axis], masks.boxes[objects, 2 + axis]
    size = masks.sizes[objects, 1 - axis]
    scale = size.astype(np.float32) / (crop_end - crop_start)
    start, length = boxes[:, axis].astype(np.float64), boxes[:, 2 + axis] - boxes[:, axis]
    if not aligned:
        start, length = start + 0.5, np.maximum(length, 1)
    return Axis((start - crop_start) * scale - 0.5, length * scale, size)
