"""Launch of the rendering of decoded images, the kernels of `render.cu`.

As in `operations.py`, no function waits for the GPU or depends on the values of tensors.
"""

import ctypes
import math
from pathlib import Path

import torch
from torch import Tensor

from lightning_rcnn.ops.cuda import launcher
from lightning_rcnn.ops.cuda.compiler import Program

RENDER = Program(Path(__file__).with_name("render.cu"))
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
