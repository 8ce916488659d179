"""`lightning-rcnn evaluate`: COCO's figures for any results file."""

from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_rcnn.errors import InputError
from lightning_rcnn.metrics.coco_ap import CocoAveragePrecision, ResultType
from lightning_rcnn.metrics.coco_files import read_annotations, read_results
from lightning_rcnn.metrics.report import metrics_tables, write_metrics


def evaluate(
    annotations: Path, results: Path, type: ResultType = "bbox", max_detections: int = 100, json: Path | None = None
) -> None:
    """Score a results file as the COCO API does, with the evaluator that scores trainings.

    Where masks are scored, objects without a usable one are ignored, as are detections in their boxes.

    Args:
        annotations: ground truth, a JSON file in COCO's format.
        results: detections, a JSON list in COCO's results format.
        type: bbox for boxes, segm for masks.
        max_detections: the most detections of an image that count, best first.
        json: also write the figures to this file.
    """
    if max_detections < 1:
        raise InputError(f"--max_detections {max_detections}: at least 1")
    data = read_annotations(annotations, type)
    read_results(results, data, type)
    metric = CocoAveragePrecision(data.class_names, type, max_detections)
    for image_id, image in data.images.items():
        metric.add_image(image_id, image.height, image.width, image.annotations, image.results)
    metrics: dict[str, dict[str, Any]] = {type: metric.compute()}
    Console().print(metrics_tables(metrics, f"{results.name}: {len(data.images)} images"))
    objects = [annotation for image in data.images.values() for annotation in image.annotations]
    without_mask = sum("segmentation" not in annotation for annotation in objects) if type == "segm" else 0
    if without_mask:
        print(f"{without_mask} of {len(objects)} objects have no usable mask: neither they nor detections there count.")
    if json is not None:
        write_metrics(json, metrics, epoch=None, step=None)
