"""Mosaic: parts of four images around a point (YOLOv4, Bochkovskiy et al. 2020, https://arxiv.org/abs/2004.10934)."""

from collections.abc import Sequence

import numpy as np
import torch

from lightning_rcnn.data.transforms.base import Random, TrainingImage
from lightning_rcnn.data.transforms.checks import checked_share, probability
from lightning_rcnn.data.transforms.cut import cut
from lightning_rcnn.data.transforms.frame import joined_keypoints, resized, shifted_keypoints, shifted_masks
from lightning_rcnn.data.transforms.mixing import MixingTransform
from lightning_rcnn.data.transforms.planned import PlannedTransform
from lightning_rcnn.data.transforms.view import displayed_size, in_image
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.crops import Window

_CENTER = (0.25, 0.75)
"""Range of the point where the four parts meet, as a share of width and height."""


class Mosaic(MixingTransform, PlannedTransform):
    """Puts parts of the image and of three other samples around a random point of a frame.

    The point is in the middle half of the frame. A part fills its quadrant: its image is scaled by a random factor,
    from the one at which the whole image just covers the quadrant to the one at which it would cover the frame, and cut
    at a random position. Objects are cut by the rule of all crops. The resize rule then applies as to any image.

    Args:
        size: (height, width) of the frame in pixels; by default that of the image.
        p: probability of a mosaic, 0 to 1.
        min_visible: share of an object's area that must be left, 0 to 1; an object with less goes. By default any part
            counts.

    Raises:
        InputError: the size is not two edges of at least 2 pixels, or `p` or `min_visible` is not in 0 to 1.
    """

    def __init__(self, size: Sequence[int] | None = None, p: float = 0.5, min_visible: float = 0.0) -> None:
        if size is not None and (len(size) != 2 or min(size) < 2):
            raise InputError(
                f"data.train_transforms: Mosaic: size is {list(size)}; give [height, width] of at least 2 pixels"
            )
        self.size = None if size is None else (size[0], size[1])
        self.p, self.min_visible = probability("Mosaic", p), checked_share("Mosaic", min_visible)

    def num_partners(self, random: Random) -> int:
        """Draw whether the sample becomes part of a mosaic."""
        return 3 if random.uniform() < self.p else 0

    def planned_size(self, height: int, width: int, random: Random) -> tuple[int, int]:
        """Return the size of the frame if the sample becomes part of a mosaic."""
        return self.size or (height, width) if self.num_partners(random) else (height, width)

    def mix(self, sample: TrainingImage, partners: Sequence[TrainingImage], random: Random) -> TrainingImage:
        """Make the mosaic; a sample without partners stays as it is."""
        height, width = size = self.size or displayed_size(sample)
        if not partners or min(size) < 2:
            return sample
        center_x, center_y = (max(1, int(edge * random.uniform(*_CENTER))) for edge in (width, height))
        quadrants = [
            (0, 0, center_x, center_y),
            (center_x, 0, width, center_y),
            (0, center_y, center_x, height),
            (center_x, center_y, width, height),
        ]
        first = random.whole(0, 3)
        images = [sample, *partners]
        parts = [
            self._part(images[(first + number) % 4], quadrant, size, random)
            for number, quadrant in enumerate(quadrants)
        ]
        return _assembled(parts, quadrants, size)

    def _part(self, image: TrainingImage, quadrant: Window, frame: tuple[int, int], random: Random) -> TrainingImage:
        """Return the part of an image that fills a quadrant."""
        x1, y1, x2, y2 = quadrant
        part, size = (y2 - y1, x2 - x1), displayed_size(image)
        smallest, largest = (max(new / old for new, old in zip(target, size, strict=True)) for target in (part, frame))
        factor = random.uniform(smallest, largest)
        height, width = (min(old, max(1, round(new / factor))) for new, old in zip(part, size, strict=True))
        top, left = random.whole(0, size[0] - height), random.whole(0, size[1] - width)
        window = in_image(image, (left, top, left + width, top + height))
        return resized(cut(image, window, self.min_visible), part)


def _assembled(parts: Sequence[TrainingImage], quadrants: Sequence[Window], size: tuple[int, int]) -> TrainingImage:
    """Put images of the sizes of the quadrants into a frame (height, width).

    A class is absent if it is absent from all images; its objects may lack annotations if they may in one.
    """
    first = parts[0].image
    # Channels last, as decoders write.
    pixels = torch.empty((*size, first.shape[0]), dtype=first.dtype).permute(2, 0, 1)
    masks, boxes = [], []
    for part, (x1, y1, x2, y2) in zip(parts, quadrants, strict=True):
        pixels[:, y1:y2, x1:x2] = part.image
        masks += shifted_masks(part, x1, y1)
        shifted = part.boxes + np.array([x1, y1, x1, y1], np.float32)
        boxes.append(shifted.clip([x1, y1, x1, y1], [x2, y2, x2, y2]))  # float32 rounds
    return TrainingImage(
        image=pixels,
        boxes=np.concatenate(boxes).astype(np.float32),
        labels=np.concatenate([part.labels for part in parts]),
        is_crowd=np.concatenate([part.is_crowd for part in parts]),
        segmentations=masks,
        keypoints=joined_keypoints(
            [shifted_keypoints(part, x1, y1) for part, (x1, y1, _, _) in zip(parts, quadrants, strict=True)]
        ),
        negative_labels=tuple(sorted(set.intersection(*(set(part.negative_labels) for part in parts)))),
        not_exhaustive_labels=tuple(sorted(set.union(*(set(part.not_exhaustive_labels) for part in parts)))),
    )
