"""Rendering of decoded images into the slots of a batch: cut, resized, flipped and padded in one step.

Shape letters: N images, C channels, H and W padded height and width, B bytes, T numbers of taps.
"""

import torch
from torch import Tensor

from lightning_rcnn.ops.cpu import render as portable
from lightning_rcnn.ops.cuda import rendering
from lightning_rcnn.ops.dispatch import run
from lightning_rcnn.ops.placements import Placement


@torch.library.custom_op("lightning_rcnn::render_images", mutates_args=())
def render_images(
    pixels: Tensor,
    placements: Tensor,
    taps: Tensor,
    fill: Tensor,
    height: int,
    width: int,
    is_rounded: bool,
    impl: str = "auto",
) -> Tensor:
    """Render decoded images of any sizes into a batch.

    Bytes are computed with integers, and are rounded after the resize along x and again after that along y. So all
    devices give the same bits: with antialiased taps those of torch, with Pillow's those of Pillow, except that it
    begins with y where that is less work, by which some pixels differ by 1.

    On CUDA one kernel renders the whole batch without a host sync.

    Args:
        pixels: uint8 [B], pixels of all images.
        placements: int64 [N, 18], a `Placement` for each image.
        taps: int32 [T], tables of `resize_taps.axis_taps`, one after the other.
        fill: uint8 [N, C], color of the pixels of a canvas that its image does not reach.
        height, width: H and W; no rendered image is larger.
        is_rounded: whether the result is uint8; else float32, which is not rounded.
        impl: an `Implementation`.

    Returns:
        Images [N, C, H, W], 0 outside of them; uint8, channels last in memory, or float32 in planes.
    """
    shape = (len(fill), fill.shape[1], height, width)
    return run(
        "render_images",
        impl,
        pixels.device,
        rendering.obstacle(pixels, shape),
        lambda: rendering.render_images(pixels, placements, taps, fill, _empty(fill, shape, is_rounded)),
        lambda: _one_by_one(pixels, placements, taps, fill, _empty(fill, shape, is_rounded)),
    )


@render_images.register_fake
def _(
    pixels: Tensor,
    placements: Tensor,
    taps: Tensor,
    fill: Tensor,
    height: int,
    width: int,
    is_rounded: bool,
    impl: str = "auto",
) -> Tensor:
    return _empty(fill, (fill.shape[0], fill.shape[1], height, width), is_rounded)


def _empty(fill: Tensor, shape: tuple[int, int, int, int], is_rounded: bool) -> Tensor:
    num_images, channels, height, width = shape
    if is_rounded:
        return fill.new_empty((num_images, height, width, channels)).permute(0, 3, 1, 2)
    return fill.new_empty(shape, dtype=torch.float32)


def _one_by_one(pixels: Tensor, placements: Tensor, taps: Tensor, fill: Tensor, images: Tensor) -> Tensor:
    for row, color, image in zip(placements.tolist(), fill, images, strict=True):
        portable.render(pixels, Placement(*row), taps, color, image)
    return images
