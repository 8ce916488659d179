"""Validation images with ground truth beside detections, in the run folder and in W&B."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from lightning_rcnn.callbacks.run_folder import run_folder
from lightning_rcnn.callbacks.wandb_images import ShownImage, log_images
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.coco_entries import mask_of
from lightning_rcnn.functional.boxes import rescale
from lightning_rcnn.masks.paste import PasteRule, paste_as_run_lengths
from lightning_rcnn.structures import NO_IMAGE, Batch, Detections, ImageRecord
from lightning_rcnn.visualization import Objects, compare, contact_sheet, save_image

FILE_NAME = "images/validation.jpg"
"""Path in the run folder; each validation replaces the file."""
LOG_KEY = "val/images"


class DetectionImages(Callback):
    """Shows the same validation images after every validation.

    One sheet, `images/validation.jpg` in the run folder, shows all of them. A W&B logger also gets each image, with
    boxes that its page filters by class and score, and the classes of the pixels under masks.

    Args:
        num_images: number of images to show, the first ones of rank 0.
        threshold: lowest score of a detection to draw, from 0 to 1.

    Raises:
        InputError: a number is out of range.
    """

    def __init__(self, num_images: int = 8, threshold: float = 0.5) -> None:
        super().__init__()
        if num_images < 0 or not 0 <= threshold <= 1:
            raise InputError(
                f"DetectionImages: num_images {num_images}, threshold {threshold}; give 0 or more images and a "
                "threshold from 0 to 1"
            )
        self.num_images, self.threshold = num_images, threshold
        self._shown: list[ShownImage] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the images of the previous validation."""
        self._shown = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the images of a batch that are to be shown."""
        if trainer.sanity_checking or not trainer.is_global_zero or not isinstance(outputs, Detections):
            return
        for slot, record in enumerate(batch.records):
            if len(self._shown) >= self.num_images:
                return
            if record.image_id == NO_IMAGE:
                continue
            # No drawing error may end a training; neither may one below.
            try:
                self._shown.append(_show(batch, outputs, slot, self.threshold, pl_module))
            except Exception as error:
                rank_zero_warn(f"{record.file_name}: its detections cannot be drawn ({type(error).__name__}: {error})")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the sheet and log the images."""
        shown, self._shown = self._shown, []
        if not shown or trainer.fast_dev_run:  # type: ignore[attr-defined]  # a property that Lightning adds later
            return
        try:
            save_image(contact_sheet([image.picture for image in shown]), run_folder(trainer) / FILE_NAME)
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    # Lightning logs the figures of this validation at this step.
                    step = trainer.fit_loop.epoch_loop._batches_that_stepped
                    log_images(logger, LOG_KEY, shown, _class_names(pl_module), step)
        except Exception as error:
            rank_zero_warn(f"the images of this validation are not stored ({type(error).__name__}: {error})")


def _class_names(detector: LightningModule) -> list[str]:
    return list(detector.class_names)  # type: ignore[arg-type]


def _show(batch: Batch, detections: Detections, slot: int, threshold: float, detector: LightningModule) -> ShownImage:
    """Copy one slot of a batch to the host and draw it."""
    record = batch.records[slot]
    height, width = batch.image_sizes[slot].tolist()
    image = batch.images[slot, :, :height, :width].cpu()
    if image.is_floating_point():
        image = image.round().clamp(0, 255).to(torch.uint8)
    original, resized = torch.tensor([[record.height, record.width]]), torch.tensor([[height, width]])

    ground_truth = Objects(
        boxes=rescale(_boxes_of(record)[None], original, resized)[0],
        labels=torch.tensor([annotation["label"] for annotation in record.annotations], dtype=torch.int64),
        is_crowd=torch.tensor([bool(annotation["iscrowd"]) for annotation in record.annotations], dtype=torch.bool),
    )
    wanted = (detections.labels[slot] > 0) & (detections.scores[slot] >= threshold)
    boxes = detections.boxes[slot, wanted].float().cpu()
    detected = Objects(
        boxes=rescale(boxes[None], original, resized)[0],
        labels=detections.labels[slot, wanted].cpu(),
        scores=detections.scores[slot, wanted].float().cpu(),
    )
    # A detector without masks is compared with boxes.
    if detections.masks is not None:
        frame = (record.height, record.width)
        rule: PasteRule = detector.mask_paste  # type: ignore[assignment]
        detected = detected._replace(masks=paste_as_run_lengths(detections.masks[slot, wanted], boxes, *frame, rule))
        ground_truth = ground_truth._replace(masks=[mask_of(annotation, *frame) for annotation in record.annotations])

    captions = (
        f"{record.file_name} · ground truth, {len(ground_truth.labels)}",
        f"detections with a score from {threshold:g} up, {len(detected.labels)}",
    )
    picture = compare(image, ground_truth, detected, _class_names(detector), captions)
    return ShownImage(record.file_name, image, ground_truth, detected, picture)


def _boxes_of(record: ImageRecord) -> Tensor:
    return torch.tensor([annotation["bbox"] for annotation in record.annotations], dtype=torch.float32).reshape(-1, 4)
