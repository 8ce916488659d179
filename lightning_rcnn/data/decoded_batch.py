"""A batch with its images as they were decoded, until the device renders them.

Shape letters: N images, C channels, H and W padded height and width, B bytes, T numbers of taps, S steps.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor

from lightning_rcnn.ops.colors import change_colors
from lightning_rcnn.ops.render import render_images
from lightning_rcnn.structures import Batch, ImageRecord


class DecodedImages(NamedTuple):
    """Images of different sizes in one piece of memory, with what is to become of them; see `ops/render.py`.

    Attributes:
        pixels: uint8 [B].
        placements: int64 [N, 18], a `Placement` for each image.
        taps: int32 [T].
        fill: uint8 [N, C].
        colors: float64 [N, S, 2], see `ops/colors.py`.
    """

    pixels: Tensor
    placements: Tensor
    taps: Tensor
    fill: Tensor
    colors: Tensor


@dataclass(frozen=True)
class DecodedBatch:
    """A batch that lacks only the images of `Batch`.

    Attributes:
        rest: the batch, with images [N, C, 0, 0].
        images: the images as decoded.
        shape: (H, W) in pixels.
        is_rounded: whether the rendered images are uint8; else float32.
    """

    rest: Batch
    images: DecodedImages
    shape: tuple[int, int]
    is_rounded: bool

    @property
    def records(self) -> tuple[ImageRecord, ...]:
        """Metadata of the N slots."""
        return self.rest.records

    def rendered(self) -> Batch:
        """Change the colors of the images and render them, on the device on which they are."""
        pixels, placements, taps, fill, colors = self.images
        if colors.shape[1]:
            pixels = change_colors(pixels, placements, colors, fill.shape[1])
        images = render_images(pixels, placements, taps, fill, *self.shape, is_rounded=self.is_rounded)
        return replace(self.rest, images=images)

    def to(self, device: Any, non_blocking: bool = False) -> "DecodedBatch":
        """Move the tensors to `device`."""
        return self.map_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "DecodedBatch":
        """Copy the tensors to page-locked memory; torch's DataLoader calls this method by name."""
        return self.map_tensors(lambda tensor: tensor.pin_memory())

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> "DecodedBatch":
        """Return the batch with `function` of each tensor in its place."""
        return replace(self, rest=self.rest.map_tensors(function), images=DecodedImages(*map(function, self.images)))


LoadedBatch = Batch | DecodedBatch
"""What a loader yields."""


def rendered(batch: LoadedBatch) -> Batch:
    """Return a batch with its images, which the device on which they are renders if that is left to do."""
    return batch.rendered() if isinstance(batch, DecodedBatch) else batch
