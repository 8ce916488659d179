"""Validation images in W&B, whose pixels and ground truth a run stores once."""

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import wandb
from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from torch import Tensor
from wandb.data_types import BoundingBoxes2D, ImageMask

from lightning_rcnn.callbacks.wandb_overlays import (
    GROUND_TRUTH,
    INSTANCES,
    MAX_CLASSES,
    PREDICTIONS,
    box_overlay,
    captions_of,
    class_overlay,
    instance_overlay,
)
from lightning_rcnn.visualization import Objects


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


class ImageLog:
    """Logs the same images after each validation: files of pixels and ground truth are written once.

    W&B's own lists of images write each file again at each step. Here later steps refer to the first file. Its name is
    made of its content, without a step, so a resumed run writes it once more under the same name.

    Args:
        logger: W&B logger.
    """

    def __init__(self, logger: WandbLogger) -> None:
        self._logger = logger
        self._logged: dict[tuple[str, str], _StoredImage] = {}

    def log(self, key: str, shown: Sequence[ShownImage], class_names: Sequence[str], step: int) -> None:
        """Log images with ground truth and detections over them.

        Args:
            key: name of the images in the W&B run.
            shown: images to log.
            class_names: names of labels 1..K.
            step: step of the training.
        """
        names = dict(enumerate(class_names, start=1))
        with_masks = len(names) <= MAX_CLASSES and any(image.drawn.masks is not None for image in shown)
        with _sizes_may_differ():
            images = [self._stored(image, names, with_masks) for image in shown]
            self._logger.log_metrics({key: images}, step)  # type: ignore[dict-item]  # media are no floats
            if any(image.drawn.keypoints is not None for image in shown):  # of which W&B draws none over an image
                sheets = [wandb.Image(image.picture, caption=image.file_name, file_type="jpg") for image in shown]
                self._logger.log_metrics({f"{key}_keypoints": sheets}, step)  # type: ignore[dict-item]

    def _stored(self, shown: ShownImage, names: Mapping[int, str], with_masks: bool) -> "_StoredImage":
        """Put detections over an image, and ground truth that was logged before or is about to be."""
        identity = shown.file_name, hashlib.sha256(shown.image.numpy().tobytes()).hexdigest()
        first = self._logged.get(identity)
        size = shown.image.shape[2], shown.image.shape[1]
        truth, detected = shown.ground_truth, shown.drawn
        boxes: dict[str, Any] = {
            GROUND_TRUTH: first.boxes[GROUND_TRUTH] if first else box_overlay(truth, names, captions_of(truth, names)),
            PREDICTIONS: box_overlay(shown.detections, names, captions_of(shown.detections, names)),
        }
        masks: dict[str, Any] = {}
        if with_masks:
            masks = {
                GROUND_TRUTH: first.masks[GROUND_TRUTH] if first else class_overlay(truth, names, size),
                PREDICTIONS: class_overlay(detected, names, size),
                INSTANCES: instance_overlay(detected, captions_of(detected, names), size),
            }
        pixels = first or Image.fromarray(shown.image.permute(1, 2, 0).contiguous().numpy())
        image = _StoredImage(pixels, caption=shown.file_name, boxes=boxes, masks=masks, file_type="jpg")
        image.is_stored = first is not None
        self._logged.setdefault(identity, image)
        return image


class _StoredImage(wandb.Image):
    """An image of a run whose pixels and ground truth are written under names without a step.

    Attributes:
        is_stored: whether the file of the pixels is in the run.
    """

    is_stored = False

    @property
    def boxes(self) -> dict[str, BoundingBoxes2D]:
        """Boxes by overlay."""
        return self._boxes or {}

    @property
    def masks(self) -> dict[str, ImageMask]:
        """Masks by overlay."""
        return self._masks or {}

    def bind_to_run(self, run: Any, key: Any, step: Any, id_: Any = None, ignore_copy_err: bool | None = None) -> None:
        """Move files into the run's folder, but those that are there."""
        if self.is_stored:
            self._run = run
        else:
            super(wandb.Image, self).bind_to_run(run, key, GROUND_TRUTH, id_, ignore_copy_err)
        for name, overlay in (*self.boxes.items(), *self.masks.items()):
            if not overlay.is_bound():
                overlay.bind_to_run(run, key, GROUND_TRUTH if name == GROUND_TRUTH else step, id_, ignore_copy_err)


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
