"""The verdicts of all images as columns, the input of every figure of the analysis.

Shape letters: D detections and G objects of all images.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lightning_rcnn.evaluation.analysis.verdicts import Kind, Verdicts, image_cost


class Detected(NamedTuple):
    """Columns [D] of the detections.

    Attributes:
        scores: float64.
        labels: int64, 1..K.
        kinds: int64, `Kind`.
        objects: int64, row in `Objects` of the object that it finds or should find; -1 for none.
        regardless: int64, row of the object that it is matched to if classes are ignored; -1 for none.
        images: int64, row of its image.
    """

    scores: np.ndarray
    labels: np.ndarray
    kinds: np.ndarray
    objects: np.ndarray
    regardless: np.ndarray
    images: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Bool [D]: detections that are not ignored."""
        return self.kinds != Kind.IGNORED

    @property
    def is_true(self) -> np.ndarray:
        """Bool [D]: true positives."""
        return self.kinds == Kind.TRUE


class Objects(NamedTuple):
    """Columns [G] of the objects.

    Attributes:
        labels: int64, 1..K.
        areas: float64, pixels.
        is_scored: bool; False for crowds and difficult objects.
        found_by: int64, row in `Detected` of its true positive; -1 for none.
        images: int64, row of its image.
    """

    labels: np.ndarray
    areas: np.ndarray
    is_scored: np.ndarray
    found_by: np.ndarray
    images: np.ndarray


class Tables(NamedTuple):
    """Columns of all images.

    Attributes:
        image_ids: ids of the images, increasing.
        costs: float64 [images], as `image_cost` returns.
        detections, objects: columns.
    """

    image_ids: list[int]
    costs: np.ndarray
    detections: Detected
    objects: Objects


def tabulate(images: Mapping[int, Verdicts]) -> Tables:
    """Concatenate the verdicts of all images, ordered by image id, so that ties are ranked as in COCO."""
    image_ids = sorted(images)
    detections = [np.zeros((5, 0)), *(images[image_id][0] for image_id in image_ids)]
    objects = [np.zeros((4, 0)), *(images[image_id][1] for image_id in image_ids)]
    num_detections, num_objects = ([part.shape[1] for part in parts[1:]] for parts in (detections, objects))
    first_detection = _starts(num_detections, num_objects)
    first_object = _starts(num_objects, num_detections)
    scores, labels, kinds, matches, regardless = np.concatenate(detections, axis=1)
    object_labels, areas, is_scored, finders = np.concatenate(objects, axis=1)
    rows = np.arange(len(image_ids))
    detected = Detected(
        scores,
        labels.astype(np.int64),
        kinds.astype(np.int64),
        _shifted(matches, first_object),
        _shifted(regardless, first_object),
        np.repeat(rows, num_detections),
    )
    found_by = _shifted(finders, first_detection)
    columns = Objects(object_labels.astype(np.int64), areas, is_scored > 0, found_by, np.repeat(rows, num_objects))
    costs = np.array([image_cost(images[image_id]) for image_id in image_ids], dtype=np.float64)
    return Tables(image_ids, costs, detected, columns)


def rows_of_groups(groups: np.ndarray, num_groups: int) -> list[np.ndarray]:
    """Return the rows of each group, 0 to `num_groups` - 1, in their order."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.searchsorted(groups[order], np.arange(1, num_groups)))


def _starts(lengths: list[int], repeats: list[int]) -> np.ndarray:
    """Return the row where each image starts, repeated for each entry of the other table."""
    return np.repeat(np.cumsum([0, *lengths])[:-1], repeats)


def _shifted(numbers: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Turn indices within images into rows; keep -1."""
    return np.where(numbers < 0, -1, numbers + starts).astype(np.int64)
