"""Objects whose look and size are those of another class than their label says.

Each object is a small picture of its box (4 x 4 colors) with its size and shape. The classes of a set are taken for
normal distributions with one covariance (linear discriminant analysis), so that each object has a margin: how much
better its own class explains it than another one. A label is doubtful only where two classes are clearly apart: nearly
all objects have a large margin, and this one has a margin as large on the wrong side. Classes that cannot be told apart
like this, as in most photos, give no finding.

Shape letters: M objects, D features.
"""

import cv2
import numpy as np

SIDE = 4
NUM_COLORS = SIDE * SIDE * 3
"""Bytes of the small picture of an object."""
LEAST_OBJECTS = 20
"""Objects of a class that are enough to know its look."""
MOST_UNCLEAR = 0.01
"""Share of the objects of a class, or two objects, that may be not clearly nearer to it than to another class."""
LEAST_MARGIN = 8.0
"""Median margin, in units of log likelihood, of classes that are clearly apart."""
_SAMPLED = 50_000
"""Objects by which classes are described."""
_SHRINKAGE = 0.05
"""Weight of independent features in the covariance, for sets of few objects."""


def object_colors(pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return a picture of `SIDE` x `SIDE` colors of each object.

    Args:
        pixels: uint8 RGB [h, w, 3].
        boxes: float [M, 4], xyxy in pixels of that image.

    Returns:
        uint8 [M, `NUM_COLORS`].
    """
    height, width = pixels.shape[:2]
    corners = np.nan_to_num(boxes, posinf=0, neginf=0)
    left, top = (np.clip(corners[:, axis], 0, size - 1).astype(int) for axis, size in ((0, width), (1, height)))
    right = np.clip(np.ceil(corners[:, 2]).astype(int), left + 1, width)
    bottom = np.clip(np.ceil(corners[:, 3]).astype(int), top + 1, height)
    colors = np.empty((len(boxes), NUM_COLORS), np.uint8)
    for number, (x1, y1, x2, y2) in enumerate(zip(left, top, right, bottom, strict=True)):
        crop = pixels[y1:y2, x1:x2]
        colors[number] = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel()
    return colors


def features_of(colors: np.ndarray, boxes: np.ndarray, image_sizes: np.ndarray) -> np.ndarray:
    """Return the features of objects, float32 [M, D].

    Args:
        colors: uint8 [M, `NUM_COLORS`].
        boxes: float [M, 4].
        image_sizes: (height, width) of the image of each object, [M, 2].
    """
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3)
    size = np.log(np.sqrt(sides.prod(axis=1) / image_sizes.prod(axis=1)))
    shape = np.abs(np.log(sides[:, 1] / sides[:, 0]))
    return np.column_stack((colors / np.float32(255), size, shape)).astype(np.float32)


def doubtful_labels(features: np.ndarray, labels: np.ndarray) -> dict[int, int]:
    """Return the objects whose look is that of another class: number of the object -> label of that class.

    Args:
        features: float32 [M, D].
        labels: int [M], 1..K.
    """
    names, counts = np.unique(labels, return_counts=True)
    known = names[counts >= LEAST_OBJECTS]
    if len(known) < 2:
        return {}
    members = [np.flatnonzero(labels == label) for label in known]
    centers = np.stack([_center(features[numbers]) for numbers in members])
    precision = _precision(features, labels, known, centers)
    offsets = ((centers @ precision) * centers).sum(axis=1) / 2
    weights = (precision @ centers.T).astype(np.float32)
    margins: list[np.ndarray] = []  # of the objects of each class: how much better it explains them than each class
    for own, numbers in enumerate(members):
        scores = features[numbers] @ weights - offsets.astype(np.float32)
        margins.append(scores[:, own, None] - scores)
    typical = np.stack([np.median(one, axis=0) for one in margins])
    unclear = np.stack([(one < middle / 4).sum(axis=0) for one, middle in zip(margins, typical, strict=True)])
    most = np.array([max(2.0, MOST_UNCLEAR * len(numbers)) for numbers in members])
    is_clear = (typical >= LEAST_MARGIN) & (unclear <= most[:, None])
    is_clear &= is_clear.T  # both ways
    doubtful: dict[int, int] = {}
    for own, numbers in enumerate(members):
        others = np.where(is_clear[own] & (margins[own] <= -typical[own] / 2), margins[own], np.inf)
        for index in np.flatnonzero(np.isfinite(others).any(axis=1)).tolist():
            doubtful[int(numbers[index])] = int(known[others[index].argmin()])
    return doubtful


def _precision(features: np.ndarray, labels: np.ndarray, known: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return the inverse of the covariance that all classes share, [D, D]."""
    used = np.flatnonzero(np.isin(labels, known))
    used = used[:: max(1, len(used) // _SAMPLED)]
    residuals = features[used] - centers[np.searchsorted(known, labels[used])]
    # Swapped labels must not widen the classes: residuals are limited to what most have.
    limit = np.quantile(np.abs(residuals), 0.95, axis=0)
    covariance = np.cov(np.clip(residuals, -limit, limit), rowvar=False)
    independent = np.diag(np.diag(covariance) + 1e-6)
    return np.linalg.inv((1 - _SHRINKAGE) * covariance + _SHRINKAGE * independent)


def _center(features: np.ndarray) -> np.ndarray:
    """Return the median of a class, which few wrong labels do not move."""
    return np.median(features[:: max(1, len(features) // _SAMPLED)], axis=0)
