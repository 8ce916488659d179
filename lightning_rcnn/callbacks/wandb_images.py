"""Images in W&B, with ground truth and detections as boxes and as classes of pixels, which its pages lay over them."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from torch import Tensor

from lightning_rcnn.visualization import Objects, label_map

MAX_CLASSES = 255
"""W&B keeps the classes of pixels as bytes; with more classes there are boxes only."""


class ShownImage(NamedTuple):
    """One image as the network saw it, boxes in its frame; and the picture made of it."""

    file_name: str
    image: Tensor
    ground_truth: Objects
    detections: Objects
    picture: Image.Image


def log_images(
    logger: WandbLogger, key: str, shown: Sequence[ShownImage], class_names: Sequence[str], step: int
) -> None:
    """Log images with ground truth and detections over them.

    Args:
        logger: where to.
        key: name in the run.
        shown: the images.
        class_names: of labels 1..K.
        step: of the training.
    """
    names = dict(enumerate(class_names, start=1))
    sides = [{"ground_truth": one.ground_truth, "predictions": one.detections} for one in shown]
    overlays = {
        "boxes": [
            {side: {"box_data": _box_data(objects, names), "class_labels": names} for side, objects in both.items()}
            for both in sides
        ]
    }
    if len(names) <= MAX_CLASSES and any(one.detections.masks is not None for one in shown):
        overlays["masks"] = [
            {
                side: {"mask_data": _class_of_pixels(objects, one.image.shape), "class_labels": names}
                for side, objects in both.items()
            }
            for one, both in zip(shown, sides, strict=True)
        ]
    with _sizes_may_differ():
        logger.log_image(
            key,
            images=[Image.fromarray(one.image.permute(1, 2, 0).contiguous().numpy()) for one in shown],
            step=step,
            caption=[one.file_name for one in shown],
            file_type=["jpg"] * len(shown),
            **overlays,
        )


def _class_of_pixels(objects: Objects, shape: Sequence[int]) -> np.ndarray:
    """W&B has one class for each pixel of an image [3, h, w], and no instances."""
    masks = objects.masks or [None] * len(objects.labels)
    pairs = zip(masks, objects.labels.tolist(), strict=True)
    with_mask = [(mask, label) for mask, label in pairs if mask is not None]
    return label_map([mask for mask, _ in with_mask], [label for _, label in with_mask], (shape[2], shape[1]))


def _box_data(objects: Objects, names: dict[int, str]) -> list[dict[str, Any]]:
    """Boxes in the form that W&B takes; those without extent are left out."""
    box_data = []
    for i, (box, label) in enumerate(zip(objects.boxes.tolist(), objects.labels.tolist(), strict=True)):
        left, top, right, bottom = box
        if not (right > left and bottom > top):
            continue
        entry: dict[str, Any] = {
            "position": {"minX": left, "minY": top, "maxX": right, "maxY": bottom},
            "domain": "pixel",
            "class_id": label,
            "box_caption": names.get(label, str(label)),
        }
        if objects.scores is not None:
            score = objects.scores[i].item()
            entry["scores"] = {"score": score}
            entry["box_caption"] += f" {score:.2f}"
        if objects.is_crowd is not None and objects.is_crowd[i]:
            entry["box_caption"] += " (crowd)"
        box_data.append(entry)
    return box_data


@contextlib.contextmanager
def _sizes_may_differ() -> Iterator[None]:
    """Keep W&B from warning of images of several sizes, which its page shows as well as others."""

    def is_other(record: logging.LogRecord) -> bool:
        return "Images sizes do not match" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(is_other)
    try:
        yield
    finally:
        root.removeFilter(is_other)
