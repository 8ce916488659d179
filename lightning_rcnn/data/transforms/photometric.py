"""SSD's distortion of colors, with torchvision's functions."""

from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.transforms.base import Random
from lightning_rcnn.data.transforms.checks import limits, probability
from lightning_rcnn.data.transforms.color_transform import ColorTransform
from lightning_rcnn.ops.color_steps import CHANNEL_ORDERS, ColorKind, ColorStep


class PhotometricDistortion(ColorTransform):
    """Distorts colors as SSD does (Liu et al. 2016): brightness, contrast, saturation, hue and the order of channels.

    Each of the five happens with probability `p`. Contrast comes either before saturation and hue or after them, with
    equal chance. For the same draws the result is that of `torchvision.transforms.v2.RandomPhotometricDistort`.

    Args:
        brightness, contrast, saturation: smallest and largest factor, at least 0.
        hue: smallest and largest shift in turns of the color circle, -0.5 to 0.5.
        p: probability of each distortion, 0 to 1.

    Raises:
        InputError: a factor or a shift is out of range, or `p` is not a probability.
    """

    def __init__(
        self,
        brightness: tuple[float, float] = (0.875, 1.125),
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: tuple[float, float] = (-0.05, 0.05),
        p: float = 0.5,
    ) -> None:
        name = "PhotometricDistortion"
        self.brightness = limits(name, "brightness", brightness, 0, float("inf"))
        self.contrast = limits(name, "contrast", contrast, 0, float("inf"))
        self.saturation = limits(name, "saturation", saturation, 0, float("inf"))
        self.hue = limits(name, "hue", hue, -0.5, 0.5)
        self.p = probability(name, p)

    def refusal(self, pixels: PixelFormat) -> str:
        """Refuse images without three colors."""
        if pixels.channels == 3:
            return ""
        return "needs red, green and blue; use Colors with brightness and contrast"

    def steps(self, random: Random) -> list[ColorStep]:
        """Draw which distortions happen, and how much they change."""
        brightness = self._draw(ColorKind.BRIGHTNESS, self.brightness, random)
        contrast = self._draw(ColorKind.CONTRAST, self.contrast, random)
        saturation = self._draw(ColorKind.SATURATION, self.saturation, random)
        hue = self._draw(ColorKind.HUE, self.hue, random)
        is_contrast_first = random.uniform() < 0.5
        is_permuted = random.uniform() < self.p
        order = random.integer() % len(CHANNEL_ORDERS)
        first, last = (contrast, []) if is_contrast_first else ([], contrast)
        orders = [ColorStep(ColorKind.ORDER, float(order))] if is_permuted else []
        return [*brightness, *first, *saturation, *hue, *last, *orders]

    def _draw(self, kind: ColorKind, factors: tuple[float, float], random: Random) -> list[ColorStep]:
        """Draw whether to distort, and how much; both always, so that `p` does not affect the draws that follow."""
        is_distorted, factor = random.uniform() < self.p, random.uniform(*factors)
        return [ColorStep(kind, factor)] if is_distorted else []
