"""The COCO API's evaluation over images held in memory, with a faster matching of detections and objects."""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

ResultType = Literal["bbox", "segm"]


class Evaluation(COCOeval):
    """pycocotools' evaluation, done when made; `difficult` objects are ignored, but no crowds.

    Args:
        images: by id: `height`, `width`, and `annotations` and `results` in COCO's form, with labels 1..K as categories
            and masks as compressed RLE.
        num_classes: K.
        result_type: what is compared.
        max_detections: the most detections of an image that count, best first.
    """

    def __init__(
        self, images: Mapping[int, Mapping[str, Any]], num_classes: int, result_type: ResultType, max_detections: int
    ) -> None:
        truth, results = _data_set(images, num_classes, "annotations"), _data_set(images, num_classes, "results")
        super().__init__(truth, results, result_type)
        self.params.maxDets = sorted({min(number, max_detections) for number in (1, 10, max_detections)})
        with contextlib.redirect_stdout(io.StringIO()):
            self.evaluate()
            self.accumulate()

    def precision(self) -> np.ndarray:
        """[threshold, recall, class, area, maxDets]; -1 where there is no ground truth."""
        return self.eval["precision"]

    def recall(self) -> np.ndarray:
        """[threshold, class, area, maxDets]; -1 where there is no ground truth."""
        return self.eval["recall"]

    def _prepare(self) -> None:
        super()._prepare()
        for annotations in self._gts.values():
            for annotation in annotations:
                # The API sets `ignore` from `iscrowd`, whose overlaps are measured otherwise.
                annotation["ignore"] = int(bool(annotation["ignore"]) or bool(annotation.get("difficult", 0)))

    def evaluateImg(  # noqa: N802  # as the API calls it
        self, image_id: int, category_id: int, area_range: Sequence[float], max_detections: int
    ) -> dict[str, Any] | None:
        """What `accumulate` wants to know of one image, class and range of areas, as the API's own method has it."""
        objects, found = self._gts[image_id, category_id], self._dts[image_id, category_id]
        if not objects and not found:
            return None
        smallest, largest = area_range
        scores = np.array([one["score"] for one in found])
        best = np.argsort(-scores, kind="stable")[:max_detections]
        is_ignored = np.array([one["ignore"] or not smallest <= one["area"] <= largest for one in objects], dtype=bool)
        is_crowd = [bool(one["iscrowd"]) for one in objects]
        # The API computes them in the order of scores; where either are none it has an empty list.
        ious = np.reshape(self.ious[image_id, category_id], (len(best), len(objects)))
        matches = match(ious, self.params.iouThrs, is_ignored, is_crowd)
        is_matched = matches >= 0
        areas = np.array([found[i]["area"] for i in best])
        of_other_size = (areas < smallest) | (areas > largest)
        return {
            "dtScores": scores[best],
            "dtMatches": is_matched,
            "dtIgnore": np.where(is_matched, np.append(is_ignored, False)[matches], of_other_size),
            "gtIgnore": is_ignored,
        }


def match(
    ious: np.ndarray, thresholds: Iterable[float], is_ignored: np.ndarray, is_crowd: Sequence[bool]
) -> np.ndarray:
    """Give each detection, best first, the free object that it overlaps most, at each threshold.

    Objects that are not ignored come before all that are, and of equal ones the last. A crowd is always free. Only
    pairs above the threshold are looked at, which are few: the API's own method looks at all of them.

    Args:
        ious: float [detections, objects], the best detection first.
        thresholds: T of them; the least overlap of a pair.
        is_ignored: bool [objects].
        is_crowd: of each object.

    Returns:
        int64 [T, detections], the object of each; -1 for none.
    """
    limits = [min(threshold, 1 - 1e-10) for threshold in thresholds]
    matches = np.full((len(limits), len(ious)), -1)
    detections, objects = np.nonzero(ious >= min(limits))
    if not len(detections):
        return matches
    overlaps = ious[detections, objects]
    wanted = np.lexsort((-objects, -overlaps, is_ignored[objects], detections))
    detections, objects, overlaps = detections[wanted], objects[wanted], overlaps[wanted]
    for limit, row in zip(limits, matches, strict=True):
        is_close = overlaps >= limit
        taken: set[int] = set()
        last = -1
        for detection, one in zip(detections[is_close].tolist(), objects[is_close].tolist(), strict=True):
            if detection != last and (one not in taken or is_crowd[one]):
                row[detection] = one
                taken.add(one)
                last = detection
    return matches


def _data_set(
    images: Mapping[int, Mapping[str, Any]], num_classes: int, kind: Literal["annotations", "results"]
) -> COCO:
    """A COCO object of all images' annotations, or of all results."""
    coco = COCO()
    coco.dataset = {
        "images": [
            {"id": image_id, "height": image["height"], "width": image["width"]} for image_id, image in images.items()
        ],
        "categories": [{"id": label} for label in range(1, num_classes + 1)],
        "annotations": [
            {"iscrowd": 0, **entry, "area": entry["area"] if "area" in entry else _area(entry), "image_id": image_id}
            for image_id, image in sorted(images.items())
            for entry in image[kind]
        ],
    }
    for number, entry in enumerate(coco.dataset["annotations"], start=1):
        entry["id"] = number
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _area(entry: Mapping[str, Any]) -> float:
    """Of the mask, else of the box, as `COCO.loadRes` does for results; annotations mostly bring their own."""
    if "segmentation" in entry:
        return float(mask.area(entry["segmentation"]))
    return entry["bbox"][2] * entry["bbox"][3]
