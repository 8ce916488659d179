"""Tables of an error analysis in W&B: images with errors, and classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import wandb
from PIL import Image
from pycocotools import mask as coco_mask

from lightning_rcnn.callbacks.wandb_overlays import (
    GROUND_TRUTH,
    LOWEST_SCORE,
    MAX_CLASSES,
    PREDICTIONS,
    box_overlay,
    captions_of,
    class_overlay,
)
from lightning_rcnn.evaluation.analysis.analysis import Analysis, ImageFigures
from lightning_rcnn.evaluation.analysis.collecting import WorstImage
from lightning_rcnn.evaluation.analysis.costs import MISSED
from lightning_rcnn.evaluation.analysis.verdicts import Kind
from lightning_rcnn.masks.run_length import RunLength
from lightning_rcnn.visualization import Objects

MAX_ROWS = 1000
"""Largest number of images in the table of errors; only those of the report's gallery are shown."""
MAX_BOXES = 200
"""Largest number of objects, and of detections, over an image of a table."""


def error_table(
    analysis: Analysis,
    worst: Sequence[WorstImage],
    file_names: Mapping[int, str],
    class_names: Sequence[str],
    folder: Path,
) -> wandb.Table:
    """Build the table of images with errors, the worst first.

    Args:
        analysis: analysis of an evaluation; its counts are those at the threshold with the best F1.
        worst: images that are shown.
        file_names: image id -> name; may lack some.
        class_names: names of labels 1..K.
        folder: folder for image files, which must exist until the table is logged.
    """
    names = _names_in(worst, class_names)
    with_masks = analysis.result_type == "segm" and max(names, default=0) <= MAX_CLASSES
    shown = {one.image_id: _shown(one, names, with_masks, folder) for one in worst if one.jpeg is not None}
    # Of images with equal errors those that are shown come first.
    images = sorted(analysis.images, key=lambda one: (-one.cost, one.image_id not in shown))
    rows = [
        [
            file_names.get(one.image_id) or f"image {one.image_id}",
            shown.get(one.image_id),
            _main_kind(one),
            one.ap50,
            one.found,
            sum(one.errors.values()),
            one.num_objects - one.found,
            one.num_objects,
            one.cost,
            *one.errors.values(),
        ]
        for one in images[:MAX_ROWS]
    ]
    kinds = [kind for kind in analysis.errors if kind != MISSED]
    columns: list[str | int] = ["file name", "image", "kind", "AP50", "TP", "FP", "FN", "objects", "error", *kinds]
    return wandb.Table(columns=columns, data=rows)


def class_table(analysis: Analysis, average_precisions: Mapping[str, float]) -> wandb.Table:
    """Build the table of classes, that with the largest loss first.

    Args:
        analysis: analysis of an evaluation; its counts are those at the threshold with the best F1 over all classes.
        average_precisions: class name -> AP at IoU .50 to .95, NaN without objects; may lack some.
    """
    columns: list[str | int] = [
        *("class", "lost AP50", "AP", "AP50", "objects", "TP", "FP", "FN"),
        *("best F1", "threshold", "precision", "recall", "detections"),
        *(f"cost of {kind}" for kind in analysis.errors),
    ]
    rows = []
    for one in analysis.classes:
        average = average_precisions.get(one.name) if one.num_objects else None
        best = one.best
        rows.append(
            [
                *(one.name, one.lost, average, one.ap50, one.num_objects),
                *(one.found, sum(one.errors.values()), one.missed),
                *((best.f1, best.score, best.precision, best.recall) if best else [None] * 4),
                one.num_detections,
                *(one.costs.get(kind) for kind in analysis.errors),
            ]
        )
    return wandb.Table(columns=columns, data=rows)


def _main_kind(image: ImageFigures) -> str | None:
    """Return the kind of most errors at the threshold, TIDE's first if several are equal; None without any."""
    counts = image.errors | {MISSED: image.num_objects - image.found}
    kind = max(counts, key=lambda kind: counts[kind])
    return kind if counts[kind] else None


def _names_in(images: Sequence[WorstImage], class_names: Sequence[str]) -> dict[int, str]:
    """Return the names of the labels in some images: W&B takes seconds for a thousand names."""
    labels = {int(label) for one in images for label in (*one.verdicts.objects[0], *one.verdicts.detections[1])}
    return {label: class_names[label - 1] for label in sorted(labels)}


def _shown(worst: WorstImage, names: Mapping[int, str], with_masks: bool, folder: Path) -> wandb.Image:
    """Write the JPEG of an image, and put objects and detections over it."""
    path = folder / f"{worst.image_id}.jpg"
    path.write_bytes(worst.jpeg or b"")
    with Image.open(path) as jpeg:
        size = jpeg.size
    scale = torch.tensor([size[0] / worst.width, size[1] / worst.height] * 2)
    scores, labels, kinds, *_ = torch.from_numpy(worst.verdicts.detections)
    num_shown = min(MAX_BOXES, int((scores >= LOWEST_SCORE).sum()))  # the best ones come first
    objects, results = worst.objects[:MAX_BOXES], worst.results[:num_shown]
    object_labels, _, is_scored, finders = torch.from_numpy(worst.verdicts.objects)[:, : len(objects)]
    is_crowd = torch.tensor([bool(entry.get("iscrowd")) for entry in objects], dtype=torch.bool)
    truth = Objects(_boxes_of(objects) * scale, object_labels.long(), is_crowd=is_crowd, masks=_masks_of(objects))
    detected = Objects(
        _boxes_of(results) * scale, labels[:num_shown].long(), scores[:num_shown].float(), masks=_masks_of(results)
    )
    is_missed = ((finders < 0) & (is_scored > 0)).tolist()
    truth_captions = [
        f"{caption}, {MISSED}" if missed else caption
        for caption, missed in zip(captions_of(truth, names), is_missed, strict=True)
    ]
    captions = [
        f"{caption} {Kind(int(kind)).name.lower()}"
        for caption, kind in zip(captions_of(detected, names), kinds[:num_shown].tolist(), strict=True)
    ]
    masks = {}
    if with_masks:
        masks = {GROUND_TRUTH: class_overlay(truth, names, size), PREDICTIONS: class_overlay(detected, names, size)}
    return wandb.Image(
        str(path),
        caption=worst.file_name,
        classes=[{"id": label, "name": name} for label, name in names.items()],
        boxes={
            GROUND_TRUTH: box_overlay(truth, names, truth_captions),
            PREDICTIONS: box_overlay(detected, names, captions),
        },
        masks=masks,
    )


def _boxes_of(entries: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """Return boxes, float32 [n, 4], xyxy in the original frame; of entries with masks those around them."""
    boxes = [
        coco_mask.toBbox(entry["segmentation"]).tolist() if "segmentation" in entry else entry["bbox"]
        for entry in entries
    ]
    left_top, sizes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4).split(2, dim=1)
    return torch.cat([left_top, left_top + sizes], dim=1)


def _masks_of(entries: Sequence[Mapping[str, Any]]) -> list[RunLength | None]:
    """Return the mask of each entry; None for one that has a box."""
    return [entry.get("segmentation") for entry in entries]
