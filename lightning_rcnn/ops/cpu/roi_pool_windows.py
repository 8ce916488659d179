"""RoIPool's bins in whole pixels, and the windows of at most 2 x 2 pixels that cover them.

In NumPy, for the reason given in `pixel_weights.py`. Shape letters: R regions, G regions of a group, P bins along one
axis, K windows that cover a bin along one axis.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lightning_rcnn.ops.cpu.pixel_weights import Array, Pyramid

_FAR_OUTSIDE = 2.0**24
"""Limit of coordinates on a map, beyond all pixels; whole numbers are exact in float32 up to here."""


class AxisSpans(NamedTuple):
    """Pixels of each bin along one axis, from `begin` to before `end`, int64 [R, P]; none if the two are equal."""

    begin: Array
    end: Array


class RegionBins(NamedTuple):
    """Bins of regions in pixels.

    Attributes:
        images, levels: int64 [R]; image -1 for a region without image, level or finite corners.
        in_y, in_x: pixels of the bins along each axis.
    """

    images: Array
    levels: Array
    in_y: AxisSpans
    in_x: AxisSpans


class Cover(NamedTuple):
    """Regions of one image whose bins are covered by the same number of windows.

    Attributes:
        regions: int64 [G], indices among all R regions.
        rows: int64 [G, P_y * P_x, K_y * K_x], row of each window in the table of the image.
    """

    regions: Array
    rows: Array


def region_bins(rois: Array, levels: Array, pyramid: Pyramid, output_size: tuple[int, int]) -> RegionBins:
    """Compute the pixels of every bin, rounded as in torchvision's operator.

    Args:
        rois: floating point [R, 5]: batch index, x1, y1, x2, y2 in pixels of the network's input.
        levels: int64 [R], the level of each region.
        pyramid: sizes of the feature maps.
        output_size: bins along (y, x).
    """
    usable = np.isfinite(rois).all(axis=1) & (rois[:, 0] >= 0) & (rois[:, 0] < pyramid.num_images)
    usable &= (levels >= 0) & (levels < len(pyramid.scales))
    rois = np.where(usable[:, None], rois, 0)
    levels = np.where(usable, levels, 0)
    heights, widths = np.array(pyramid.heights)[levels], np.array(pyramid.widths)[levels]
    scales = np.array(pyramid.scales, dtype=rois.dtype)[levels]
    with np.errstate(over="ignore"):
        x1, y1, x2, y2 = (rois[:, 1:] * scales[:, None]).clip(-_FAR_OUTSIDE, _FAR_OUTSIDE).T
    in_y, in_x = _axis_spans(y1, y2, heights, output_size[0]), _axis_spans(x1, x2, widths, output_size[1])
    return RegionBins(np.where(usable, rois[:, 0], -1).astype(np.int64), levels, in_y, in_x)


def image_covers(bins: RegionBins, image: int, pyramid: Pyramid, max_rows: int) -> Iterator[Cover]:
    """Cover the bins of one image by windows, in groups of regions with at most `max_rows` rows (or of one region).

    Each row of the image's table holds the maximum of one window, which begins at a pixel: first the windows of 1 x 1
    pixels of all levels, then those of 1 x 2, 2 x 1 and 2 x 2 (height by width), and last one row for empty bins.
    """
    regions = np.flatnonzero(bins.images == image)
    counts_y, counts_x = (_max_windows(spans, regions) for spans in (bins.in_y, bins.in_x))
    order = np.lexsort((counts_x, counts_y))
    regions, counts_y, counts_x = regions[order], counts_y[order], counts_x[order]
    changes = np.flatnonzero((np.diff(counts_y) != 0) | (np.diff(counts_x) != 0)) + 1
    num_bins = bins.in_y.begin.shape[1] * bins.in_x.begin.shape[1]
    for first, last in zip([0, *changes], [*changes, len(regions)], strict=True):
        if first == last:
            return
        count_y, count_x = int(counts_y[first]), int(counts_x[first])
        step = max(1, max_rows // (num_bins * count_y * count_x))
        for begin in range(first, last, step):
            group = regions[begin : min(begin + step, last)]
            yield Cover(group, _cover(bins, group, pyramid, count_y, count_x))


def map_starts(bins: RegionBins, map_rows: list[int], num_images: int) -> Array:
    """Compute the first row of each region's map, int64 [R], in maps stacked level by level, image by image.

    Regions without an image get row 0.
    """
    rows = np.array(map_rows)
    starts = num_images * (np.cumsum(rows) - rows)
    return np.where(bins.images < 0, 0, starts[bins.levels] + bins.images * rows[bins.levels])


def _cover(bins: RegionBins, regions: Array, pyramid: Pyramid, count_y: int, count_x: int) -> Array:
    """Compute the rows of a group; see `Cover`."""
    map_rows = np.array(pyramid.heights) * pyramid.widths
    num_pixels = map_rows.sum()
    levels = bins.levels[regions]
    widths, first_rows = np.array(pyramid.widths)[levels], (np.cumsum(map_rows) - map_rows)[levels]
    begin_y, two_high = _windows(bins.in_y, regions, count_y)
    begin_x, two_wide = _windows(bins.in_x, regions, count_x)
    in_y = first_rows[:, None, None] + begin_y * widths[:, None, None] + (2 * num_pixels * two_high)[:, :, None]
    in_x = begin_x + (num_pixels * two_wide)[:, :, None]
    rows = in_y[:, :, None, :, None] + in_x[:, None, :, None, :]
    is_empty = _is_empty(bins.in_y, regions)[:, :, None] | _is_empty(bins.in_x, regions)[:, None, :]
    rows[is_empty] = 4 * num_pixels
    return rows.reshape(len(regions), -1, count_y * count_x)


def _axis_spans(start: Array, end: Array, size: Array, num_bins: int) -> AxisSpans:
    first, last = _round_half_away(start), _round_half_away(end)
    bin_size = np.maximum(last - first + 1, 1).astype(start.dtype) / start.dtype.type(num_bins)
    edges = np.arange(num_bins + 1, dtype=start.dtype) * bin_size[:, None]
    begin = np.floor(edges[:, :-1]).astype(np.int64) + first[:, None]
    stop = np.ceil(edges[:, 1:]).astype(np.int64) + first[:, None]
    return AxisSpans(np.clip(begin, 0, size[:, None]), np.clip(stop, 0, size[:, None]))


def _round_half_away(values: Array) -> Array:
    """Round to whole numbers as C's `round`, in double precision, where adding a half is exact."""
    return np.trunc(values.astype(np.float64) + np.copysign(0.5, values)).astype(np.int64)


def _max_windows(spans: AxisSpans, regions: Array) -> Array:
    """Count the windows of two pixels that cover the longest bin of each region, at least one."""
    return np.maximum((spans.end[regions] - spans.begin[regions] + 1) // 2, 1).max(axis=1, initial=1)


def _windows(spans: AxisSpans, regions: Array, count: int) -> tuple[Array, Array]:
    """Compute the first pixel of each bin's windows, [G, P, K]; the last windows may overlap.

    Also return whether the windows of each bin are two pixels long, bool [G, P].
    """
    begin, end = spans.begin[regions], spans.end[regions]
    is_long = end - begin > 1
    last = np.maximum(end - 1 - is_long, 0)
    return np.minimum(begin[:, :, None] + 2 * np.arange(count), last[:, :, None]), is_long


def _is_empty(spans: AxisSpans, regions: Array) -> Array:
    return spans.end[regions] <= spans.begin[regions]
