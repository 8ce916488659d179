"""Validation images with ground truth beside detections, in the run folder and in loggers."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from lightning_rcnn.callbacks.image_logging import ImageSink, image_sinks
from lightning_rcnn.callbacks.logged_step import logged_step
from lightning_rcnn.callbacks.run_folder import run_folder
from lightning_rcnn.callbacks.wandb_images import ShownImage
from lightning_rcnn.callbacks.wandb_overlays import LOWEST_SCORE
from lightning_rcnn.data.keypoints import ObjectKeypoints
from lightning_rcnn.data.pixel_format import RGB, PixelFormat
from lightning_rcnn.data.shown_bands import shown_bands
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.coco_entries import mask_of
from lightning_rcnn.functional.boxes import rescale, rescale_points
from lightning_rcnn.masks.paste import PasteRule, paste_as_run_lengths
from lightning_rcnn.skeleton import Skeleton
from lightning_rcnn.structures import NO_IMAGE, Batch, Detections, ImageRecord
from lightning_rcnn.visualization import Objects, ShownKeypoints, compare, contact_sheet, save_image

FILE_NAME = "images/validation.jpg"
"""Path in the run folder; each validation replaces the file."""
LOG_KEY = "val/images"


class DetectionImages(Callback):
    """Shows the same validation images after every validation.

    One sheet, `images/validation.jpg` in the run folder, shows all of them. Loggers that take images get
    each of them; W&B with boxes that its page filters by class and score, and the classes of the pixels under masks.

    Args:
        num_images: number of images to show, the first ones of rank 0.
        threshold: lowest score of a detection to draw, from 0 to 1; the boxes in W&B, which has a slider,
            start at 0.05.

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
        self._image_sinks: list[ImageSink] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the loggers that take images; a W&B run that begins has none of them stored."""
        self._image_sinks = image_sinks(trainer.loggers)

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
            for log_images in self._image_sinks:
                log_images(LOG_KEY, shown, _class_names(pl_module), logged_step(trainer))
        except Exception as error:
            rank_zero_warn(f"the images of this validation are not stored ({type(error).__name__}: {error})")


def _class_names(detector: LightningModule) -> list[str]:
    return list(detector.class_names)  # type: ignore[arg-type]


def _show(batch: Batch, detections: Detections, slot: int, threshold: float, detector: LightningModule) -> ShownImage:
    """Copy one slot of a batch to the host and draw it."""
    record = batch.records[slot]
    height, width = batch.image_sizes[slot].tolist()
    pixels: PixelFormat = getattr(detector, "pixels", RGB)
    image = shown_bands(batch.images[slot, :, :height, :width].cpu(), pixels)
    original, resized = torch.tensor([[record.height, record.width]]), torch.tensor([[height, width]])

    ground_truth = Objects(
        boxes=rescale(_boxes_of(record)[None], original, resized)[0],
        labels=torch.tensor([annotation["label"] for annotation in record.annotations], dtype=torch.int64),
        is_crowd=torch.tensor([bool(annotation["iscrowd"]) for annotation in record.annotations], dtype=torch.bool),
    )
    detected = _detected(detections, slot, min(threshold, LOWEST_SCORE), original, resized)
    drawn = _detected(detections, slot, threshold, original, resized)
    # A detector without masks is compared with boxes.
    if detections.masks is not None:
        frame = (record.height, record.width)
        rule: PasteRule = detector.mask_paste  # type: ignore[assignment]
        wanted = _is_wanted(detections, slot, threshold)
        boxes = detections.boxes[slot, wanted].float().cpu()
        drawn = drawn._replace(masks=paste_as_run_lengths(detections.masks[slot, wanted], boxes, *frame, rule))
        ground_truth = ground_truth._replace(masks=[mask_of(annotation, *frame) for annotation in record.annotations])
    if detections.keypoints is not None:
        skeleton: Skeleton = detector.skeleton  # type: ignore[assignment]
        drawn_above: float = detector.keypoints_drawn_above  # type: ignore[assignment]
        labeled = torch.from_numpy(ObjectKeypoints.read(record.annotations, skeleton).points)
        found = detections.keypoints[slot, _is_wanted(detections, slot, threshold)].float().cpu()
        shown = [
            ShownKeypoints(
                rescale_points(each[None, ..., :2], original, resized)[0], each[..., 2] > low, skeleton.edges
            )
            for each, low in ((labeled, 0.0), (found, drawn_above))
        ]
        ground_truth, drawn = ground_truth._replace(keypoints=shown[0]), drawn._replace(keypoints=shown[1])

    captions = (
        f"{record.file_name} · ground truth, {len(ground_truth.labels)}",
        f"detections with a score from {threshold:g} up, {len(drawn.labels)}",
    )
    picture = compare(image, ground_truth, drawn, _class_names(detector), captions)
    return ShownImage(record.file_name, image, ground_truth, detected, drawn, picture)


def _is_wanted(detections: Detections, slot: int, threshold: float) -> Tensor:
    """Bool [D]: the detections of a slot with at least this score."""
    return (detections.labels[slot] > 0) & (detections.scores[slot] >= threshold)


def _detected(detections: Detections, slot: int, threshold: float, original: Tensor, resized: Tensor) -> Objects:
    """Return the boxes of a slot with at least this score, in the resized frame.

    Args:
        detections: in the original frame.
        slot: of the batch.
        threshold: lowest score.
        original, resized: int64 [1, 2], (height, width) in either frame.
    """
    wanted = _is_wanted(detections, slot, threshold)
    return Objects(
        boxes=rescale(detections.boxes[slot, wanted].float().cpu()[None], original, resized)[0],
        labels=detections.labels[slot, wanted].cpu(),
        scores=detections.scores[slot, wanted].float().cpu(),
    )


def _boxes_of(record: ImageRecord) -> Tensor:
    return torch.tensor([annotation["bbox"] for annotation in record.annotations], dtype=torch.float32).reshape(-1, 4)
