"""COCO's figures of a generated set, by the metric of trainings and by pycocotools, from the same entries in memory."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision, coco_figures
from lightning_rcnn.evaluation.scoring import Curves, RegionType
from lightning_rcnn.masks.run_length import encode_polygons

Library = Literal["pycocotools", "lightning-rcnn"]

HEIGHT, WIDTH = 480, 640
_CORNERS = 24
"""Of the polygon whose pixels are a mask."""


@dataclass(frozen=True)
class ScoringWorkload:
    """A generated set: most detections lie near an object of their image, of the same class.

    Attributes:
        result_type: bbox or segm.
        images, classes: how many.
        objects: of an image, on average (Poisson).
        detections: of an image.
        seed: of all numbers.
    """

    result_type: RegionType = "bbox"
    images: int = 1000
    classes: int = 80
    objects: int = 7
    detections: int = 30
    seed: int = 0

    @property
    def max_detections(self) -> int:
        """All of an image count."""
        return max(100, self.detections)

    @property
    def class_names(self) -> list[str]:
        """Names of the labels 1..K."""
        return [f"class {label}" for label in range(1, self.classes + 1)]

    def images_by_id(self) -> dict[int, "Image"]:
        """Make the set; there are gaps between the ids."""
        draw = np.random.default_rng(self.seed)
        return {3 * number + 1: self._image(draw) for number in range(self.images)}

    def _image(self, draw: np.random.Generator) -> "Image":
        num_objects = int(draw.poisson(self.objects))
        sizes = np.exp(draw.uniform(np.log(8), np.log(300), (num_objects, 2)))
        corners = draw.uniform(0, 1, (num_objects, 2)) * np.maximum([WIDTH, HEIGHT] - sizes, 1)
        boxes, labels = np.hstack([corners, sizes]), draw.integers(1, self.classes + 1, num_objects)
        far = np.hstack([draw.uniform(0, 300, (self.detections, 2)), draw.uniform(8, 150, (self.detections, 2))])
        far_labels = draw.integers(1, self.classes + 1, self.detections)
        if num_objects:
            object_of = draw.integers(0, num_objects, self.detections)
            near = boxes[object_of] + draw.normal(0, 0.1, (self.detections, 4)) * np.tile(sizes[object_of], 2)
            is_near = draw.random(self.detections) < 0.7
            far = np.where(is_near[:, None], near, far)
            far_labels = np.where(is_near, labels[object_of], far_labels)
        far[:, 2:] = np.maximum(far[:, 2:], 1)
        annotations = [
            {"category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": 0, **self._mask(box)}
            for label, box in zip(labels.tolist(), boxes.tolist(), strict=True)
        ]
        place = "bbox" if self.result_type == "bbox" else "segmentation"
        results = [
            {"category_id": label, "score": score, place: box if place == "bbox" else self._mask(box)[place]}
            for label, score, box in zip(
                far_labels.tolist(), draw.random(self.detections).tolist(), far.tolist(), strict=True
            )
        ]
        return Image(annotations, results)

    def _mask(self, box: list[float]) -> dict[str, Any]:
        """An ellipse that fills the box; nothing where boxes are scored."""
        if self.result_type == "bbox":
            return {}
        angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = np.array(box[:2]) + np.array(box[2:]) * (0.5 + 0.5 * circle)
        return {"segmentation": encode_polygons([points.ravel().tolist()], HEIGHT, WIDTH)}


class Image(NamedTuple):
    """Objects and detections in COCO's form."""

    annotations: list[dict[str, Any]]
    results: list[dict[str, Any]]


def scorers(workload: ScoringWorkload) -> dict[Library, Callable[[], dict[str, float]]]:
    """Functions that score the set once and return the twelve figures; the set is in memory before."""
    images = workload.images_by_id()
    return {
        "pycocotools": lambda: _by_pycocotools(images, workload),
        "lightning-rcnn": lambda: _by_ours(images, workload),
    }


def _by_ours(images: dict[int, Image], workload: ScoringWorkload) -> dict[str, float]:
    metric = CocoAveragePrecision(workload.class_names, workload.result_type, workload.max_detections)
    for image_id, image in images.items():
        metric.add_image(image_id, HEIGHT, WIDTH, *image)
    return _twelve(metric.compute())


def _by_pycocotools(images: dict[int, Image], workload: ScoringWorkload) -> dict[str, float]:
    truth = COCO()
    # It writes into the entries.
    annotations = [{**entry, "image_id": key} for key, image in images.items() for entry in image.annotations]
    truth.dataset = {
        "images": [{"id": image_id, "height": HEIGHT, "width": WIDTH} for image_id in images],
        "categories": [{"id": label, "name": name} for label, name in enumerate(workload.class_names, start=1)],
        "annotations": [{**entry, "id": number} for number, entry in enumerate(annotations, start=1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        results = truth.loadRes(
            [{**entry, "image_id": key} for key, image in images.items() for entry in image.results]
        )
        evaluation = COCOeval(truth, results, workload.result_type)
        params = evaluation.params
        params.maxDets = [1, 10, workload.max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    tables = evaluation.eval
    return _twelve(
        coco_figures(
            Curves(tables["precision"][..., -1], tables["recall"], params.iouThrs, params.maxDets, params.areaRngLbl),
            workload.class_names,
        )
    )


def _twelve(figures: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if isinstance(value, float)}
