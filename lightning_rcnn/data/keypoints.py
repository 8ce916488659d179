"""Keypoints of the objects of one image, and what geometry does to them.

A keypoint is (x, y, visibility): pixels of a named frame, where a pixel's center lies at .5, and COCO's visibility: 0
for a keypoint that is not labeled, whose x and y are 0; 1 for a labeled one that is hidden, 2 for one that is seen.

Shape letters: m objects, J keypoints of an object.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lightning_rcnn.data.geometry import AxisAlignedMap
from lightning_rcnn.masks.crops import Window
from lightning_rcnn.skeleton import Skeleton

PIXEL_CENTER = 0.5
"""Position of a pixel's center; COCO's files have the index of the pixel instead."""


@dataclass(frozen=True)
class ObjectKeypoints:
    """Keypoints of m objects.

    Attributes:
        points: float32 [m, J, 3], x, y and visibility.
        flip_order: int64 [J], see `Skeleton.flip_order`.
    """

    points: np.ndarray
    flip_order: np.ndarray

    @classmethod
    def read(cls, annotations: Sequence[Mapping[str, Any]], skeleton: Skeleton) -> "ObjectKeypoints":
        """Return the keypoints of packed annotations (see `index.Annotation`); zeros for an object without any.

        Raises:
            ValueError: an object has another number of keypoints than the skeleton.
        """
        points = np.zeros((len(annotations), len(skeleton), 3), np.float32)
        for row, annotation in zip(points, annotations, strict=True):
            if "keypoints" in annotation:
                row[...] = np.array(annotation["keypoints"], np.float32).reshape(len(skeleton), 3)
        return cls(points, np.array(skeleton.flip_order, np.int64))

    def of(self, indices: np.ndarray) -> "ObjectKeypoints":
        """Return those of some of the objects, by index."""
        return replace(self, points=self.points[indices])

    def joined(self, *others: "ObjectKeypoints") -> "ObjectKeypoints":
        """Return those of this image's objects and then those of other images' objects in the same frame."""
        return replace(self, points=np.concatenate([self.points, *(other.points for other in others)]))

    def mapped(self, by: AxisAlignedMap) -> "ObjectKeypoints":
        """Map into another frame; a mirror exchanges the flip pairs."""
        moved = self.moved(by.points(self.points[..., :2]))
        return moved.flipped() if by.reverses else moved

    def flipped(self) -> "ObjectKeypoints":
        """Exchange the flip pairs, whose positions were mirrored."""
        return replace(self, points=self.points[:, self.flip_order])

    def moved(self, positions: np.ndarray) -> "ObjectKeypoints":
        """Return keypoints at other positions [m, J, 2], without those that are not labeled."""
        points = self.points.copy()
        points[..., :2] = positions
        points[points[..., 2] == 0] = 0
        return replace(self, points=points)

    def inside(self, window: Window) -> "ObjectKeypoints":
        """Return the keypoints inside (x1, y1, x2, y2), edges included; others are no longer labeled."""
        positions = self.points[..., :2]
        is_inside = np.all((positions >= window[:2]) & (positions <= window[2:]), axis=-1)
        return replace(self, points=np.where(is_inside[..., None], self.points, 0).astype(np.float32))

    def hidden(self, is_hidden: np.ndarray) -> "ObjectKeypoints":
        """Return keypoints of which those marked in bool [m, J] are hidden if they are labeled."""
        points = self.points.copy()
        points[..., 2] = np.where(is_hidden, np.minimum(points[..., 2], 1), points[..., 2])
        return replace(self, points=points)


def scaled_keypoints(keypoints: Sequence[float], x: float, y: float) -> list[float]:
    """Scale packed keypoints, x, y and visibility in turn, by the factors `x` and `y`."""
    return [value * (x, y, 1)[position % 3] for position, value in enumerate(keypoints)]
