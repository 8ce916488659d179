"""RoIPool by a table of maxima, in the host's memory: forward and backward as plain functions of tensors.

A value and the pixel it stands in travel in one integer, of which the larger one is the larger value and, of equal
values, the earlier pixel: so plain maxima of integers, which a processor takes many at once, find both. The maxima of
all windows of one or two pixels a side come first, for whole maps; a bin then is the maximum of the few that cover it.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.ops.cpu.pixel_weights import Array, Pyramid
from lightning_rcnn.ops.cpu.roi_pool_windows import image_covers, map_starts, region_bins

_TABLE_ELEMENTS = 2**23
"""Of the table of an image, 64 MB; a larger image is done by a part of its channels after the other."""
_FEWEST_CHANNELS = 16
_ELEMENTS_AT_ONCE = 2**18
"""Read from the table, or added to the gradient."""
_FIRST_PIXEL = 2**31 - 2
"""The lower half of a key for pixel 0; one less for each pixel after it."""


def forward(
    features: Sequence[Tensor], rois: Tensor, levels: Tensor, scales: list[float], output_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The largest pixel of every bin, from the level that each region belongs to.

    Args:
        features: [N, C, H, W] for each level.
        rois: [R, 5].
        levels: int64 [R].
        scales: for each level.
        output_size: bins along (y, x).

    Returns:
        The maxima [R, C, ph, pw] of the features' type, and the pixel y * W + x of each on its map, int32, -1 for an
        empty bin; both channels last.
    """
    maps = [feature.cpu() for feature in features]
    num_channels, dtype = maps[0].shape[1], maps[0].dtype
    pyramid = Pyramid(maps[0].shape[0], [m.shape[2] for m in maps], [m.shape[3] for m in maps], scales)
    bins = region_bins(_coordinates(rois, dtype), _to_numpy(levels), pyramid, output_size)
    maxima = torch.empty(len(rois), output_size[0] * output_size[1], num_channels, dtype=dtype)
    pixels = torch.empty_like(maxima, dtype=torch.int32)
    nowhere = np.flatnonzero(bins.images < 0)
    maxima[nowhere], pixels[nowhere] = 0, -1

    step = max(_FEWEST_CHANNELS, _TABLE_ELEMENTS // (4 * sum(m.shape[2] * m.shape[3] for m in maps) + 1))
    for image, channels in itertools.product(range(pyramid.num_images), _slices(num_channels, step)):
        table = _Table([m[image, channels] for m in maps])
        for cover in image_covers(bins, image, pyramid, _ELEMENTS_AT_ONCE // table.num_channels):
            largest, where = table.largest(torch.from_numpy(cover.rows))
            _integers(maxima)[cover.regions, :, channels] = _integers(largest.to(dtype))
            _integers(pixels)[cover.regions, :, channels] = _integers(where)
    size = (len(rois), *output_size, num_channels)
    maxima, pixels = (t.to(rois.device).view(size).permute(0, 3, 1, 2) for t in (maxima, pixels))
    return maxima, pixels


def backward(grad: Tensor, argmax: Tensor, rois: Tensor, levels: Tensor, pyramid: Pyramid) -> list[Tensor]:
    """The gradient of `forward` for each level, [N, C, H, W] of the type of `grad`, channels last."""
    num_regions, num_channels, *output_size = grad.shape
    bins = region_bins(_coordinates(rois, grad.dtype), _to_numpy(levels), pyramid, (output_size[0], output_size[1]))
    # Each map has a row more, before its first pixel, where the gradient of empty bins goes: their pixel is -1.
    map_rows = [height * width + 1 for height, width in zip(pyramid.heights, pyramid.widths, strict=True)]
    level_elements = [pyramid.num_images * rows * num_channels for rows in map_rows]
    sum_dtype = torch.float64 if grad.dtype == torch.float64 else torch.float32
    sums = torch.zeros(sum(level_elements), dtype=sum_dtype)

    first_rows = torch.from_numpy(map_starts(bins, map_rows, pyramid.num_images)) + 1
    first_elements = first_rows[:, None] * num_channels + torch.arange(num_channels)
    grad_bins, pixels = (t.cpu().permute(0, 2, 3, 1).flatten(1, 2) for t in (grad, argmax))
    for some in _slices(num_regions, max(1, _ELEMENTS_AT_ONCE // max(1, grad_bins.shape[1:].numel()))):
        elements = (pixels[some].long() * num_channels).add_(first_elements[some, None])
        sums.scatter_add_(0, elements.flatten(), grad_bins[some].to(sum_dtype).flatten())

    grads = []
    for level_sums, height, width in zip(sums.split(level_elements), pyramid.heights, pyramid.widths, strict=True):
        rows = level_sums.view(pyramid.num_images, height * width + 1, num_channels)[:, 1:]
        level_grad = rows.to(grad).contiguous().view(pyramid.num_images, height, width, num_channels)
        grads.append(level_grad.permute(0, 3, 1, 2))
    return grads


class _Table:
    """The largest value, and its pixel, of each window of one or two pixels a side in the maps [C, H, W] of an image.

    The order of its rows is that of `pool_windows.image_covers`.
    """

    def __init__(self, maps: list[Tensor]) -> None:
        self.num_channels = maps[0].shape[0]
        nothing = maps[0].new_zeros(1, self.num_channels)
        ranks, self._to_values = _rank(torch.cat([*(m.permute(1, 2, 0).flatten(0, 1) for m in maps), nothing]))
        pixels = torch.cat([*(torch.arange(m[0].numel()) for m in maps), torch.tensor([-1])])
        keys = (ranks.long() << 32).bitwise_or_((_FIRST_PIXEL - pixels)[:, None])

        num_pixels = len(keys) - 1
        self._rows = keys.new_empty(4 * num_pixels + 1, self.num_channels)
        self._rows[-1] = keys[-1]
        windows = self._rows[:-1].view(2, 2, num_pixels, self.num_channels)
        first = 0
        for height, width in (m.shape[1:] for m in maps):
            level = slice(first, first + height * width)
            one = keys[level].view(height, width, self.num_channels)
            (small, wide), (high, large) = windows[:, :, level].view(2, 2, height, width, self.num_channels)
            small.copy_(one)
            torch.maximum(one[:, :-1], one[:, 1:], out=wide[:, :-1])
            torch.maximum(one[:-1], one[1:], out=high[:-1])
            torch.maximum(wide[:-1, :-1], wide[1:, :-1], out=large[:-1, :-1])
            first = level.stop

    def largest(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The largest value of each bin over the windows in `rows`, int64 [G, B, K], and its pixel; [G, B, C] each."""
        windows = self._rows.index_select(0, rows.flatten()).view(*rows.shape, self.num_channels)
        keys = windows.amax(dim=2) if rows.shape[2] > 1 else windows[:, :, 0]
        return self._to_values(keys >> 32), _FIRST_PIXEL - keys.to(torch.int32)


def _rank(values: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Integers of 32 bits that compare as the values do, and the way back from them."""
    if values.dtype == torch.float64:
        distinct, ranks = torch.unique(values, return_inverse=True)
        return ranks, lambda ranks: distinct[ranks]
    # The bits of floating-point numbers rise with them; those of negative ones fall. Adding 0 makes -0 the equal of 0.
    bits = (values.float() + 0.0).view(torch.int32)
    return _flip_negative(bits), lambda ranks: _flip_negative(ranks.to(torch.int32)).view(torch.float32)


def _flip_negative(bits: Tensor) -> Tensor:
    return (bits >> 31).bitwise_and_(0x7FFFFFFF).bitwise_xor_(bits)


def _coordinates(rois: Tensor, dtype: torch.dtype) -> Array:
    return _to_numpy(rois.to(torch.float64 if dtype == torch.float64 else torch.float32))


def _to_numpy(tensor: Tensor) -> Array:
    return tensor.numpy(force=True)


def _integers(tensor: Tensor) -> Array:
    """The same memory for NumPy, which copies rows faster than torch but does not know bfloat16."""
    return tensor.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]).numpy()


def _slices(size: int, step: int) -> list[slice]:
    return [slice(begin, min(begin + step, size)) for begin in range(0, size, step)]
