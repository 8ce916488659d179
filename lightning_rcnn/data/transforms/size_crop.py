"""Crop images to a random size."""

from typing import ClassVar

from lightning_rcnn.data.transforms.base import Random, TrainingImage
from lightning_rcnn.data.transforms.checks import checked_share, limits, probability
from lightning_rcnn.data.transforms.cut import cut
from lightning_rcnn.data.transforms.planned import PlannedTransform
from lightning_rcnn.data.transforms.view import displayed_size, in_image


class RandomSizeCrop(PlannedTransform):
    """Cuts out a part of random height, width and position.

    Source: `RandomSizeCrop` of DETR (Carion et al. 2020). An edge of the image that is shorter than `min_size` is kept
    whole. A crop may show no object; the image then has only background.

    Args:
        min_size, max_size: limits between which height and width are drawn, in pixels of the image.
        min_visible: share of an object's area that must be left, 0 to 1; an object with less goes. By default any part
            counts, as in torchvision. Boxes are clipped, and follow what is left of a mask.
        p: probability of a crop, 0 to 1.

    Raises:
        InputError: a size is less than 1, `min_size` exceeds `max_size`, or `min_visible` or `p` is out of range.
    """

    needs_pixels: ClassVar[bool] = False

    def __init__(self, min_size: int, max_size: int, min_visible: float = 0.0, p: float = 0.5) -> None:
        self.min_size, self.max_size = limits(
            "RandomSizeCrop", "[min_size, max_size]", (min_size, max_size), 1, float("inf")
        )
        self.min_visible = checked_share("RandomSizeCrop", min_visible)
        self.p = probability("RandomSizeCrop", p)

    def planned_size(self, height: int, width: int, random: Random) -> tuple[int, int]:
        """Draw the size of the crop."""
        if random.uniform() >= self.p:
            return height, width
        return self._edge(height, random), self._edge(width, random)

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Draw the position of the crop, and record it."""
        full_height, full_width = displayed_size(sample)
        height, width = self.planned_size(full_height, full_width, random)
        if (height, width) == (full_height, full_width):
            return sample
        top, left = random.whole(0, full_height - height), random.whole(0, full_width - width)
        return cut(sample, in_image(sample, (left, top, left + width, top + height)), self.min_visible)

    def _edge(self, edge: int, random: Random) -> int:
        return random.whole(min(edge, self.min_size), min(edge, self.max_size))
