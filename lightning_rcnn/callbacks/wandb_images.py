"""Images in W&B, overlaid with the boxes and pixel classes of ground truth and detections."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from torch import Tensor

from lightning_rcnn.visualization import Objects, label_map

MAX_CLASSES = 255
"""W&B stores the class of a pixel as a byte; with more classes, images have boxes only."""


class ShownImage(NamedTuple):
    """One image as the network saw it with boxes in its frame, and the drawing made of it.

    Attributes:
        file_name: name of the image in the data set.
        image: uint8 [3, h, w].
        ground_truth: annotated objects.
        detections: boxes with a score from low up.
        drawn: the best of them, perhaps with masks.
        picture: drawing of ground truth beside `drawn`.
    """

    file_name: str
    image: Tensor
    ground_truth: Objects
    detections: Objects
    drawn: Objects
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
    if len(names) <= MAX_CLASSES and any(image.drawn.masks is not None for image in shown):
        overlays["masks"] = [
            {
                "ground_truth": _classes_of_pixels(image.ground_truth, names, image.image.shape),
                "predictions": _classes_of_pixels(image.drawn, names, image.image.shape),
                "instances": _instances_of_pixels(image.drawn, names, image.image.shape),
            }
            for image in shown
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


def _classes_of_pixels(objects: Objects, names: dict[int, str], shape: Sequence[int]) -> dict[str, Any]:
    """Return the class of each pixel of an image [3, h, w] in the form that W&B takes."""
    masks = objects.masks or [None] * len(objects.labels)
    pairs = zip(masks, objects.labels.tolist(), strict=True)
    with_mask = [(mask, label) for mask, label in pairs if mask is not None]
    classes = label_map([mask for mask, _ in with_mask], [label for _, label in with_mask], (shape[2], shape[1]))
    return {"mask_data": classes, "class_labels": names}


def _instances_of_pixels(detected: Objects, names: dict[int, str], shape: Sequence[int]) -> dict[str, Any]:
    """Return the detection of each pixel, the best 255 of them: for W&B, classes with one member each."""
    pairs = zip(detected.masks or [], _captions(detected, names), strict=False)
    with_mask = [(mask, caption) for mask, caption in pairs if mask is not None][:MAX_CLASSES]
    numbers = list(range(1, len(with_mask) + 1))
    instances = label_map([mask for mask, _ in with_mask], numbers, (shape[2], shape[1]))
    labels = {number: f"{number}: {caption}" for number, (_, caption) in zip(numbers, with_mask, strict=True)}
    return {"mask_data": instances, "class_labels": labels}


def _captions(objects: Objects, names: dict[int, str]) -> list[str]:
    """Return class, score and whether it is a crowd, of each object."""
    captions = [names.get(label, str(label)) for label in objects.labels.tolist()]
    if objects.scores is not None:
        captions = [f"{caption} {score:.2f}" for caption, score in zip(captions, objects.scores.tolist(), strict=True)]
    if objects.is_crowd is not None:
        crowds = objects.is_crowd.tolist()
        captions = [f"{caption} (crowd)" if crowd else caption for caption, crowd in zip(captions, crowds, strict=True)]
    return captions


def _box_data(objects: Objects, names: dict[int, str]) -> list[dict[str, Any]]:
    """Return boxes in the form that W&B takes, without those of no area."""
    box_data, captions = [], _captions(objects, names)
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
