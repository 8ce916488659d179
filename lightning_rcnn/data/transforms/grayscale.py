"""Take the colors from images."""

from dataclasses import replace

from torchvision.transforms.v2 import functional as F

from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform
from lightning_rcnn.data.transforms.checks import probability


class Grayscale(Transform):
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

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Make the image gray."""
        if random.uniform() >= self.p:
            return sample
        return replace(sample, image=F.rgb_to_grayscale(sample.image, num_output_channels=3))
