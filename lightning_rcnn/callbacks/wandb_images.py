"""Images in W&B, overlaid with the boxes and pixel classes of ground truth and detections."""

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
"""W&B stores the class of a pixel as a byte; with more classes, images have boxes only."""


class ShownImage(NamedTuple):
    """One image as the network saw it with boxes in its frame, and the drawing made of it."""

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
        logger: W&B logger.
        key: name of the images in the W&B run.
        shown: images to log.
        class_names: names of labels 1..K.
        step: step of the training.
    """
    names = dict(enumerate(class_names, start=1))
    objects_by_source = [{"ground_truth": image.ground_truth, "predictions": image.detections} for image in shown]
    overlays = {
        "boxes": [
            {
                source: {"box_data": _box_data(objects, names), "class_labels": names}
                for source, objects in by_source.items()
            }
            for by_source in objects_by_source
        ]
    }
    if len(names) <= MAX_CLASSES and any(image.detections.masks is not None for image in shown):
        overlays["masks"] = [
            {
                source: {"mask_data": _class_of_pixels(objects, image.image.shape), "class_labels": names}
                for source, objects in by_source.items()
            }
            for image, by_source in zip(shown, objects_by_source, strict=True)
        ]
    with _sizes_may_differ():
        logger.log_image(
            key,
            images=[Image.fromarray(image.image.permute(1, 2, 0).contiguous().numpy()) for image in shown],
            step=step,
            caption=[image.file_name for image in shown],
            file_type=["jpg"] * len(shown),
            **overlays,
        )


def _class_of_pixels(objects: Objects, shape: Sequence[int]) -> np.ndarray:
    """Return the class of each pixel of an image [3, h, w]: W&B knows no instances."""
    masks = objects.masks or [None] * len(objects.labels)
    pairs = zip(masks, objects.labels.tolist(), strict=True)
    with_mask = [(mask, label) for mask, label in pairs if mask is not None]
    return label_map([mask for mask, _ in with_mask], [label for _, label in with_mask], (shape[2], shape[1]))


def _box_data(objects: Objects, names: dict[int, str]) -> list[dict[str, Any]]:
    """Return boxes in the form that W&B takes, without those of no area."""
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
    """Silence W&B's warning about images of several sizes, which its page shows correctly."""

    def is_other_message(record: logging.LogRecord) -> bool:
        return "Images sizes do not match" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(is_other_message)
    try:
        yield
    finally:
        root.removeFilter(is_other_message)
