"""Change colors with torchvision's functions, in a fixed order."""

from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.transforms.base import Random
from lightning_rcnn.data.transforms.color_transform import ColorTransform
from lightning_rcnn.errors import InputError
from lightning_rcnn.ops.color_steps import COLORS, ColorKind, ColorStep

_FACTORS = {
    "brightness": ColorKind.BRIGHTNESS,
    "contrast": ColorKind.CONTRAST,
    "saturation": ColorKind.SATURATION,
}


class Colors(ColorTransform):
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
        if pixels.channels == COLORS or not (self.strengths["saturation"] or self.hue):
            return ""
        return "saturation and hue need red, green and blue; keep brightness and contrast"

    def steps(self, random: Random) -> list[ColorStep]:
        """Draw the factors and the shift."""
        steps = []
        for name, kind in _FACTORS.items():
            # Always draw: the strength of one change must not affect the draw of another.
            factor = random.uniform(max(0.0, 1.0 - self.strengths[name]), 1.0 + self.strengths[name])
            if self.strengths[name]:
                steps.append(ColorStep(kind, factor))
        shift = random.uniform(-self.hue, self.hue)
        return [*steps, ColorStep(ColorKind.HUE, shift)] if self.hue else steps
