"""Convert float images to the range that torchvision's functions take them to have, 0 to 1, and back."""

import torch
from torch import Tensor

_WHITE = 255.0


def in_unit_range(image: Tensor) -> Tensor:
    """Return an image of 0 to 255 as torchvision takes it: uint8 unchanged, floats divided by 255."""
    return image if image.dtype == torch.uint8 else image / _WHITE


def in_range_of(image: Tensor, original: Tensor) -> Tensor:
    """Undo `in_unit_range` of the image `original`."""
    return image if original.dtype == torch.uint8 else image * _WHITE
