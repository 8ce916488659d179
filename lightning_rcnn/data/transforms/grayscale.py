"""Take the colors from images."""

from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.transforms.base import Random
from lightning_rcnn.data.transforms.checks import probability
from lightning_rcnn.data.transforms.color_transform import ColorTransform
from lightning_rcnn.ops.color_steps import ColorKind, ColorStep


class Grayscale(ColorTransform):
    """Makes an image gray, in three equal channels.

    Args:
        p: probability, 0 to 1.

    Raises:
        InputError: `p` is not a probability.
    """

    def __init__(self, p: float = 0.1) -> None:
        self.p = probability("Grayscale", p)

    def refusal(self, pixels: PixelFormat) -> str:
        """Refuse images without three colors."""
        return "" if pixels.channels == 3 else "needs red, green and blue; take it out"

    def steps(self, random: Random) -> list[ColorStep]:
        """Draw whether to make the image gray."""
        return [] if random.uniform() >= self.p else [ColorStep(ColorKind.GRAY)]
