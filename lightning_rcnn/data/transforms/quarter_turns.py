"""Turn images by quarters."""

from dataclasses import replace
from typing import ClassVar

from lightning_rcnn.data.transforms.base import Random, TrainingImage
from lightning_rcnn.data.transforms.checks import probability
from lightning_rcnn.data.transforms.planned import PlannedTransform


class QuarterTurns(PlannedTransform):
    """Turns an image by 90, 180 or 270 degrees, for images without an upright direction.

    Args:
        p: probability of a turn, 0 to 1; all three turns are equally likely. The default makes all four directions
            equally likely.

    Raises:
        InputError: `p` is not a probability.
    """

    needs_pixels: ClassVar[bool] = False

    def __init__(self, p: float = 0.75) -> None:
        self.p = probability("QuarterTurns", p)

    def planned_size(self, height: int, width: int, random: Random) -> tuple[int, int]:
        """Draw the turn; an odd number of quarters swaps height and width."""
        return (width, height) if self._quarters(random) % 2 else (height, width)

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Record the turn; see `TrainingImage`."""
        for _ in range(self._quarters(random)):
            sample = turned(sample)
        return sample

    def _quarters(self, random: Random) -> int:
        is_turned, quarters = random.uniform() < self.p, random.whole(1, 3)
        return quarters if is_turned else 0


def turned(sample: TrainingImage) -> TrainingImage:
    """Record a quarter turn counterclockwise: rows and columns are swapped, then the image is flipped top to bottom."""
    return replace(
        sample,
        is_transposed=not sample.is_transposed,
        is_mirrored=sample.is_upside_down,
        is_upside_down=not sample.is_mirrored,
    )
