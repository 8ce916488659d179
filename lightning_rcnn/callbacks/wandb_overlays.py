"""Boxes and pixel classes in the forms that W&B draws over an image."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_rcnn.visualization import Objects, label_map

MAX_CLASSES = 255
"""W&B stores the class of a pixel as a byte; with more classes, images have boxes only."""
LOWEST_SCORE = 0.05
"""Lowest score of a box that W&B gets, whose page has a slider for it."""
GROUND_TRUTH, PREDICTIONS, INSTANCES = "ground_truth", "predictions", "instances"
"""Names of overlays."""
Overlay = dict[str, Any]
"""Content of one overlay, as W&B takes it."""


def box_overlay(objects: Objects, names: Mapping[int, str], captions: Sequence[str]) -> Overlay:
    """Return boxes in the form that W&B takes, without those of no area.

    Args:
        objects: boxes in pixels of the image.
        names: label -> class name.
        captions: caption of each box.
    """
    box_data = []
    for i, (box, label) in enumerate(zip(objects.boxes.tolist(), objects.labels.tolist(), strict=True)):
        left, top, right, bottom = box
        if not (right > left and bottom > top):
            continue
        entry: dict[str, Any] = {
            "position": {"minX": left, "minY": top, "maxX": right, "maxY": bottom},
            "domain": "pixel",
            "class_id": label,
            "box_caption": captions[i],
        }
        if objects.scores is not None:
            entry["scores"] = {"score": objects.scores[i].item()}
        box_data.append(entry)
    return {"box_data": box_data, "class_labels": dict(names)}


def class_overlay(objects: Objects, names: Mapping[int, str], size: tuple[int, int]) -> Overlay:
    """Return the class of each pixel of an image in the form that W&B takes.

    Args:
        objects: objects, perhaps with masks.
        names: label -> class name, at most `MAX_CLASSES`.
        size: (width, height) of the image, pixels.
    """
    masks = objects.masks or [None] * len(objects.labels)
    pairs = zip(masks, objects.labels.tolist(), strict=True)
    with_mask = [(mask, label) for mask, label in pairs if mask is not None]
    classes = label_map([mask for mask, _ in with_mask], [label for _, label in with_mask], size)
    return {"mask_data": classes, "class_labels": dict(names)}


def instance_overlay(objects: Objects, captions: Sequence[str], size: tuple[int, int]) -> Overlay:
    """Return the object of each pixel, the first 255 of them: for W&B, classes with one member each.

    Args:
        objects: objects, perhaps with masks.
        captions: caption of each object.
        size: (width, height) of the image, pixels.
    """
    pairs = zip(objects.masks or [], captions, strict=False)
    with_mask = [(mask, caption) for mask, caption in pairs if mask is not None][:MAX_CLASSES]
    numbers = list(range(1, len(with_mask) + 1))
    instances = label_map([mask for mask, _ in with_mask], numbers, size)
    labels = {number: f"{number}: {caption}" for number, (_, caption) in zip(numbers, with_mask, strict=True)}
    return {"mask_data": instances, "class_labels": labels}


def captions_of(objects: Objects, names: Mapping[int, str]) -> list[str]:
    """Return class, score and whether it is a crowd, of each object."""
    captions = [names.get(label, str(label)) for label in objects.labels.tolist()]
    if objects.scores is not None:
        captions = [f"{caption} {score:.2f}" for caption, score in zip(captions, objects.scores.tolist(), strict=True)]
    if objects.is_crowd is not None:
        crowds = objects.is_crowd.tolist()
        captions = [f"{caption} (crowd)" if crowd else caption for caption, crowd in zip(captions, crowds, strict=True)]
    return captions
