"""RoIPool by a table of maxima in host memory: forward and backward as plain functions of tensors.

A value and the index of its pixel are packed into one integer, a key: the larger value has the larger key and, of equal
values, the earlier pixel. So vectorized maxima of integers find both. First the maxima of all windows of one or two
pixels a side are computed for whole maps; then a bin is the maximum of the few windows that cover it.

Shape letters: N images, C channels, H and W height and width of a level's map, R regions, ph and pw bins along y and x,
B = ph * pw, G regions of a group, K windows that cover a bin.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.ops.cpu.pixel_weights import Array, Pyramid
from lightning_rcnn.ops.cpu.roi_pool_windows import image_covers, map_starts, region_bins

_TABLE_ELEMENTS = 2**23
"""Elements of an image's table, 64 MB; larger images are processed in slices of channels."""
_MIN_CHANNELS = 16
"""Smallest slice of channels."""
_ELEMENTS_AT_ONCE = 2**18
"""Elements that are read from the table, or added to the gradient, at a time."""
_FIRST_PIXEL = 2**31 - 2
"""Lower half of the key of pixel 0; it decreases by one for each pixel."""


def forward(
    features: Sequence[Tensor], rois: Tensor, levels: Tensor, scales: list[float], output_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Compute the maximum of every bin, from the level of each region.

    Args:
        features: [N, C, H, W] for each level.
        rois: [R, 5]: batch index, x1, y1, x2, y2 in pixels of the network's input.
        levels: int64 [R], the level of each region.
        scales: size of each level's map over the size of the input.
        output_size: bins along (y, x).

    Returns:
        The maxima [R, C, ph, pw] of the features' type, and the indices y * W + x of their pixels, int32, -1 for an
        empty bin; both channels last.
    """
    maps = [feature.cpu() for feature in features]
    num_channels, dtype = maps[0].shape[1], maps[0].dtype
    pyramid = Pyramid(maps[0].shape[0], [m.shape[2] for m in maps], [m.shape[3] for m in maps], scales)
    bins = region_bins(_coordinates(rois, dtype), _to_numpy(levels), pyramid, output_size)
    maxima = torch.empty(len(rois), output_size[0] * output_size[1], num_channels, dtype=dtype)
    pixels = torch.empty_like(maxima, dtype=torch.int32)
    inactive = np.flatnonzero(bins.images < 0)
    maxima[inactive], pixels[inactive] = 0, -1

    step = max(_MIN_CHANNELS, _TABLE_ELEMENTS // (4 * sum(m.shape[2] * m.shape[3] for m in maps) + 1))
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
    """Compute the gradient of `forward` with respect to each level's features.

    Args:
        grad: [R, C, ph, pw], gradient of the maxima.
        argmax: int32 [R, C, ph, pw], the pixels that `forward` returned.
        rois, levels: as in `forward`.
        pyramid: sizes of the feature maps.

    Returns:
        [N, C, H, W] for each level, of the type of `grad`, channels last.
    """
    num_regions, num_channels, *output_size = grad.shape
    bins = region_bins(_coordinates(rois, grad.dtype), _to_numpy(levels), pyramid, (output_size[0], output_size[1]))
    # Each map has an extra row before its first pixel, which collects the gradient of empty bins: their pixel is -1.
    map_rows = [height * width + 1 for height, width in zip(pyramid.heights, pyramid.widths, strict=True)]
    level_elements = [pyramid.num_images * rows * num_channels for rows in map_rows]
    sum_dtype = torch.float64 if grad.dtype == torch.float64 else torch.float32
    sums = torch.zeros(sum(level_elements), dtype=sum_dtype)

    first_rows = torch.from_numpy(map_starts(bins, map_rows, pyramid.num_images)) + 1
    first_elements = first_rows[:, None] * num_channels + torch.arange(num_channels)
    grad_bins, pixels = (t.cpu().permute(0, 2, 3, 1).flatten(1, 2) for t in (grad, argmax))
    for part in _slices(num_regions, max(1, _ELEMENTS_AT_ONCE // max(1, grad_bins.shape[1:].numel()))):
        elements = (pixels[part].long() * num_channels).add_(first_elements[part, None])
        sums.scatter_add_(0, elements.flatten(), grad_bins[part].to(sum_dtype).flatten())

    grads = []
    for level_sums, height, width in zip(sums.split(level_elements), pyramid.heights, pyramid.widths, strict=True):
        rows = level_sums.view(pyramid.num_images, height * width + 1, num_channels)[:, 1:]
        level_grad = rows.to(grad).contiguous().view(pyramid.num_images, height, width, num_channels)
        grads.append(level_grad.permute(0, 3, 1, 2))
    return grads


class _Table:
    """The maximum, and its pixel, of each window of one or two pixels a side in the maps [C, H, W] of an image.

    The rows are in the order that `roi_pool_windows.image_covers` describes.
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
            pixel_keys = keys[level].view(height, width, self.num_channels)
            (small, wide), (high, large) = windows[:, :, level].view(2, 2, height, width, self.num_channels)
            small.copy_(pixel_keys)
            torch.maximum(pixel_keys[:, :-1], pixel_keys[:, 1:], out=wide[:, :-1])
            torch.maximum(pixel_keys[:-1], pixel_keys[1:], out=high[:-1])
            torch.maximum(wide[:-1, :-1], wide[1:, :-1], out=large[:-1, :-1])
            first = level.stop

    def largest(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the maximum of each bin over its windows, rows int64 [G, B, K], and its pixel; [G, B, C] each."""
        windows = self._rows.index_select(0, rows.flatten()).view(*rows.shape, self.num_channels)
        keys = windows.amax(dim=2) if rows.shape[2] > 1 else windows[:, :, 0]
        return self._to_values(keys >> 32), _FIRST_PIXEL - keys.to(torch.int32)


def _rank(values: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Map values to 32-bit integers of the same order; also return the inverse function."""
    if values.dtype == torch.float64:
        distinct, ranks = torch.unique(values, return_inverse=True)
        return ranks, lambda ranks: distinct[ranks]
    # Read as integers, the bits of positive floats increase with them, those of negative floats decrease. Adding 0
    # makes -0 equal to 0.
    bits = (values.float() + 0.0).view(torch.int32)
    return _flip_negative(bits), lambda ranks: _flip_negative(ranks.to(torch.int32)).view(torch.float32)


def _flip_negative(bits: Tensor) -> Tensor:
    return (bits >> 31).bitwise_and_(0x7FFFFFFF).bitwise_xor_(bits)


def _coordinates(rois: Tensor, dtype: torch.dtype) -> Array:
    return _to_numpy(rois.to(torch.float64 if dtype == torch.float64 else torch.float32))


def _to_numpy(tensor: Tensor) -> Array:
    return tensor.numpy(force=True)


def _integers(tensor: Tensor) -> Array:
    """View a tensor as a NumPy array of integers: NumPy copies rows faster than torch but lacks bfloat16."""
    return tensor.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]).numpy()


def _slices(size: int, step: int) -> list[slice]:
    return [slice(begin, min(begin + step, size)) for begin in range(0, size, step)]
