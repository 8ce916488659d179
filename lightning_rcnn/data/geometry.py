"""The geometry of a training image: one map of points for boxes, outlines and crops."""

from dataclasses import dataclass

import numpy as np

ROUNDING = 0.02
"""Pixels by which a box may exceed the image without a defect: COCO's JSON rounds x and width to a hundredth each."""
MIN_BOX_EDGE = 1e-2
"""Pixels of the resized frame; the encoded deltas of a ground-truth box with a shorter edge are too large to learn."""


@dataclass(frozen=True)
class AxisAlignedMap:
    """Map from the original to the resized frame: x' = scale_x * x + shift_x, and the same for y.

    A negative scale mirrors. Shifts are in pixels of the resized frame. A map that transposes swaps x and y first.
    """

    scale_x: float
    shift_x: float
    scale_y: float
    shift_y: float
    transposes: bool = False

    @property
    def reverses(self) -> bool:
        """Whether what turns clockwise turns counterclockwise after the map."""
        return (self.scale_x * self.scale_y < 0) != self.transposes

    def points(self, points: np.ndarray) -> np.ndarray:
        """Map float [..., 2], (x, y)."""
        scale, shift = [self.scale_x, self.scale_y], [self.shift_x, self.shift_y]
        points = points[..., ::-1] if self.transposes else points
        return points * np.array(scale, points.dtype) + np.array(shift, points.dtype)

    def pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Swap and flip the rows and columns of [h, w] as the map does, without the scale."""
        pixels = pixels.T if self.transposes else pixels
        return pixels[:: -1 if self.scale_y < 0 else 1, :: -1 if self.scale_x < 0 else 1]

    def corner(self, box: tuple[float, float, float, float]) -> tuple[float, float]:
        """Return (x1, y1) of one mapped box, which is many times as fast as `boxes`."""
        x1, y1, x2, y2 = (box[1], box[0], box[3], box[2]) if self.transposes else box
        x, y = (x1 if self.scale_x > 0 else x2), (y1 if self.scale_y > 0 else y2)
        return self.scale_x * x + self.shift_x, self.scale_y * y + self.shift_y

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Map float [..., 4], xyxy; edges are swapped where the map mirrors."""
        first, second = self.points(boxes[..., :2]), self.points(boxes[..., 2:])
        return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=-1)


def clip_and_keep(boxes: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Clip boxes to their image and mark those that remain boxes.

    Args:
        boxes: float [M, 4], resized frame.
        height, width: size of the image in pixels, in that frame.

    Returns:
        The clipped boxes [M, 4], and bool [M]: whether both edges are at least `MIN_BOX_EDGE` long.
    """
    clipped = np.clip(boxes, 0.0, np.array([width, height, width, height], boxes.dtype))
    edges = clipped[:, 2:] - clipped[:, :2]
    return clipped, np.all(edges >= MIN_BOX_EDGE, axis=1)
