"""RoIAlign of packed bitmaps in the host's memory: each bitmap is weighed along y and then along x.

RoIAlign's weights are separable, so that a region reads every line of its bitmap about once and is left with as many
lines as it has bins. Both steps are sums of weighted rows for `embedding_bag`, as in `bags.py`.

Shape letters: R regions, S bins along each side, T samples of all bins.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_rcnn.ops.cpu.pixel_weights import Array, Bags

FARTHEST_CORNER = 2.0**30
"""In pixels; a region with a corner beyond, or NaN, gives zeros, and all others can be computed with."""
_ELEMENTS_AT_ONCE = 2**20
"""Of the lines that are left of regions after the first step: what bounds the memory."""


class HostBitmaps(NamedTuple):
    """`structures.Bitmaps` as arrays, the objects of all images in one row: [N * M] instead of [N, M]."""

    bits: Array
    first_byte: Array
    sizes: Array
    boxes: Array

    def unpacked(self, index: int) -> Tensor:
        """Float32 [height, width], 0 or 1."""
        height, width = self.sizes[index]
        first = self.first_byte[index]
        packed = self.bits[first : first + -(-height * width // 8)]
        return torch.from_numpy(np.unpackbits(packed, count=height * width).astype(np.float32)).view(height, width)


class Axis(NamedTuple):
    """Regions along one axis in the pixels of the bitmaps they show, where the first pixel's centre lies at 0.

    Attributes:
        start: float64 [R].
        length: float32 [R].
        size: int64 [R], pixels of the bitmap.
    """

    start: Array
    length: Array
    size: Array


def align_by_bags(masks: HostBitmaps, boxes: Array, objects: Array, size: int, aligned: bool) -> Array:
    """The share of each cell that the region's object covers.

    Args:
        masks: the objects.
        boxes: float32 [R, 4] in the resized frame.
        objects: int64 [R], places in `masks`; -1 for a region that gives zeros.
        size: S.
        aligned: as in `mask_targets.align_bitmaps`.

    Returns:
        Float32 [R, S, S].
    """
    targets = np.zeros((len(boxes), size, size), dtype=np.float32)
    shown = np.flatnonzero((objects >= 0) & (np.abs(boxes) <= FARTHEST_CORNER).all(axis=1))
    shown = shown[(masks.sizes[objects[shown]] > 0).all(axis=1)]
    if shown.size == 0:
        return targets
    shown = shown[np.argsort(objects[shown], kind="stable")]  # so that each bitmap is unpacked once
    elements = np.cumsum(size * masks.sizes[objects[shown]].sum(axis=1))
    for regions in np.split(shown, np.flatnonzero(np.diff(elements // _ELEMENTS_AT_ONCE)) + 1):
        targets[regions] = _align_sorted(masks, boxes[regions], objects[regions], size, aligned)
    return targets


def axis_bags(axis: Axis, num_bins: int, first_rows: Array) -> Bags:
    """The weighted pixels of every bin along one axis, with an adaptive number of samples.

    Args:
        axis: the regions.
        num_bins: S.
        first_rows: int64 [R], the row of each region's first pixel.

    Returns:
        Bags in the order [R, S].
    """
    bin_length = axis.length / np.float32(num_bins)
    ratio = np.maximum(np.ceil(bin_length), 0).astype(np.int64)
    step = bin_length.astype(np.float64) / np.maximum(ratio, 1)

    # The samples of a region are evenly spaced. Those from -1 to `size` count: the list has them and few others.
    with np.errstate(divide="ignore", invalid="ignore"):
        first, last = np.nan_to_num((np.stack((np.full_like(axis.start, -1), axis.size)) - axis.start) / step)
    num_samples = num_bins * ratio
    first = np.clip(np.floor(first) - 1, 0, num_samples).astype(np.int64)
    counts = np.clip(np.ceil(last) + 1, first, num_samples).astype(np.int64) - first
    region = np.repeat(np.arange(len(counts)), counts)
    sample = np.arange(len(region)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    position = axis.start[region] + (sample + 0.5) * step[region]

    last_pixel = axis.size[region] - 1
    share = ((position >= -1) & (position <= axis.size[region])) / ratio[region]
    position = np.clip(position, 0, last_pixel)
    low = position.astype(np.int64)
    high = np.minimum(low + 1, last_pixel)
    towards_high = (position - low) * share
    bins = region * num_bins + sample // ratio[region]
    return _merged(bins, low, high, share - towards_high, towards_high, len(counts) * num_bins, first_rows[region])


def _merged(
    bins: Array, low: Array, high: Array, weight_low: Array, weight_high: Array, num_bins: int, first_rows: Array
) -> Bags:
    """Samples [T], in order, as bags of the pixels between which they lie, each pixel of a bin once."""
    starts = np.flatnonzero(np.diff(bins, prepend=-1))
    lengths = np.diff(np.append(starts, len(bins)))
    spans = high[starts + lengths - 1] - low[starts] + 1
    before = np.cumsum(spans) - spans
    place = np.repeat(before - low[starts], lengths)
    num_entries = int(spans.sum())
    weights = np.bincount(low + place, weight_low, num_entries) + np.bincount(high + place, weight_high, num_entries)
    rows = np.arange(num_entries) + np.repeat(first_rows[starts] + low[starts] - before, spans)
    offsets = np.zeros(num_bins + 1, dtype=np.int64)
    offsets[bins[starts] + 1] = spans
    return Bags(rows, weights.astype(np.float32), np.cumsum(offsets))


def _align_sorted(masks: HostBitmaps, boxes: Array, objects: Array, size: int, aligned: bool) -> Array:
    """`align_by_bags` for regions in the order of their objects."""
    y, x = (_region_axis(masks, boxes, objects, axis, aligned) for axis in (1, 0))
    num_regions = len(boxes)
    first_columns = np.cumsum(x.size) - x.size
    in_y = axis_bags(y, size, np.zeros(num_regions, dtype=np.int64))
    in_x = axis_bags(x, size, first_columns)

    columns = torch.empty(int(x.size.sum()), size)
    first_regions = np.flatnonzero(np.diff(objects, prepend=-1))
    for first, last in zip(first_regions, [*first_regions[1:], num_regions], strict=True):
        bitmap = masks.unpacked(objects[first])
        lines = _sum_bags(bitmap, in_y, slice(first * size, last * size)).view(last - first, size, -1)
        of_object = columns[first_columns[first] :][: (last - first) * bitmap.shape[1]]
        of_object.view(last - first, -1, size).copy_(lines.transpose(1, 2))
    cells = _sum_bags(columns, in_x, slice(0, num_regions * size))
    return cells.view(num_regions, size, size).transpose(1, 2).numpy()


def _region_axis(masks: HostBitmaps, boxes: Array, objects: Array, axis: int, aligned: bool) -> Axis:
    """Where regions lie along x (axis 0) or y (axis 1). Lengths stay in float32: they decide the number of samples."""
    crop_start, crop_end = masks.boxes[objects, axis], masks.boxes[objects, 2 + axis]
    size = masks.sizes[objects, 1 - axis]
    scale = size.astype(np.float32) / (crop_end - crop_start)
    start, length = boxes[:, axis].astype(np.float64), boxes[:, 2 + axis] - boxes[:, axis]
    if not aligned:
        start, length = start + 0.5, np.maximum(length, 1)
    return Axis((start - crop_start) * scale - 0.5, length * scale, size)


def _sum_bags(rows: Tensor, bags: Bags, some: slice) -> Tensor:
    """The weighted sum of the rows of some of the bags."""
    offsets = bags.offsets[some.start : some.stop + 1]
    entries = slice(offsets[0], offsets[-1])
    indices, weights = torch.from_numpy(bags.rows[entries]), torch.from_numpy(bags.weights[entries])
    return F.embedding_bag(
        indices,
        rows,
        torch.from_numpy(offsets - offsets[0]),
        mode="sum",
        per_sample_weights=weights,
        include_last_offset=True,
    )
