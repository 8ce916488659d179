"""Hide rectangles of images, so that a detector learns to find objects by any of their parts."""

from dataclasses import replace

import numpy as np

from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform, color_of
from lightning_rcnn.data.transforms.checks import IMAGENET_COLOR, checked_color, checked_share, limits, probability
from lightning_rcnn.data.transforms.view import visible_part
from lightning_rcnn.masks.crops import Window


class Cutout(Transform):
    """Fills rectangles of what is visible of an image with a color (DeVries and Taylor 2017, with any shape).

    Only pixels change: boxes and masks stay whole, and a mask also marks the hidden part of its object; keypoints
    behind a rectangle count as hidden. An object stays
    unless the rectangles hide more than `max_hidden` of its box; then nothing is left to learn from, and it goes. A
    crowd always stays.

    Args:
        p: probability, 0 to 1.
        count: smallest and largest number of rectangles, 1 to 100.
        size: smallest and largest edge of a rectangle, as a fraction of that edge of the visible part, 0 to 1.
        fill: color, RGB, 0 to 255; by default the mean color of ImageNet.
        max_hidden: largest hidden share of the box of an object that stays, 0 to 1; with 1, all objects stay.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self,
        p: float = 0.5,
        count: tuple[int, int] = (1, 3),
        size: tuple[float, float] = (0.05, 0.3),
        fill: tuple[int, int, int] = IMAGENET_COLOR,
        max_hidden: float = 0.9,
    ) -> None:
        self.p = probability("Cutout", p)
        self.count = limits("Cutout", "count", count, 1, 100)
        self.size = limits("Cutout", "size", size, 0, 1)
        self.fill = checked_color("Cutout", fill)
        self.max_hidden = checked_share("Cutout", max_hidden, "max_hidden")

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Hide rectangles of the image, and drop the objects behind them."""
        is_cut, count = random.uniform() < self.p, random.whole(*self.count)
        if not is_cut:
            return sample
        rectangles = np.array([self._rectangle(visible_part(sample), random) for _ in range(count)])
        image = sample.image.clone()
        for left, top, right, bottom in rectangles.tolist():
            image[:, top:bottom, left:right] = color_of(self.fill, image)
        kept = sample.is_crowd | (hidden_shares(sample.boxes, rectangles) <= self.max_hidden)
        keypoints = sample.keypoints
        if keypoints is not None:
            positions = keypoints.points[..., None, :2]
            is_behind = np.all((positions >= rectangles[:, :2]) & (positions <= rectangles[:, 2:]), axis=-1)
            keypoints = keypoints.hidden(is_behind.any(axis=-1))
        return replace(sample, image=image, keypoints=keypoints).with_objects(kept)

    def _rectangle(self, visible: Window, random: Random) -> Window:
        """Draw a rectangle inside the visible part of the image, in its pixels."""
        x1, y1, x2, y2 = visible
        rows, columns = (max(1, round(random.uniform(*self.size) * edge)) for edge in (y2 - y1, x2 - x1))
        top = y1 + int(random.uniform() * (y2 - y1 - rows + 1))
        left = x1 + int(random.uniform() * (x2 - x1 - columns + 1))
        return left, top, left + columns, top + rows


def hidden_shares(boxes: np.ndarray, rectangles: np.ndarray) -> np.ndarray:
    """Compute the share of each box that lies behind rectangles, which may overlap.

    Args:
        boxes: float [m, 4], xyxy in pixels.
        rectangles: int [R, 4], xyxy in the same frame.

    Returns:
        Float64 [m], 0 to 1; 0 for a box without an area.
    """
    # The edges of all rectangles divide the plane into a small grid, whose cells are hidden as a whole or not at all.
    xs, ys = np.unique(rectangles[:, 0::2]), np.unique(rectangles[:, 1::2])
    left, top, right, bottom = (edge[:, None] for edge in rectangles.T)
    columns = (left <= xs[:-1]) & (xs[1:] <= right)
    rows = (top <= ys[:-1]) & (ys[1:] <= bottom)
    is_hidden = np.einsum("ry,rx->yx", rows.astype(int), columns.astype(int)) > 0
    widths, heights = _overlaps(boxes[:, 0::2], xs), _overlaps(boxes[:, 1::2], ys)
    hidden = np.einsum("my,yx,mx->m", heights, is_hidden.astype(float), widths)
    edges = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    areas = edges.prod(axis=1)
    return np.divide(hidden, areas, out=np.zeros_like(areas), where=areas > 0)


def _overlaps(spans: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return the lengths [m, g - 1] that m spans [m, 2] have in common with the intervals of a grid [g]."""
    starts, ends = np.maximum(spans[:, :1], grid[:-1]), np.minimum(spans[:, 1:], grid[1:])
    return np.maximum(ends - starts, 0).astype(np.float64)
