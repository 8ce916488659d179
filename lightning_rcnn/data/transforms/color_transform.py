"""The base class of transforms that change colors, which a worker applies at once or leaves to the device.

A worker that leaves changes to the device records them with the image. It applies them itself before any transform that
needs pixels, so the result never depends on where they are applied.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform
from lightning_rcnn.data.transforms.unit_range import in_range_of, in_unit_range
from lightning_rcnn.ops.color_steps import ColorKind, ColorStep
from lightning_rcnn.ops.cpu.colors import changed


class ColorTransform(Transform):
    """Base class of transforms whose changes are steps on the colors of each pixel."""

    @abstractmethod
    def steps(self, random: Random) -> list[ColorStep]:
        """Draw the steps for an image; none leaves it alone."""

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Change the colors of the image."""
        return replace(sample, image=_after(sample.image, self.steps(random)))


class RecordedColors(Transform):
    """Draws the steps of a transform and records them, for the device to apply.

    Args:
        transform: transform of colors.
    """

    needs_pixels: ClassVar[bool] = False

    def __init__(self, transform: ColorTransform) -> None:
        self.transform = transform

    def refusal(self, pixels: PixelFormat) -> str:
        """Refuse what the transform refuses."""
        return self.transform.refusal(pixels)

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Record the steps; see `TrainingImage`."""
        return replace(sample, colors=(*sample.colors, *self.transform.steps(random)))


def left_to_device(transforms: Sequence[Any]) -> list[Any]:
    """Return a list of transforms whose changes of colors are recorded."""
    return [RecordedColors(each) if isinstance(each, ColorTransform) else each for each in transforms]


def with_colors(sample: TrainingImage) -> TrainingImage:
    """Return an image to which the recorded changes of colors are applied."""
    if not sample.colors:
        return sample
    return replace(sample, image=_after(sample.image, sample.colors), colors=())


def _after(image: Tensor, steps: Sequence[ColorStep]) -> Tensor:
    if not steps:
        return image
    if all(step.kind == ColorKind.GRAY for step in steps):  # which has no range
        return changed(image, steps)
    return in_range_of(changed(in_unit_range(image), steps), image)
