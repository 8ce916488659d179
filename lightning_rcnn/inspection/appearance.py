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
    used = np.isin(labels, known)
    centers = np.stack([_center(features[labels == label]) for label in known])
    residuals = features[used] - centers[np.searchsorted(known, labels[used])]
    # Swapped labels must not widen the classes: residuals are limited to what most have.
    limit = np.quantile(np.abs(residuals), 0.95, axis=0)
    covariance = np.cov(np.clip(residuals, -limit, limit), rowvar=False)
    independent = np.diag(np.diag(covariance) + 1e-6)
    precision = np.linalg.inv((1 - _SHRINKAGE) * covariance + _SHRINKAGE * independent)
    offsets = ((centers @ precision) * centers).sum(axis=1) / 2
    doubtful: dict[int, tuple[float, int]] = {}
    scores = features @ (precision @ centers.T).astype(np.float32) - offsets.astype(np.float32)
    for own, label in enumerate(known):
        members = np.flatnonzero(labels == label)
        for other in range(len(known)):
            if other == own:
                continue
            margins = scores[members, own] - scores[members, other]
            typical = float(np.median(margins))
            back = scores[labels == known[other]]
            if not (_is_clear(margins, typical) and _is_clear(back[:, other] - back[:, own], typical)):
                continue
            for index in np.flatnonzero(margins <= -typical / 2).tolist():
                number, margin = int(members[index]), float(margins[index])
                if margin < doubtful.get(number, (0.0, 0))[0]:
                    doubtful[number] = margin, int(known[other])
    return {number: label for number, (_, label) in doubtful.items()}


def _is_clear(margins: np.ndarray, typical: float) -> bool:
    """Tell whether nearly all objects of a class have a good part of the typical margin."""
    unclear = int((margins < typical / 4).sum())
    return typical >= LEAST_MARGIN and unclear <= max(2, MOST_UNCLEAR * len(margins))


def _center(features: np.ndarray) -> np.ndarray:
    """Return the median of a class, which few wrong labels do not move."""
    return np.median(features, axis=0)
