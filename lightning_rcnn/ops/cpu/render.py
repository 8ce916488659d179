"""Rendering of decoded images by torch's operators, on any device, one image after the other.

Shape letters: C channels, h and w height and width of a part, m pixels of a resized axis, k taps of each.
"""

import torch
from torch import Tensor

from lightning_rcnn.ops.placements import Placement


def render(pixels: Tensor, placement: Placement, taps: Tensor, fill: Tensor, target: Tensor) -> None:
    """Render one image into its slot, whose pixels outside the image become 0.

    Args:
        pixels: uint8 [B], pixels of all images.
        placement: where the image is among them and what becomes of it.
        taps: int32 [T], taps of all images.
        fill: uint8 [C], color of what the pixels do not reach.
        target: slot, [C, H, W]; uint8, or float32 that is not rounded.
    """
    target.zero_()
    if placement.new_height == 0:
        return
    rows, columns = (
        taps[first : first + new * (count + 1)].view(new, count + 1)
        for first, count, new in (
            (placement.first_tap_y, placement.taps_y, placement.new_height),
            (placement.first_tap_x, placement.taps_x, placement.new_width),
        )
    )
    canvas = _canvas(pixels, placement, fill)
    resized = canvas if target.dtype == torch.uint8 else canvas.float()
    resized = _resized(resized, columns, placement.bits_x, axis=1)
    resized = _resized(resized, rows, placement.bits_y, axis=0)
    flips = [axis for axis, flipped in ((0, placement.is_upside_down), (1, placement.is_mirrored)) if flipped]
    target[:, : placement.new_height, : placement.new_width] = resized.flip(flips).permute(2, 0, 1)


def _canvas(pixels: Tensor, placement: Placement, fill: Tensor) -> Tensor:
    """Return the window of an image, transposed if recorded but not flipped, uint8 [h, w, C]."""
    height, width, channels = placement.height, placement.width, len(fill)
    stored = pixels[placement.first_byte : placement.first_byte + height * width * channels]
    stored = stored.view(height, width, channels)
    size = (placement.canvas_height, placement.canvas_width)
    if size != (height, width) or placement.top or placement.left:
        canvas = fill.expand(*size, channels).clone()
        top, left = max(0, placement.top), max(0, placement.left)
        bottom, right = min(size[0], placement.top + height), min(size[1], placement.left + width)
        if top < bottom and left < right:
            own_top, own_left = top - placement.top, left - placement.left
            part = stored[own_top : own_top + bottom - top, own_left : own_left + right - left]
            canvas[top:bottom, left:right] = part
        stored = canvas
    return stored.transpose(0, 1) if placement.is_transposed else stored


def _resized(image: Tensor, table: Tensor, bits: int, axis: int) -> Tensor:
    """Resize uint8 or float32 [h, w, C] along an axis by a table of taps [m, 1 + k]."""
    last = image.shape[axis] - 1
    first, weights = table[:, 0], table[:, 1:]
    is_whole = image.dtype == torch.uint8
    shape = [1, 1, 1]
    shape[axis] = len(table)
    total: Tensor | None = None
    for tap in range(weights.shape[1]):
        chosen = image.index_select(axis, (first + tap).clamp(max=last))  # beyond the last one the weight is 0
        weight = weights[:, tap].view(shape)
        term = chosen.int() * weight if is_whole else chosen * (weight.float() / (1 << bits))
        total = term if total is None else total.add_(term)
    assert total is not None
    if not is_whole:
        return total
    return (total.add_(1 << bits >> 1) >> bits).clamp_(0, 255).to(torch.uint8)
