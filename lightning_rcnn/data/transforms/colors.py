"""Change colors with torchvision's functions, in a fixed order."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor
from torchvision.transforms.v2 import functional as F

from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform
from lightning_rcnn.data.transforms.unit_range import in_range_of, in_unit_range
from lightning_rcnn.errors import InputError

_FACTORS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "brightness": F.adjust_brightness,
    "contrast": F.adjust_contrast,
    "saturation": F.adjust_saturation,
}


_COLORS = 3


class Colors(Transform):
    """Changes brightness, contrast, saturation and hue.

    Where images have no three colors, brightness and contrast change each channel by itself, with one factor.

    Args:
        brightness, contrast, saturation: strength x; the factor is drawn from [max(0, 1 - x), 1 + x].
        hue: largest shift x, at most 0.5 turns of the color circle; the shift is drawn from [-x, x].

    Raises:
        InputError: a strength is out of range.
    """

    def __init__(
        self, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0, hue: float = 0.0
    ) -> None:
        self.strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        self.hue = hue
        for name, strength in (*self.strengths.items(), ("hue", hue)):
            limit = 0.5 if name == "hue" else float("inf")
            if not 0 <= strength <= limit:
                raise InputError(
                    f"data.train_transforms: Colors: {name} {strength} is out of range; give 0 to {limit:g}"
                )

    def refusal(self, pixels: PixelFormat) -> str:
        """Refuse to change the saturation and hue of images without three colors."""
        if pixels.channels == _COLORS or not (self.strengths["saturation"] or self.hue):
            return ""
        return "saturation and hue need red, green and blue; keep brightness and contrast"

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Change the colors of the image."""
        image = in_unit_range(sample.image)
        if image.shape[0] != _COLORS:
            image = image[:, None]  # each channel by itself, as an image of one
        for name, change in _FACTORS.items():
            # Always draw: the strength of one change must not affect the draw of another.
            factor = random.uniform(max(0.0, 1.0 - self.strengths[name]), 1.0 + self.strengths[name])
            if self.strengths[name]:
                image = change(image, factor)
        shift = random.uniform(-self.hue, self.hue)
        if self.hue:
            image = F.adjust_hue(image, shift)
        return replace(sample, image=in_range_of(image.reshape(sample.image.shape), sample.image))
