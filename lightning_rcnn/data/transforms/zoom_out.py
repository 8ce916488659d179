"""SSD's expansion: an image on a larger canvas, so that objects become small."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from lightning_rcnn.data.transforms.base import Random, TrainingImage
from lightning_rcnn.data.transforms.checks import IMAGENET_COLOR, checked_color, limits, probability
from lightning_rcnn.data.transforms.cut import cut
from lightning_rcnn.data.transforms.planned import PlannedTransform
from lightning_rcnn.data.transforms.view import displayed_size, in_image, upright


class ZoomOut(PlannedTransform):
    """Places the image at random on a larger canvas.

    Source: SSD (Liu et al. 2016), section 3.6; `torchvision.transforms.v2.RandomZoomOut`.

    Args:
        side_range: limits of the canvas's height and width, as multiples of the image's, at least 1.
        fill: color of the canvas, RGB, 0 to 255; by default the mean color of ImageNet.
        p: probability of a larger canvas, 0 to 1.

    Raises:
        InputError: the limits, the color or `p` are out of range.
    """

    needs_pixels: ClassVar[bool] = False

    def __init__(
        self, side_range: Sequence[float] = (1.0, 4.0), fill: Sequence[int] = IMAGENET_COLOR, p: float = 0.5
    ) -> None:
        self.side_range = limits("ZoomOut", "side_range", side_range, 1, 100)
        self.fill = checked_color("ZoomOut", fill)
        self.p = probability("ZoomOut", p)

    def planned_size(self, height: int, width: int, random: Random) -> tuple[int, int]:
        """Draw the size of the canvas."""
        if random.uniform() >= self.p:
            return height, width
        side = random.uniform(*self.side_range)
        return int(height * side), int(width * side)

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Draw the position on the canvas, and record it."""
        height, width = displayed_size(sample)
        canvas_height, canvas_width = self.planned_size(height, width, random)
        if (canvas_height, canvas_width) == (height, width):
            return sample
        left = int((canvas_width - width) * random.uniform())
        top = int((canvas_height - height) * random.uniform())
        if sample.window is not None:  # a larger window would show again what a crop has cut off
            sample = upright(sample)
        window = in_image(sample, (-left, -top, canvas_width - left, canvas_height - top))
        return replace(cut(sample, window), fill=self.fill)
