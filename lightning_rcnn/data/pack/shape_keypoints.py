"""Keypoints of the objects of generated scenes: near their corners, tips or outermost points.

Each is determined by the picture:

- An order can be seen. Objects are tilted by less than half of the angle between two corners as seen from the center,
  so upper, lower, left and right ones never change places. A mirror exchanges left and right.
- An ellipse has its outermost points, upwards, downwards, to the left and to the right, and not the ends of its axes,
  which a nearly round one does not show.
- Keypoints lie a little inside, as joints do. So they are in the box of the object, which is tight around its visible
  part, and to which heat maps are confined.
- One that is hidden is not labeled: its place could only be guessed, and is mostly outside of that box.

Shape letters: c corners of an outline, h and w height and width of the scene, J keypoints of an object.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from lightning_rcnn.skeleton import Skeleton

INSIDE = 4.0
"""Pixels from a corner to its keypoint, towards the center of the object; there the tip of a star is a pixel wide."""
SKELETON = Skeleton(
    ("top", "bottom", "left", "right", "lower_left", "lower_right"),
    edges=((0, 2), (0, 3), (2, 4), (3, 5), (4, 5), (2, 1), (1, 3)),
    flip_pairs=((2, 3), (4, 5)),
)
"""Keypoints of all classes; of a rectangle, a triangle and a star, left and right are the upper corners."""
_LABELED = 2.0


def keypoints_of(label: int, outline: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the keypoints of an object, float64 [J, 3]: x, y and visibility (see `data/keypoints.py`).

    Args:
        label: 1..4, see `shapes.CLASS_NAMES`.
        outline: float64 [c, 2], corners in pixels, in the order in which `shapes.py` generates them.
        mask: bool [h, w], visible part of the object.
    """
    keypoints = np.zeros((len(SKELETON), 3))
    center = outline.mean(axis=0)
    height, width = mask.shape
    for position, corner in _CORNERS[label - 1](outline).items():
        inward = center - corner
        x, y = corner + INSIDE * inward / np.linalg.norm(inward)
        if 0 <= x < width and 0 <= y < height and mask[int(y), int(x)]:
            keypoints[position] = x, y, _LABELED
    return keypoints


def _outermost(ellipse: np.ndarray) -> dict[int, np.ndarray]:
    """Return the topmost, lowest, leftmost and rightmost point of an ellipse by position in the skeleton.

    The ellipse is center + major cos t + minor sin t, so the coordinate i of a point is largest where (cos t, sin t)
    is parallel to (major_i, minor_i).
    """
    center = ellipse.mean(axis=0)
    semi_axes = ellipse[[0, len(ellipse) // 4]] - center
    to_right, to_bottom = semi_axes.T / np.linalg.norm(semi_axes, axis=0)[:, None] @ semi_axes
    return {0: center - to_bottom, 1: center + to_bottom, 2: center - to_right, 3: center + to_right}


def _numbered(numbers: Mapping[int, int], outline: np.ndarray) -> dict[int, np.ndarray]:
    """Return corners by position in the skeleton, of their numbers in the outline."""
    return {position: outline[number] for position, number in numbers.items()}


_CORNERS: tuple[Callable[[np.ndarray], dict[int, np.ndarray]], ...] = (
    _outermost,
    partial(_numbered, {2: 0, 3: 1, 5: 2, 4: 3}),
    partial(_numbered, {1: 0, 2: 1, 3: 2}),
    partial(_numbered, {0: 0, 3: 2, 5: 4, 4: 6, 2: 8}),
)
"""Functions that return the corners of each class by position in the skeleton."""
