"""Label placement: inside the image, apart from each other and off small objects.

Shape letters: n objects, p candidate positions of a label, a and b boxes.
"""

import numpy as np

MAX_OVERLAP = 0.05
"""Drop a label if every position overlaps others by more than this fraction of its area."""
_OVERLAP_COST = 4.0
"""Cost of covering other labels entirely; hiding one object entirely costs 1."""
_RANK_COST = 0.02
"""Cost of each step down the list of positions: the usual position wins if it hides nothing."""


def place_labels(boxes: np.ndarray, sizes: np.ndarray, image_size: tuple[int, int]) -> list[tuple[float, float] | None]:
    """Find a position for the label of each box; earlier boxes choose first.

    Args:
        boxes: float [n, 4], xyxy in pixels of the image.
        sizes: float [n, 2], (width, height) of the labels, pixels.
        image_size: (width, height), pixels.

    Returns:
        The upper left corner (x, y) of each label, or None where there is no room.
    """
    limit = np.array(image_size, dtype=np.float64)
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1.0)
    placed = np.zeros((0, 4))
    corners: list[tuple[float, float] | None] = []
    for box, size in zip(boxes, sizes, strict=True):
        if (size > limit).any():
            corners.append(None)
            continue
        upper_left = np.clip(_candidate_corners(box, size), 0, limit - size)
        labels = np.concatenate([upper_left, upper_left + size], axis=1)
        hidden = (_intersection(labels, boxes) / areas).sum(axis=1)
        overlap = _intersection(labels, placed).sum(axis=1) / size.prod()
        cost = hidden + _OVERLAP_COST * overlap + _RANK_COST * np.arange(len(labels))
        best = int(np.where(overlap <= MAX_OVERLAP, cost, np.inf).argmin())
        if overlap[best] > MAX_OVERLAP:
            corners.append(None)
            continue
        placed = np.concatenate([placed, labels[best : best + 1]])
        corners.append((float(upper_left[best, 0]), float(upper_left[best, 1])))
    return corners


def _candidate_corners(box: np.ndarray, size: np.ndarray) -> np.ndarray:
    """List upper left corners [p, 2] to try for a label of `size` (width, height) at a box, the usual ones first."""
    left, top, right, bottom = box
    width, height = size
    return np.array(
        [
            (left, top - height),
            (left, top),
            (left, bottom),
            (right - width, top - height),
            (right - width, bottom),
            (left, bottom - height),
            (right, top),
            (left - width, top),
        ]
    )


def _intersection(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute the areas of overlap [a, b] of boxes [a, 4] with boxes [b, 4]."""
    upper_left = np.maximum(first[:, None, :2], second[None, :, :2])
    lower_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.maximum(lower_right - upper_left, 0).prod(axis=2)
