"""SSD's distortion of colors, with torchvision's functions."""

from dataclasses import replace
from itertools import permutations

from torchvision.transforms.v2 import functional as F

from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform
from lightning_rcnn.data.transforms.checks import limits, probability
from lightning_rcnn.data.transforms.unit_range import in_range_of, in_unit_range

_CHANNEL_ORDERS = list(permutations(range(3)))


class PhotometricDistortion(Transform):
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

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Distort the colors of the image."""
        brightness = self._draw(self.brightness, random)
        contrast = self._draw(self.contrast, random)
        saturation = self._draw(self.saturation, random)
        hue = self._draw(self.hue, random)
        is_contrast_first = random.uniform() < 0.5
        is_permuted = random.uniform() < self.p
        order = _CHANNEL_ORDERS[random.integer() % len(_CHANNEL_ORDERS)]

        image = in_unit_range(sample.image)
        if brightness is not None:
            image = F.adjust_brightness(image, brightness)
        if contrast is not None and is_contrast_first:
            image = F.adjust_contrast(image, contrast)
        if saturation is not None:
            image = F.adjust_saturation(image, saturation)
        if hue is not None:
            image = F.adjust_hue(image, hue)
        if contrast is not None and not is_contrast_first:
            image = F.adjust_contrast(image, contrast)
        if is_permuted:
            image = image[list(order)]
        return replace(sample, image=in_range_of(image, sample.image))

    def _draw(self, factors: tuple[float, float], random: Random) -> float | None:
        """Draw whether to distort, and how much; both always, so that `p` does not affect the draws that follow."""
        is_distorted, factor = random.uniform() < self.p, random.uniform(*factors)
        return factor if is_distorted else None
