"""Changes of colors with torchvision's functions, on any device.

Shape letters: C channels, h and w height and width of an image.
"""

from collections.abc import Callable, Sequence

from torch import Tensor
from torchvision.transforms.v2 import functional as F

from lightning_rcnn.ops.color_steps import CHANNEL_ORDERS, COLORS, ColorKind, ColorStep

_CHANGES: dict[ColorKind, Callable[[Tensor, float], Tensor]] = {
    ColorKind.BRIGHTNESS: F.adjust_brightness,
    ColorKind.CONTRAST: F.adjust_contrast,
    ColorKind.SATURATION: F.adjust_saturation,
    ColorKind.HUE: F.adjust_hue,
    ColorKind.ORDER: lambda image, order: image[list(CHANNEL_ORDERS[int(order)])],
    ColorKind.GRAY: lambda image, _: F.rgb_to_grayscale(image, num_output_channels=COLORS),
}


def changed(image: Tensor, steps: Sequence[ColorStep]) -> Tensor:
    """Return an image after steps, one after the other; bytes are cut off to whole numbers after each.

    Args:
        image: uint8 [C, h, w], or float32 from 0 to 1.
        steps: steps; without three channels only of brightness and contrast, which change each channel by itself.
    """
    result = image if image.shape[0] == COLORS else image[:, None]
    for kind, value in steps:
        result = _CHANGES[ColorKind(kind)](result, value)
    return result.reshape(image.shape)
