"""What pictures show of images of any pixel format."""

import torch
from torch import Tensor

from lightning_rcnn.data.pixel_format import PixelFormat


def shown_bands(image: Tensor, pixels: PixelFormat) -> Tensor:
    """Return the channels of an image that pictures show, as RGB.

    Args:
        image: [C, h, w] of the format, 0 to 255, uint8 or floats.
        pixels: format, with its `bands`.

    Returns:
        uint8 [3, h, w]; the image itself if it is RGB of 8 bits.
    """
    if pixels.bands or pixels.channels != 3:
        bands = pixels.bands or ((1, 2, 3) if pixels.channels > 3 else (1,))
        image = image[[band - 1 for band in (bands if len(bands) == 3 else bands * 3)]]
    return image.round().clamp(0, 255).to(torch.uint8) if image.is_floating_point() else image
