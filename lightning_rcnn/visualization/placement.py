"""Where labels go, so that they stay inside the picture, apart from each other and off small objects."""

import numpy as np

MAX_OVERLAP = 0.05
"""A label of which every place would lie on others by more than this share of its area is left out."""
_OVERLAP_COST = 4.0
"""Of lying on other labels entirely, in objects that are hidden entirely."""
_RANK_COST = 0.02
"""Of each step down the list of places, so that labels are where one looks for them if that hides nothing."""


def place_labels(
    boxes: np.ndarray, sizes: np.ndarray, picture_size: tuple[int, int]
) -> list[tuple[float, float] | None]:
    """Find a place for the label of each box; the first ones choose first.

    Args:
        boxes: float [n, 4], xyxy.
        sizes: float [n, 2], (width, height) of the labels.
        picture_size: (width, height).

    Returns:
        Per box the upper left corner of its label, or None where there is no room.
    """
    picture = np.array(picture_size, dtype=np.float64)
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1.0)
    placed = np.zeros((0, 4))
    corners: list[tuple[float, float] | None] = []
    for box, size in zip(boxes, sizes, strict=True):
        if (size > picture).any():
            corners.append(None)
            continue
        upper_left = np.clip(_places(box, size), 0, picture - size)
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


def _places(box: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Upper left corners [p, 2] to try for a label of (width, height) at a box, the usual ones first."""
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
    """Areas [a, b] of overlap of boxes [a, 4] with boxes [b, 4]."""
    upper_left = np.maximum(first[:, None, :2], second[None, :, :2])
    lower_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.maximum(lower_right - upper_left, 0).prod(axis=2)
