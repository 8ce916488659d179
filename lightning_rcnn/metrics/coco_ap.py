"""COCO average precision: the matching of pycocotools, summarised for any number of detections an image.

Source: Lin et al., Microsoft COCO, arXiv 1405.0312, and cocodataset.org/#detection-eval.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchmetrics import Metric

from lightning_rcnn.metrics.gathering import score_on_rank_zero
from lightning_rcnn.structures import NO_IMAGE, Detections, ImageRecord

ResultType = Literal["bbox", "segm"]

AREAS = {"all": "", "small": "s", "medium": "m", "large": "l"}
"""COCO's names of areas -> suffix of the figure: up to 32 x 32 pixels, up to 96 x 96, beyond."""


class CocoAveragePrecision(Metric):
    """The twelve figures of the COCO API and the AP of each class.

    Images are kept by their id as small arrays on the host; under DDP they are gathered on rank 0, which scores once.
    Ranks may hold different numbers of images, or none, and an image that two ranks hold counts once.

    Args:
        class_names: foreground classes 1..K.
        result_type: "bbox", or "segm" for masks.
        max_detections: D, the most detections of an image that count.
    """

    full_state_update = False
    higher_is_better = True

    def __init__(self, class_names: Sequence[str], result_type: ResultType = "bbox", max_detections: int = 100) -> None:
        super().__init__()
        self.class_names = list(class_names)
        self.result_type = result_type
        self.max_detections = max_detections
        self._images: dict[int, dict[str, Any]] = {}

    def update(self, detections: Detections, records: Sequence[ImageRecord]) -> None:
        """Add a batch.

        Args:
            detections: in the original frame.
            records: with annotations in the original frame; slots without an image are skipped.
        """
        boxes, scores, labels = (tensor.detach().float().cpu().numpy() for tensor in detections[:3])
        for slot, record in enumerate(records):
            if record.image_id == NO_IMAGE:
                continue
            found = labels[slot] > 0
            corners = boxes[slot, found]
            results = [
                {"category_id": int(label), "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
                for (x1, y1, x2, y2), score, label in zip(
                    corners.tolist(), scores[slot, found].tolist(), labels[slot, found].tolist(), strict=True
                )
            ]
            self.add_image(record.image_id, record.height, record.width, _as_coco(record.annotations), results)

    def add_image(
        self, image_id: int, height: int, width: int, annotations: list[dict[str, Any]], results: list[dict[str, Any]]
    ) -> None:
        """Add one image in COCO's own form.

        Args:
            image_id: of the data set.
            height, width: pixels.
            annotations: `category_id` 1..K, `bbox` (x, y, width, height), `area`, `iscrowd`, perhaps `difficult` and
                `segmentation`.
            results: `category_id`, `score`, and `bbox` or `segmentation`.
        """
        image = {"height": height, "width": width, "annotations": annotations, "results": results}
        self._images[image_id] = image
        # What `Metric` does around `update`: count, and drop the figures of the last `compute`.
        self._update_count += 1
        self._computed = None

    def compute(self) -> dict[str, Any]:
        """The figures as COCO names them, from `AP`, `AP50`, `AP75`, `APs` to `ARl`, and `per_class` by name.

        A figure without any ground truth to it is NaN (the COCO API has -1). Where `max_detections` is not 100, the
        figures are over that many, and `AR100` is named after the number.
        """
        return score_on_rank_zero(self._images, self._score)

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self._images = {}

    def _score(self, images: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
        evaluation = _Evaluation(images, len(self.class_names), self.result_type, self.max_detections)
        precision, recall = evaluation.precision(), evaluation.recall()
        thresholds = evaluation.params.iouThrs
        figures: dict[str, Any] = {"AP": _mean(precision[..., 0, -1])}
        for threshold in (0.5, 0.75):
            figures[f"AP{threshold * 100:.0f}"] = _mean(precision[np.isclose(thresholds, threshold)][..., 0, -1])
        for area, suffix in enumerate(AREAS.values()):
            if suffix:
                figures[f"AP{suffix}"] = _mean(precision[..., area, -1])
        for column, number in enumerate((1, 10, self.max_detections)):
            figures[f"AR{number}"] = _mean(recall[..., 0, column])
        for area, suffix in enumerate(AREAS.values()):
            if suffix:
                figures[f"AR{suffix}"] = _mean(recall[..., area, -1])
        figures["per_class"] = {
            name: _mean(precision[:, :, number, 0, -1]) for number, name in enumerate(self.class_names)
        }
        return figures


class _Evaluation(COCOeval):
    """pycocotools' matching over images held in memory; `difficult` objects are ignored, but no crowds."""

    def __init__(
        self, images: Mapping[int, Mapping[str, Any]], num_classes: int, result_type: ResultType, max_detections: int
    ) -> None:
        truth, results = _data_set(images, num_classes, "annotations"), _data_set(images, num_classes, "results")
        super().__init__(truth, results, result_type)
        self.params.maxDets = [min(number, max_detections) for number in (1, 10)] + [max_detections]
        with contextlib.redirect_stdout(io.StringIO()):
            self.evaluate()
            self.accumulate()

    def _prepare(self) -> None:
        super()._prepare()
        for annotations in self._gts.values():
            for annotation in annotations:
                # The API sets `ignore` from `iscrowd`, whose overlaps are measured otherwise.
                annotation["ignore"] = int(bool(annotation["ignore"]) or bool(annotation.get("difficult", 0)))

    def precision(self) -> np.ndarray:
        """[threshold, recall, class, area, maxDets]; -1 where there is no ground truth."""
        return self.eval["precision"]

    def recall(self) -> np.ndarray:
        """[threshold, class, area, maxDets]; -1 where there is no ground truth."""
        return self.eval["recall"]


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
    """Of a result: of its mask, else of its box, as `COCO.loadRes` does. Annotations bring their own."""
    if "segmentation" in entry and isinstance(entry["segmentation"], dict):
        return float(mask.area(entry["segmentation"]))
    return entry["bbox"][2] * entry["bbox"][3]


def _as_coco(annotations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Packed annotations (see `data/index.Annotation`) in COCO's form."""
    converted = []
    for annotation in annotations:
        x1, y1, x2, y2 = annotation["bbox"]
        entry = {
            key: value for key, value in annotation.items() if key in ("iscrowd", "difficult", "area", "segmentation")
        }
        converted.append({**entry, "category_id": annotation["label"], "bbox": [x1, y1, x2 - x1, y2 - y1]})
    return converted


def _mean(values: np.ndarray) -> float:
    """Over what has ground truth; NaN where nothing has."""
    present = values[values > -1]
    return float(present.mean()) if present.size else float("nan")
