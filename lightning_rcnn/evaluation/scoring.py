"""COCO's and LVIS's matching and precision by recall, by hotcoco; it needs neither torch nor what others measure.

An image is matched when it is added. What stays of it are the scores and verdicts of its detections, about 40 bytes
each, so the masks of a validation never lie in memory together, and little travels between ranks.

Shape letters: T IoU thresholds, R recalls, K classes, A ranges of areas, L limits of detections.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from hotcoco import Params, StreamingEval

from lightning_rcnn.data.keypoints import PIXEL_CENTER

RegionType = Literal["bbox", "segm"]
"""What has an IoU: boxes and masks."""
ResultType = Literal["bbox", "segm", "keypoints"]

IGNORED_AREA = 2e10
"""Beyond the largest of COCO's ranges (1e5 ** 2): an object of this area is ignored in each of them, but no crowd."""
_CLASSES_AT_ONCE = 128
"""Whose curves the library lays out at a time. Of 1203 classes together they take 450 MB."""


class Curves(NamedTuple):
    """COCO's two tables; -1 where there is no ground truth. For keypoints IoU is object keypoint similarity (OKS).

    Attributes:
        precision: float64 [T, R, K, A], with the largest number of detections.
        recall: float64 [T, K, A, L].
        iou_thresholds: float64 [T], .5 to .95.
        limits: L numbers of detections of an image and class, increasing (COCO's maxDets).
        areas: COCO's names of the A ranges of areas.
    """

    precision: np.ndarray
    recall: np.ndarray
    iou_thresholds: np.ndarray
    limits: list[int]
    areas: list[str]


class Scoring:
    """Matches images one by one.

    Args:
        num_classes: K; labels are 1..K.
        result_type: what is compared.
        max_detections: the most detections of an image and class that count, best first.
        is_federated: whether the rules are those of LVIS (see `federated.py`), which has one limit of detections only,
            that of `judged_results`.
        oks_sigmas: for keypoints, the standard deviation of each, see `KeypointRCNN`; they have one limit, too.
    """

    def __init__(
        self,
        num_classes: int,
        result_type: ResultType,
        max_detections: int,
        *,
        is_federated: bool = False,
        oks_sigmas: Sequence[float] = (),
    ) -> None:
        params = Params(result_type)
        if result_type == "keypoints":
            params.kpt_oks_sigmas = list(oks_sigmas)
        has_one_limit = is_federated or result_type == "keypoints"
        limits = (
            {max_detections} if has_one_limit else {min(number, max_detections) for number in (1, 10, max_detections)}
        )
        params.max_dets = sorted(limits)
        # Each needs a name, by which nothing is looked up here.
        categories = [{"id": label, "name": str(label)} for label in range(1, num_classes + 1)]
        self._no_keypoints = [0.0] * (3 * len(oks_sigmas))
        self._evaluator = StreamingEval(categories, result_type, lvis_style=is_federated, params=params)

    def add(
        self,
        image_id: int,
        annotations: Sequence[Mapping[str, Any]],
        results: Sequence[Mapping[str, Any]],
        negative: Sequence[int] = (),
        not_exhaustive: Sequence[int] = (),
    ) -> None:
        """Match one image; one that was added before is replaced.

        Args:
            image_id: 0 or more. Of equal scores, those of the image with the lower id come first.
            annotations: `category_id`, `area`, `bbox` (x, y, width, height) or `segmentation` (compressed RLE), for
                keypoints `bbox`, `keypoints` (empty if none is labeled) and perhaps `num_keypoints`, where the file
                states it; perhaps `iscrowd`, and `difficult` for an object that is ignored.
            results: `category_id`, `score`, and `bbox`, `segmentation`, or `keypoints` and perhaps `bbox`.
            negative, not_exhaustive: labels of absent classes, and of those that are not annotated exhaustively, in a
                federated set.

        Raises:
            KeyError: a category is none of 1..K.
            ValueError: a score is NaN.
        """
        objects = [
            {**self._as_ground_truth(entry), "id": number, "image_id": image_id}
            for number, entry in enumerate(annotations, start=1)
        ]
        image = {
            "id": image_id,
            "neg_category_ids": list(negative),
            "not_exhaustive_category_ids": list(not_exhaustive),
        }
        self._evaluator.update([image], objects, [{**_as_result(entry), "image_id": image_id} for entry in results])

    def _as_ground_truth(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return an object as COCO's rules want it; they ignore one of that area, and one that states no keypoints."""
        is_ignored = bool(entry.get("difficult"))
        if "keypoints" not in entry:
            return {**entry, "area": IGNORED_AREA if is_ignored else entry["area"]}
        keypoints = [] if is_ignored else entry["keypoints"]
        num_labeled = sum(visibility > 0 for visibility in keypoints[2::3])
        return {
            **entry,
            "keypoints": _in_cocos_frame(keypoints) if keypoints else self._no_keypoints,
            "num_keypoints": 0 if is_ignored else entry.get("num_keypoints", num_labeled),
        }

    def state(self) -> bytes:
        """All that was added, for `curves_of` on this or another rank."""
        return self._evaluator.to_bytes()


def _as_result(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**entry, "keypoints": _in_cocos_frame(entry["keypoints"])} if "keypoints" in entry else entry


def _in_cocos_frame(keypoints: Sequence[float]) -> list[float]:
    """Give each keypoint as the index of its pixel, as COCO's files do, whose boxes it compares them with."""
    return [value if number % 3 == 2 else value - PIXEL_CENTER for number, value in enumerate(keypoints)]


def curves_of(states: Iterable[bytes]) -> Curves:
    """The curves over the images of all `states`, of which one at a time is held.

    Args:
        states: at least one, all of a `Scoring` with the same arguments. Of an image in several the last one counts.
    """
    evaluator = StreamingEval.merge(map(StreamingEval.from_bytes, states)).finalize()
    labels = evaluator.params.cat_ids
    precision, recall = [], []
    for start in range(0, len(labels), _CLASSES_AT_ONCE):
        evaluator.params.cat_ids = labels[start : start + _CLASSES_AT_ONCE]
        evaluator.accumulate()
        tables = evaluator.eval
        assert tables is not None
        precision.append(tables["precision"][..., -1].copy())
        recall.append(tables["recall"])
    params = evaluator.params
    return Curves(
        np.concatenate(precision, axis=2),
        np.concatenate(recall, axis=1),
        np.array(params.iou_thrs),
        params.max_dets,
        params.area_rng_lbl,
    )
