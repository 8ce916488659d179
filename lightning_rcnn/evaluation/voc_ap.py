"""PASCAL VOC's average precision as in its development kit: at one IoU, by area and by eleven points.

The kit counts pixels from 1, and a box includes its last pixel, so it is xmax - xmin + 1 wide. Here boxes are edges:
(xmin - 1, ymin - 1, xmax, ymax) of the kit's box, which is what `pack voc` writes. x2 - x1 is the kit's width including
its + 1, so overlaps of edges equal the kit's overlaps, and nothing is added to them here. So detections
(x1, y1, x2, y2) on packed annotations score what the kit gives (x1 + 1, y1 + 1, x2, y2) on the XML files, except where
packing repairs: it skips boxes with xmin = xmax and clips boxes to the image. Annotations packed as `zero_based` are
edges already.

Source: Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010, section 4.2 (eleven points, the
challenges up to 2009), and `VOCevaldet.m`, `VOCap.m` of the development kits from 2010 on (area).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torchmetrics import Metric

from lightning_rcnn.evaluation.coco_ap import PER_CLASS
from lightning_rcnn.evaluation.federated import is_judged
from lightning_rcnn.evaluation.gathering import join_arrays, score_on_rank_zero, split_arrays
from lightning_rcnn.evaluation.voc_matching import FALSE, TRUE, UNCOUNTED, judge
from lightning_rcnn.structures import NO_IMAGE, Detections, ImageRecord, LabelLists

ELEVEN_POINT = "_11_point"
"""Suffix of the names of eleven-point metrics."""
PER_CLASS_11_POINT = PER_CLASS + ELEVEN_POINT


class JudgedImage(NamedTuple):
    """Judged detections of an image.

    Attributes:
        labels: int64 [D], labels of the detections that count.
        scores: float64 [D], their scores.
        is_true: bool [D], whether they are true positives.
        gt_labels: int64 [M], labels of the objects to be found.
    """

    labels: np.ndarray
    scores: np.ndarray
    is_true: np.ndarray
    gt_labels: np.ndarray


class VOCAveragePrecision(Metric):
    """VOC's AP of each class and their mean.

    Difficult objects need not be found, and detections of them are not false positives. The same holds for COCO's
    crowds, which VOC does not have; a detection is ignored only if it overlaps the whole crowd (COCO also ignores
    detections of its parts). All detections of an image count. In a federated set a detection counts only where LVIS's
    rules judge it (see `federated.py`).

    Ties of scores are ordered by image id, then by the order of adding. Under DDP, each rank judges its images; labels,
    scores and verdicts are gathered on rank 0. Ranks may hold different numbers of
    images, or none, and an image that two ranks hold counts once.

    Args:
        class_names: foreground classes 1..K.
        iou_threshold: lowest IoU of a true positive with its object; VOC's is 0.5.
    """

    full_state_update = False
    higher_is_better = True

    def __init__(self, class_names: Sequence[str], iou_threshold: float = 0.5) -> None:
        super().__init__()
        self.class_names = list(class_names)
        self.iou_threshold = iou_threshold
        self._images: dict[int, JudgedImage] = {}

    def update(self, detections: Detections, records: Sequence[ImageRecord]) -> None:
        """Add a batch.

        Args:
            detections: detections with boxes in the original frame.
            records: records with annotations in the original frame; slots without an image are skipped.
        """
        boxes, scores = detections.boxes.double().cpu().numpy(), detections.scores.double().cpu().numpy()
        labels = detections.labels.cpu().numpy()
        for slot, record in enumerate(records):
            if record.image_id == NO_IMAGE:
                continue
            is_detection = labels[slot] > 0
            self._images[record.image_id] = self._judge(
                boxes[slot, is_detection],
                labels[slot, is_detection],
                scores[slot, is_detection],
                _boxes([annotation["bbox"] for annotation in record.annotations]),
                [annotation["label"] for annotation in record.annotations],
                [annotation["iscrowd"] or annotation["difficult"] for annotation in record.annotations],
                record.label_lists,
            )

    def add_image(
        self,
        image_id: int,
        annotations: list[dict[str, Any]],
        results: list[dict[str, Any]],
        lists: LabelLists | None = None,
    ) -> None:
        """Add one image in COCO's own form.

        Args:
            image_id: id of the image in the data set.
            annotations: `category_id` 1..K, `bbox` (x, y, width, height), perhaps `iscrowd` and `difficult`.
            results: `category_id`, `score` and `bbox`.
            lists: lists of an image of a federated set.
        """
        self._images[image_id] = self._judge(
            _edges([result["bbox"] for result in results]),
            np.array([result["category_id"] for result in results], dtype=np.int64),
            np.array([result["score"] for result in results], dtype=np.float64),
            _edges([annotation["bbox"] for annotation in annotations]),
            [annotation["category_id"] for annotation in annotations],
            [annotation.get("iscrowd") or annotation.get("difficult") for annotation in annotations],
            lists,
        )
        # `Metric` does this around `update`: count, and drop the cached result of `compute`.
        self._update_count += 1
        self._computed = None

    def compute(self) -> dict[str, Any]:
        """Return `AP50` by area and `AP50_11_point`, and `per_class` and `per_class_11_point` by class name.

        The number is the IoU in percent. A class without objects to be found is NaN and not in the mean.
        """
        return score_on_rank_zero(join_arrays(self._images), lambda parts: self._score(split_arrays(parts)))

    def reset(self) -> None:
        """Remove all images."""
        super().reset()
        self._images = {}

    def _judge(
        self,
        boxes: np.ndarray,
        labels: np.ndarray,
        scores: np.ndarray,
        gt_boxes: np.ndarray,
        gt_labels: list[int],
        ignored: list[Any],
        lists: LabelLists | None,
    ) -> JudgedImage:
        gt_label_array, is_ignored = np.array(gt_labels, dtype=np.int64), np.array(ignored, dtype=bool)
        if lists is not None:
            is_known = is_judged(labels, gt_label_array, lists)
            boxes, labels, scores = boxes[is_known], labels[is_known], scores[is_known]
        verdicts = judge(boxes, labels, scores, gt_boxes, gt_label_array, is_ignored, self.iou_threshold)
        if lists is not None:
            verdicts[(verdicts == FALSE) & np.isin(labels, lists.not_exhaustive)] = UNCOUNTED
        counts = verdicts != UNCOUNTED
        return JudgedImage(labels[counts], scores[counts], verdicts[counts] == TRUE, gt_label_array[~is_ignored])

    def _score(self, images: Mapping[int, tuple[np.ndarray, ...]]) -> dict[str, Any]:
        nothing = JudgedImage(*(np.zeros(0, kind) for kind in (np.int64, np.float64, bool, np.int64)))
        in_order = [images[image_id] for image_id in sorted(images)]
        labels, scores, is_true, gt_labels = map(np.concatenate, zip(nothing, *in_order, strict=True))
        # lexsort is stable.
        order = np.lexsort((-scores, labels))
        starts = np.searchsorted(labels[order], np.arange(1, len(self.class_names) + 2))
        num_objects = np.bincount(gt_labels, minlength=len(self.class_names) + 1)
        by_area, by_points = {}, {}
        for label, name in enumerate(self.class_names, start=1):
            of_class = is_true[order[starts[label - 1] : starts[label]]]
            by_area[name] = area_under_curve(of_class, int(num_objects[label]))
            by_points[name] = mean_of_eleven_points(of_class, int(num_objects[label]))
        figure = f"AP{100 * self.iou_threshold:g}"
        return {
            figure: _mean(by_area.values()),
            figure + ELEVEN_POINT: _mean(by_points.values()),
            PER_CLASS: by_area,
            PER_CLASS_11_POINT: by_points,
        }


def area_under_curve(is_true: np.ndarray, num_objects: int) -> float:
    """Return VOC's AP from 2010 on: the mean over all objects of the best precision at or beyond their recall.

    Args:
        is_true: bool [D], detections of a class, best first.
        num_objects: number of objects to be found.

    Returns:
        The AP; NaN without objects.
    """
    if not num_objects:
        return float("nan")
    return float(_best_precision(is_true)[is_true].sum() / num_objects)


def mean_of_eleven_points(is_true: np.ndarray, num_objects: int) -> float:
    """Return VOC's AP up to 2009: the mean of the best precision at or beyond the recalls 0, .1, ..., 1.

    Recalls are compared as fractions: 3 of 10 objects reach .3. (In floating point, three steps of .1 are more.)

    Args:
        is_true: bool [D], detections of a class, best first.
        num_objects: number of objects to be found.

    Returns:
        The AP; NaN without objects.
    """
    if not num_objects:
        return float("nan")
    precision = np.append(_best_precision(is_true), 0.0)
    reached_at = np.searchsorted(10 * np.cumsum(is_true), num_objects * np.arange(11))
    return float(precision[reached_at].mean())


def _best_precision(is_true: np.ndarray) -> np.ndarray:
    """Return for each detection the best precision at it or at a later one."""
    precision = np.cumsum(is_true) / np.arange(1, len(is_true) + 1)
    return np.maximum.accumulate(precision[::-1])[::-1]


def _mean(values: Iterable[float]) -> float:
    """Return the mean over the classes with objects; NaN if none has any."""
    present = [value for value in values if not np.isnan(value)]
    return float(np.mean(present)) if present else float("nan")


def _boxes(boxes: list[list[float]]) -> np.ndarray:
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _edges(boxes: list[list[float]]) -> np.ndarray:
    """Return the edges of boxes in COCO's form: x, y, width, height."""
    corners = _boxes(boxes)
    corners[:, 2:] += corners[:, :2]
    return corners
