"""Drawing of keypoints: a dot for each that is known, and lines between those that belong together.

Shape letters: n objects, J keypoints of an object.
"""

from typing import NamedTuple

import numpy as np
from PIL import ImageDraw
from torch import Tensor

from lightning_rcnn.skeleton import Pairs
from lightning_rcnn.visualization.palette import Color, readable_on


class ShownKeypoints(NamedTuple):
    """Keypoints of n objects to draw.

    Attributes:
        points: float [n, J, 2], x and y in pixels of the image.
        is_shown: bool [n, J]; other keypoints, and lines that end at them, are not drawn.
        edges: positions of the keypoints between which lines are drawn.
    """

    points: Tensor
    is_shown: Tensor
    edges: Pairs


class Pose(NamedTuple):
    """The keypoints of one object in the frame of the canvas.

    Attributes:
        points: float64 [J, 2].
        is_shown: bool [J].
        edges: see `ShownKeypoints`.
    """

    points: np.ndarray
    is_shown: np.ndarray
    edges: Pairs


def poses_of(keypoints: ShownKeypoints, scale: np.ndarray) -> list[Pose]:
    """Return the keypoints of each object, scaled by the factors [2] of x and y; what is not finite is not shown."""
    points = keypoints.points.detach().cpu().double().numpy() * scale
    is_shown = keypoints.is_shown.cpu().numpy() & np.isfinite(points).all(axis=-1)
    return [Pose(own, shown, keypoints.edges) for own, shown in zip(points, is_shown, strict=True)]


def draw_pose(draw: ImageDraw.ImageDraw, pose: Pose, color: Color, line: int) -> None:
    """Draw the keypoints of an object in place.

    Args:
        draw: RGB canvas.
        pose: the keypoints.
        color: color of lines and dots; dots have a rim that is visible on it.
        line: thickness of lines, pixels.
    """
    at = [tuple(point) for point in pose.points.tolist()]
    for first, second in pose.edges:
        if pose.is_shown[first] and pose.is_shown[second]:
            draw.line((*at[first], *at[second]), fill=color, width=line)
    radius, rim = 1.2 * line + 1, max(1, line // 2)
    for (x, y), is_shown in zip(at, pose.is_shown, strict=True):
        if is_shown:
            dot = (x - radius, y - radius, x + radius, y + radius)
            draw.ellipse(dot, fill=color, outline=readable_on(color), width=rim)
