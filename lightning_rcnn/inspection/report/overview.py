"""The figures of a report: sets and classes."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_rcnn.inspection.collecting import InspectedSet
from lightning_rcnn.inspection.findings.finding import Inspected
from lightning_rcnn.inspection.findings.of_sets import objects_of_classes


@dataclass(frozen=True)
class SetFigures:
    """Figures of one set.

    Attributes:
        name: its name.
        images, objects, crowds: counts; objects without crowds.
        without_objects: images without any.
        objects_per_image: mean, median, 95% and maximum.
        classes: classes with objects.
        widths, heights: least, median and largest, pixels.
        touching: share of the objects whose box meets another one's.
        edges: 5%, half and 95% of the shorter edges of objects after resizing, pixels.
        anchor_recall: IoU -> share of the objects that have an anchor with this IoU; empty without anchors.
        best_only: share of the objects whose best anchor is below the IoU of positives, and is one only as the best.
    """

    name: str
    images: int
    objects: int
    crowds: int
    without_objects: int
    objects_per_image: tuple[float, float, float, int]
    classes: int
    widths: tuple[int, int, int]
    heights: tuple[int, int, int]
    touching: float
    edges: tuple[float, float, float]
    anchor_recall: dict[str, float]
    best_only: float


def figures_of(data: Inspected) -> list[SetFigures]:
    """Return the figures of each set."""
    return [_figures(data, number) for number in range(len(data.sets))]


def _figures(data: Inspected, number: int) -> SetFigures:
    one, frame = data.sets[number], data.resized[number]
    counts = one.num_objects
    num_single = len(frame.objects)
    iou = None if data.anchor_iou is None else data.anchor_iou[number]
    edges = np.quantile(frame.sides.min(axis=1), (0.05, 0.5, 0.95)).tolist() if num_single else [0.0, 0.0, 0.0]
    recall = {} if iou is None or not num_single else {f"{at:.1f}": float((iou >= at).mean()) for at in (0.3, 0.5, 0.7)}
    positive = math.nan if data.recipe.rpn is None else data.recipe.rpn.positive_iou
    return SetFigures(
        name=one.name,
        images=len(one),
        objects=num_single,
        crowds=int(one.is_crowd.sum()),
        without_objects=int((counts == 0).sum()),
        objects_per_image=(
            float(counts.mean()),
            float(np.median(counts)),
            float(np.quantile(counts, 0.95)),
            int(counts.max()),
        ),
        classes=sum(count > 0 for count in objects_of_classes(one).values()),
        widths=_least_median_largest(one.sizes[:, 1]),
        heights=_least_median_largest(one.sizes[:, 0]),
        touching=float(one.touches[frame.objects].mean()) if num_single else 0.0,
        edges=(edges[0], edges[1], edges[2]),
        anchor_recall=recall,
        best_only=float((iou < positive).mean()) if iou is not None and num_single else 0.0,
    )


def class_rows(data: Inspected) -> list[list[Any]]:
    """Return a row for each class: name, objects of each set, images of the first set, its median edges, recall."""
    counts = [objects_of_classes(one) for one in data.sets]
    names = list(dict.fromkeys(name for one in counts for name in one))
    first, frame = data.sets[0], data.resized[0]
    labels = {category.name: category.label for category in first.categories}
    iou = None if data.anchor_iou is None else data.anchor_iou[0]
    images = images_of_classes(first)
    rows: list[list[Any]] = []
    for name in names:
        members = first.labels[frame.objects] == labels.get(name, 0)
        sides = frame.sides[members]
        rows.append(
            [
                name,
                *(one[name] for one in counts),
                images[name],
                float(np.median(sides[:, 0])) if len(sides) else None,
                float(np.median(sides[:, 1])) if len(sides) else None,
                float((iou[members] >= 0.5).mean()) if iou is not None and len(sides) else None,
            ]
        )
    return rows


def images_of_classes(one: InspectedSet) -> Counter[str]:
    """Count the images of a set that have a class, by name."""
    pairs = np.unique(np.stack((one.image_of, one.labels)), axis=1)[1] if len(one.labels) else np.zeros(0, np.int64)
    counts = np.bincount(pairs, minlength=len(one.categories) + 1)
    return Counter({category.name: int(counts[category.label]) for category in one.categories})


def _least_median_largest(values: np.ndarray) -> tuple[int, int, int]:
    return int(values.min()), int(np.median(values)), int(values.max())
