"""What both detectors of a benchmark look at: noise with ellipses, already of the network's size."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.structures import Bitmaps, Inputs, Targets


@dataclass(frozen=True)
class Scene:
    """A batch and its ground truth.

    Shape letters: N images, M objects of each, H and W height and width.

    Attributes:
        images: uint8 [N, 3, H, W].
        boxes: float32 [N, M, 4].
        labels: int64 [N, M].
    """

    images: Tensor
    boxes: Tensor
    labels: Tensor

    @classmethod
    def random(cls, num_images: int, height: int, width: int, num_objects: int, num_classes: int) -> "Scene":
        """Boxes of 5 to 45% of the image's sides, anywhere, of whole pixels."""
        size = torch.tensor([width, height])
        sides = ((0.05 + 0.4 * torch.rand(num_images, num_objects, 2)) * size).ceil()
        corners = (torch.rand(num_images, num_objects, 2) * (size - sides)).floor()
        return cls(
            torch.randint(0, 256, (num_images, 3, height, width), dtype=torch.uint8),
            torch.cat((corners, corners + sides), dim=-1),
            torch.randint(1, num_classes + 1, (num_images, num_objects)),
        )

    def to(self, device: torch.device) -> "Scene":
        """The same scene on `device`."""
        return Scene(self.images.to(device), self.boxes.to(device), self.labels.to(device))

    def inputs(self) -> Inputs:
        """As our detectors take them."""
        num_images = len(self.images)
        sizes = torch.tensor([self.images.shape[-2:]] * num_images, device=self.images.device)
        return Inputs(self.images, sizes, torch.arange(num_images, device=self.images.device))

    def targets(self, with_masks: bool) -> Targets:
        """Ground truth as our detectors take it."""
        is_crowd = torch.zeros_like(self.labels, dtype=torch.bool)
        return Targets(self.boxes, self.labels, is_crowd, self._bitmaps() if with_masks else None)

    def torchvision_images(self) -> list[Tensor]:
        """As torchvision's detectors take them."""
        return list(self.images / 255)

    def torchvision_targets(self, with_masks: bool) -> list[dict[str, Tensor]]:
        """Ground truth as torchvision's detectors take it: masks are whole images."""
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
        for place, _, ellipse in self._ellipses():
            first_byte[place] = num_bytes
            pieces.append(np.packbits(ellipse.numpy()))
            num_bytes += len(pieces[-1])
        sizes = (self.boxes[..., 2:] - self.boxes[..., :2]).flip(-1).long()
        device = self.boxes.device
        return Bitmaps(torch.from_numpy(np.concatenate(pieces)).to(device), first_byte.to(device), sizes, self.boxes)

    def _ellipses(self) -> list[tuple[tuple[int, int], tuple[int, int], Tensor]]:
        """(image, number), (left, top) and bool [h, w] of each object: the ellipse that fills its box."""
        found = []
        for place in np.ndindex(*self.labels.shape):
            left, top, right, bottom = (int(edge) for edge in self.boxes[place].tolist())
            height, width = bottom - top, right - left
            y = (torch.arange(height)[:, None] + 0.5) / height - 0.5
            x = (torch.arange(width) + 0.5) / width - 0.5
            found.append(((place[0], place[1]), (left, top), y**2 + x**2 <= 0.25))
        return found
