"""Generated batches for both libraries: noise with elliptic objects, already of the network's size."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.structures import Bitmaps, Inputs, Targets

MIN_SIDE = 64
"""Pixels of the smallest image: at a stride of 32, batch norm in training needs more than one pixel of a batch of 1."""


@dataclass(frozen=True)
class Scene:
    """A batch and its ground truth.

    Shape letters: N images, M objects in each, H x W pixels.

    Attributes:
        images: uint8 [N, 3, H, W].
        boxes: float32 [N, M, 4], xyxy in pixels.
        labels: int64 [N, M], from 1.
    """

    images: Tensor
    boxes: Tensor
    labels: Tensor

    @classmethod
    def random(
        cls,
        num_images: int,
        height: int,
        width: int,
        num_objects: int,
        num_classes: int,
        sides: tuple[float, float] = (0.05, 0.45),
    ) -> "Scene":
        """Draw noise, and boxes of whole pixels anywhere.

        Sides lie in a range of shares of the image's, and have at least three pixels, one of them inside the mask.
        """
        size, (low, high) = torch.tensor([width, height]), sides
        extents = ((low + (high - low) * torch.rand(num_images, num_objects, 2)) * size).ceil().clamp(min=3)
        corners = (torch.rand(num_images, num_objects, 2) * (size - extents)).floor()
        return cls(
            torch.randint(0, 256, (num_images, 3, height, width), dtype=torch.uint8),
            torch.cat((corners, corners + extents), dim=-1),
            torch.randint(1, num_classes + 1, (num_images, num_objects)),
        )

    def to(self, device: torch.device) -> "Scene":
        """Copy the scene to `device`."""
        return Scene(self.images.to(device), self.boxes.to(device), self.labels.to(device))

    def inputs(self) -> Inputs:
        """Return the images as our detectors take them."""
        num_images = len(self.images)
        sizes = torch.tensor([self.images.shape[-2:]] * num_images, device=self.images.device)
        return Inputs(self.images, sizes, torch.arange(num_images, device=self.images.device))

    def targets(self, with_masks: bool) -> Targets:
        """Return the ground truth as our detectors take it."""
        is_crowd = torch.zeros_like(self.labels, dtype=torch.bool)
        return Targets(self.boxes, self.labels, is_crowd, self._bitmaps() if with_masks else None)

    def torchvision_images(self) -> list[Tensor]:
        """Return the images as torchvision's detectors take them."""
        return list(self.images / 255)

    def torchvision_targets(self, with_masks: bool) -> list[dict[str, Tensor]]:
        """Return the ground truth as torchvision's detectors take it, with masks of the image's size."""
        targets = [{"boxes": boxes, "labels": labels} for boxes, labels in zip(self.boxes, self.labels, strict=True)]
        if with_masks:
            height, width = self.images.shape[-2:]
            masks = torch.zeros((*self.labels.shape, height, width), dtype=torch.uint8)
            for (image, number), (left, top), ellipse in self._ellipses():
                masks[image, number, top : top + ellipse.shape[0], left : left + ellipse.shape[1]] = ellipse
            for target, of_image in zip(targets, masks.to(self.images.device), strict=True):
                target["masks"] = of_image
        return targets

    def _bitmaps(self) -> Bitmaps:
        shape = tuple(self.labels.shape)
        pieces, first_byte = [], torch.zeros(shape, dtype=torch.int64)
        num_bytes = 0
        for index, _, ellipse in self._ellipses():
            first_byte[index] = num_bytes
            pieces.append(np.packbits(ellipse.numpy()))
            num_bytes += len(pieces[-1])
        sizes = (self.boxes[..., 2:] - self.boxes[..., :2]).flip(-1).long()
        device = self.boxes.device
        return Bitmaps(torch.from_numpy(np.concatenate(pieces)).to(device), first_byte.to(device), sizes, self.boxes)

    def _ellipses(self) -> list[tuple[tuple[int, int], tuple[int, int], Tensor]]:
        """Return (image, number), (left, top) and the mask, bool [h, w], of each object.

        The mask is an ellipse one pixel inside the box, since `Bitmaps` wants background around the mask.
        """
        ellipses = []
        for index in np.ndindex(*self.labels.shape):
            left, top, right, bottom = (int(edge) for edge in self.boxes[index].tolist())
            height, width = bottom - top, right - left
            y = (torch.arange(height)[:, None] + 0.5 - height / 2) / max(height - 2, 1)
            x = (torch.arange(width) + 0.5 - width / 2) / max(width - 2, 1)
            ellipses.append(((index[0], index[1]), (left, top), y**2 + x**2 <= 0.25))
        return ellipses
