"""Pictures of validation images, ground truth beside detections: in the run's folder, and as boxes in W&B."""

from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from PIL import Image
from torch import Tensor

from lightning_rcnn.boxes import rescale
from lightning_rcnn.callbacks.run_folder import run_folder
from lightning_rcnn.errors import InputError
from lightning_rcnn.pictures import Objects, compare, contact_sheet, save_picture
from lightning_rcnn.structures import NO_IMAGE, Batch, Detections, ImageRecord

FILE_NAME = "pictures/validation.jpg"
"""In the run's folder; each validation replaces it."""
LOG_KEY = "val/pictures"


class _Shown(NamedTuple):
    """One image as the network saw it, boxes in its frame; and the picture made of it."""

    file_name: str
    image: Tensor
    ground_truth: Objects
    detections: Objects
    picture: Image.Image


class DetectionPictures(Callback):
    """Shows the same validation images after every validation.

    All are put on one sheet, `pictures/validation.jpg` in the run's folder. With a W&B logger they also go there, as
    images with boxes that can be switched on and off by class and score.

    Args:
        num_images: the first so many of rank 0.
        threshold: detections have at least this score.
    """

    def __init__(self, num_images: int = 8, threshold: float = 0.5) -> None:
        super().__init__()
        if num_images < 0 or not 0 <= threshold <= 1:
            raise InputError(
                f"DetectionPictures: num_images {num_images}, threshold {threshold}; wanted are 0 or more images and "
                "a threshold from 0 to 1"
            )
        self.num_images, self.threshold = num_images, threshold
        self._shown: list[_Shown] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
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
        """Keep what is to be shown of the batch."""
        if trainer.sanity_checking or not trainer.is_global_zero or not isinstance(outputs, Detections):
            return
        for slot, record in enumerate(batch.records):
            if len(self._shown) >= self.num_images:
                return
            if record.image_id == NO_IMAGE:
                continue
            # Whatever is odd about an image, the training is worth more than its picture; so also below.
            try:
                self._shown.append(_show(batch, outputs, slot, self.threshold, _class_names(pl_module)))
            except Exception as error:
                rank_zero_warn(f"{record.file_name}: no picture of its detections ({type(error).__name__}: {error})")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the sheet and log the images."""
        shown, self._shown = self._shown, []
        if not shown or trainer.fast_dev_run:  # type: ignore[attr-defined]  # a property that Lightning adds later
            return
        try:
            save_picture(contact_sheet([one.picture for one in shown]), run_folder(trainer) / FILE_NAME)
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    _log(logger, shown, _class_names(pl_module), trainer.global_step)
        except Exception as error:
            rank_zero_warn(f"the pictures of this validation are not stored ({type(error).__name__}: {error})")


def _class_names(detector: LightningModule) -> list[str]:
    return list(detector.class_names)  # type: ignore[arg-type]


def _show(batch: Batch, detections: Detections, slot: int, threshold: float, class_names: list[str]) -> _Shown:
    """Take one slot of a batch to the host, and draw it."""
    record = batch.records[slot]
    height, width = batch.image_sizes[slot].tolist()
    image = batch.images[slot, :, :height, :width].cpu()
    if image.is_floating_point():
        image = image.round().clamp(0, 255).to(torch.uint8)
    original, resized = torch.tensor([[record.height, record.width]]), torch.tensor([[height, width]])

    ground_truth = Objects(
        boxes=rescale(_boxes_of(record)[None], original, resized)[0],
        labels=torch.tensor([one["label"] for one in record.annotations], dtype=torch.int64),
        is_crowd=torch.tensor([bool(one["iscrowd"]) for one in record.annotations], dtype=torch.bool),
    )
    boxes = rescale(detections.boxes[slot, None].float().cpu(), original, resized)[0]
    labels, scores = detections.labels[slot].cpu(), detections.scores[slot].float().cpu()
    wanted = (labels > 0) & (scores >= threshold)
    found = Objects(boxes[wanted], labels[wanted], scores[wanted])

    captions = (
        f"{record.file_name} · ground truth, {len(ground_truth.labels)}",
        f"detections with a score from {threshold:g} up, {len(found.labels)}",
    )
    picture = compare(image, ground_truth, found, class_names, captions)
    return _Shown(record.file_name, image, ground_truth, found, picture)


def _boxes_of(record: ImageRecord) -> Tensor:
    return torch.tensor([one["bbox"] for one in record.annotations], dtype=torch.float32).reshape(-1, 4)


def _log(logger: WandbLogger, shown: list[_Shown], class_names: list[str], step: int) -> None:
    names = dict(enumerate(class_names, start=1))
    logger.log_image(
        LOG_KEY,
        images=[Image.fromarray(one.image.permute(1, 2, 0).contiguous().numpy()) for one in shown],
        step=step,
        caption=[one.file_name for one in shown],
        file_type=["jpg"] * len(shown),
        boxes=[
            {
                "ground_truth": {"box_data": _box_data(one.ground_truth, names), "class_labels": names},
                "predictions": {"box_data": _box_data(one.detections, names), "class_labels": names},
            }
            for one in shown
        ],
    )


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
