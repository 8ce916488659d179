"""Resize an image that lies on a larger canvas of one color, with as little of the canvas as is needed.

The pixels of the resized canvas that the image does not reach have its color. The others are counted from the edge of
the canvas that is nearer to the image, and the canvas is cut off behind the image, towards the farther edge; where that
is the left or the upper one, image and result are flipped.

Source of the weights: `torch.nn.functional.interpolate`, mode "bilinear".
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_rcnn.data.pixel_format import per_channel

ResizeCorner = Callable[[Tensor, tuple[int, int], tuple[float, float]], Tensor]
"""Function from the upper left part of an image [C, h, w], a size and the factors (new / old) in y and x, to the first
pixels [C, *size] of the resized image."""


class _Edge(NamedTuple):
    """What is needed of the canvas in one direction.

    Attributes:
        is_flipped: whether the image is nearer to the end than to the beginning.
        start: first pixel of the image, after the flip.
        kept: number of pixels that are resized.
        new: number of pixels that come of them.
        factor: new length of the canvas, divided by its length.
    """

    is_flipped: bool
    start: int
    kept: int
    new: int
    factor: float


def resize_on_canvas(
    image: Tensor,
    corner: tuple[int, int],
    canvas: tuple[int, int],
    fill: Sequence[float],
    size: tuple[int, int],
    resize: ResizeCorner,
) -> Tensor:
    """Resize a canvas with an image on it.

    Args:
        image: [C, h, w].
        corner: (left, top) of the image on the canvas, in its pixels.
        canvas: (height, width) of the canvas, which holds the whole image.
        fill: color of the canvas, RGB; see `per_channel`.
        size: (height, width) of the resized canvas.
        resize: function that resizes.

    Returns:
        [C, *size], of the type that `resize` returns.
    """
    height, width = image.shape[-2:]
    rows = _edge(corner[1], height, canvas[0], size[0])
    columns = _edge(corner[0], width, canvas[1], size[1])
    axes = [axis for axis, edge in ((-2, rows), (-1, columns)) if edge.is_flipped]
    color = per_channel(fill, image.shape[0])
    part = filled(color, (rows.kept, columns.kept), image.dtype)
    part[:, rows.start : rows.start + height, columns.start : columns.start + width] = image.flip(axes)
    resized = resize(part, (rows.new, columns.new), (rows.factor, columns.factor))
    result = filled(color, size, resized.dtype)
    result[:, : rows.new, : columns.new] = resized
    return result.flip(axes)


def filled(color: Sequence[float], size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Return an image [C, *size] of one color; channels last in memory, as resizing is fastest."""
    row = torch.tensor(color, dtype=dtype).repeat(size[1])
    return (
        row.expand(size[0], -1).contiguous().view(*size, len(color)).permute(2, 0, 1)
    )  # ten times as fast as to repeat three numbers


def _edge(start: int, length: int, full: int, new: int) -> _Edge:
    """Return what is needed where `length` pixels from `start` on lie among `full` ones, which become `new`."""
    behind = full - start - length
    is_flipped = start > behind
    start = min(start, behind)
    scale = full / new
    reach = max(scale, 1.0)  # of the weights to each side
    touched = min(new, math.ceil((start + length + reach) / scale) + 1)
    kept = math.ceil(touched * scale + reach) + 1
    if new > full:  # `interpolate` copies where the length stays the same, so at least one pixel must be added
        kept = max(kept, math.ceil(full / (new - full)))
    kept = min(full, kept)
    # The next number up, because `interpolate` floors full * factor, which must be `new`.
    return _Edge(is_flipped, start, kept, touched, math.nextafter(new / full, math.inf))
