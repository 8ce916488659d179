"""Changes of the colors of decoded images, each by steps of its own.

Shape letters: N images, C channels, B bytes, S steps of an image.
"""

import torch
from torch import Tensor

from lightning_rcnn.ops.color_steps import ColorKind, ColorStep
from lightning_rcnn.ops.cpu.colors import changed
from lightning_rcnn.ops.cuda import rendering
from lightning_rcnn.ops.dispatch import run
from lightning_rcnn.ops.placements import Placement


@torch.library.custom_op("lightning_rcnn::change_colors", mutates_args=())
def change_colors(pixels: Tensor, placements: Tensor, steps: Tensor, num_channels: int, impl: str = "auto") -> Tensor:
    """Change the colors of decoded images as torchvision's functions do.

    On CUDA, kernels change the whole batch without a host sync. They compute with the same numbers as torch on a CPU,
    but may add in another order, by which a byte may differ by 1 after a step.

    Args:
        pixels: uint8 [B], pixels of all images.
        placements: int64 [N, 18], a `Placement` for each image.
        steps: float64 [N, S, 2], kind and value of each `ColorStep`, filled up with zeros.
        num_channels: C; without three colors only brightness and contrast change, each channel by itself.
        impl: an `Implementation`.

    Returns:
        uint8 [B], the pixels after the steps.
    """
    return run(
        "change_colors",
        impl,
        pixels.device,
        rendering.color_obstacle(pixels, placements),
        lambda: rendering.change_colors(pixels, placements, steps, num_channels),
        lambda: _one_by_one(pixels, placements, steps, num_channels),
    )


@change_colors.register_fake
def _(pixels: Tensor, placements: Tensor, steps: Tensor, num_channels: int, impl: str = "auto") -> Tensor:
    return torch.empty_like(pixels)


def _one_by_one(pixels: Tensor, placements: Tensor, steps: Tensor, num_channels: int) -> Tensor:
    result = pixels.clone()
    for row, of_image in zip(placements.tolist(), steps.tolist(), strict=True):
        placement = Placement(*row)
        own = [ColorStep(ColorKind(int(kind)), value) for kind, value in of_image if kind]
        if own and placement.height * placement.width:
            shape = placement.height, placement.width, num_channels
            image = result[placement.first_byte :][: placement.height * placement.width * num_channels].view(shape)
            image.copy_(changed(image.permute(2, 0, 1), own).permute(1, 2, 0))
    return result
