"""Launches of changes of colors and of the rendering of decoded images, the kernels of `render.cu`.

As in `operations.py`, no function waits for the GPU or depends on the values of tensors.
"""

import ctypes
import math
from pathlib import Path

import torch
from torch import Tensor

from lightning_rcnn.ops.color_steps import COLORS
from lightning_rcnn.ops.cuda import launcher
from lightning_rcnn.ops.cuda.compiler import Program

RENDER = Program(Path(__file__).with_name("render.cu"))
_COLOR_BLOCKS = 64
"""Blocks that share the pixels of an image."""
_MAX_IMAGES = 65535
"""Limit of the second dimension of a grid."""


class RenderParams(ctypes.Structure):
    """Parameters of the kernels, with the fields of `render.cu`."""

    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("placements", ctypes.c_void_p),
        ("taps", ctypes.c_void_p),
        ("fill", ctypes.c_void_p),
        ("images", ctypes.c_void_p),
        ("num_channels", ctypes.c_int),
        ("height", ctypes.c_int),
        ("width", ctypes.c_int),
    )


class ColorParams(ctypes.Structure):
    """Parameters of the kernels of colors, with the fields of `render.cu`."""

    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("placements", ctypes.c_void_p),
        ("steps", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("changed", ctypes.c_void_p),
        ("num_channels", ctypes.c_int),
        ("num_steps", ctypes.c_int),
        ("step", ctypes.c_int),
    )


def obstacle(pixels: Tensor, shape: tuple[int, int, int, int]) -> str:
    """Return why the kernels cannot run; empty if they can, as far as known without compiling.

    Args:
        pixels: pixels of all images.
        shape: (N, C, H, W) of the batch.
    """
    num_images, _, height, width = shape
    if pixels.device.type != "cuda":
        return f"images are on the device {pixels.device}"
    if num_images > _MAX_IMAGES:
        return f"there are {num_images} images, more than {_MAX_IMAGES}"
    return "a slot has 2^31 pixels or more" if height * width >= 2**31 - launcher.THREADS else ""


def render_images(pixels: Tensor, placements: Tensor, taps: Tensor, fill: Tensor, images: Tensor) -> Tensor:
    """Run `render.render_images` on a GPU, and return `images`.

    Args:
        pixels, placements, taps, fill: as there.
        images: slots [N, C, H, W], unset; uint8, channels last in memory, or float32 in planes.
    """
    num_images, channels, height, width = images.shape
    if images.numel() == 0:
        return images
    tensors = [tensor.contiguous() for tensor in (pixels, placements, taps, fill)]  # alive until the launch is enqueued
    params = RenderParams(
        *(tensor.data_ptr() for tensor in (*tensors, images)), num_channels=channels, height=height, width=width
    )
    kernel = "render_bytes" if images.dtype == torch.uint8 else "render_floats"
    blocks = (math.ceil(height * width / launcher.THREADS), num_images)
    launcher.launch(kernel, RENDER, blocks, params, pixels.device)
    return images


def color_obstacle(pixels: Tensor, placements: Tensor) -> str:
    """Return why the kernels of colors cannot run; empty if they can, as far as known without compiling."""
    return obstacle(pixels, (len(placements), 1, 1, 1))


def change_colors(pixels: Tensor, placements: Tensor, steps: Tensor, num_channels: int) -> Tensor:
    """Run `colors.change_colors` on a GPU."""
    changed = torch.empty_like(pixels)
    num_images, num_steps, _ = steps.shape
    if pixels.numel() == 0 or num_images == 0:
        return changed
    sums = torch.zeros(num_images, num_steps, num_channels, dtype=torch.int64, device=pixels.device)
    tensors = [tensor.contiguous() for tensor in (pixels, placements, steps)]  # alive until the launches are enqueued
    params = ColorParams(
        *(tensor.data_ptr() for tensor in (*tensors, sums, changed)), num_channels=num_channels, num_steps=num_steps
    )
    has_colors = num_channels == COLORS
    sum_up, change = ("sum_levels", "change_colors") if has_colors else ("sum_channels", "change_channels")
    blocks = _COLOR_BLOCKS * (1 if has_colors else num_channels)
    for params.step in range(num_steps):  # those that change no contrast end at once
        launcher.launch(sum_up, RENDER, (blocks, num_images), params, pixels.device)
    launcher.launch(change, RENDER, (_COLOR_BLOCKS, num_images), params, pixels.device)
    return changed
