"""What all detectors share as LightningModules: input, steps, optimiser, schedule, metrics, use from Python."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchmetrics import Metric

from lightning_rcnn.boxes import rescale
from lightning_rcnn.callbacks.optimizer_settings import OptimizerSettings
from lightning_rcnn.callbacks.start_check import StartCheck, check_loggers
from lightning_rcnn.checkpoints.header import CLASS_PATH_KEY, PRECISION_KEY
from lightning_rcnn.data.decode import decode_image
from lightning_rcnn.data.resize import ResizeMethod, ResizeRule
from lightning_rcnn.detectors.on_proposals import searched_proposals
from lightning_rcnn.detectors.schedules import ScheduleName, learning_rate_factor
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.paste import PasteRule, paste_densely
from lightning_rcnn.metrics.coco_ap import MAX_DETECTIONS, CocoAveragePrecision
from lightning_rcnn.metrics.coco_matching import ResultType
from lightning_rcnn.metrics.proposal_recall import ProposalRecall
from lightning_rcnn.metrics.voc_ap import VOCAveragePrecision
from lightning_rcnn.postprocess import to_original_frame
from lightning_rcnn.structures import Batch, Detections, Inputs, MaskForm, Proposals, Targets

OptimizerName = Literal["sgd", "adamw"]
ChannelOrder = Literal["rgb", "bgr"]
MemoryFormatName = Literal["channels_last", "contiguous"]


class Detector(LightningModule):
    """Base of the detectors.

    Args:
        class_names: foreground classes 1..K in order. The command line takes them from the shards.
        category_ids: ids of the classes in the data set they come from, for results files; 1..K if not given.
        min_size: shorter edge of the resized image, pixels; also in training unless the data says otherwise.
        max_size: limit of the longer edge, pixels.
        resize: "antialiased" or "pillow" (detectron2's rule), or "bilinear" (torchvision's); see `ResizeRule`.
        size_divisor: edges of an image that is looked at alone (`detect`) are padded to multiples of this, pixels; 1
            for none, as detectron2 has it with one feature map. Batches of data have shapes of their own.
        pixel_range: what white becomes before mean and deviation: 1 (torchvision) or 255 (detectron2).
        pixel_mean, pixel_std: per channel, in the order of `channel_order`.
        channel_order: "rgb" (torchvision) or "bgr" (detectron2): what the backbone was trained with.
        memory_format: "channels_last" is faster; "contiguous" is torchvision's, for equality to the last bit.
        optimizer: "sgd" with momentum 0.9, or "adamw".
        learning_rate: at the top of the schedule, for the global batch as it is (no automatic scaling).
        weight_decay: of weights.
        norm_weight_decay: of the scales and shifts of norms.
        schedule: "steps", "cosine", "one_cycle" or "constant".
        warmup_steps: optimiser steps of linear rise.
        milestones: shares of the training at which "steps" divides by ten; the default is 16 and 22 of 26 epochs.
    """

    mask_form: MaskForm = "none"
    """In which form the detector wants the masks of its ground truth."""
    mask_paste: PasteRule = "exact"
    """How its masks come into their images."""
    proposal_limit: int = 0
    """How many precomputed proposals of an image it looks at; 0 if it makes its own."""
    loss_names: tuple[str, ...] = ()
    """What `losses` returns, in logs under `train/`."""
    search: Callable[[Tensor], np.ndarray] | None = None
    """From a uint8 RGB image [3, H, W] to proposals and scores [P, 5], where it makes none itself and is given none."""
    pixel_mean: Tensor
    pixel_std: Tensor
    sampling_seed: Tensor

    def __init__(
        self,
        class_names: Sequence[str],
        category_ids: Sequence[int] | None = None,
        min_size: int = 800,
        max_size: int = 1333,
        resize: ResizeMethod = "antialiased",
        size_divisor: int = 32,
        pixel_range: float = 1.0,
        pixel_mean: Sequence[float] = (0.485, 0.456, 0.406),
        pixel_std: Sequence[float] = (0.229, 0.224, 0.225),
        channel_order: ChannelOrder = "rgb",
        memory_format: MemoryFormatName = "channels_last",
        optimizer: OptimizerName = "sgd",
        learning_rate: float = 0.02,
        weight_decay: float = 1e-4,
        norm_weight_decay: float = 0.0,
        schedule: ScheduleName = "steps",
        warmup_steps: int = 1000,
        milestones: Sequence[float] = (16 / 26, 22 / 26),
    ) -> None:
        super().__init__()
        if not class_names:
            raise InputError("model.class_names is empty; give the names of the classes, or data with an index")
        for key, value, known in (("optimizer", optimizer, OptimizerName), ("schedule", schedule, ScheduleName)):
            if value not in get_args(known):
                raise InputError(f"model.{key} {value!r} is none of {', '.join(get_args(known))}")
        for key, number in (
            *(("learning_rate", learning_rate), ("weight_decay", weight_decay)),
            *(("norm_weight_decay", norm_weight_decay), ("warmup_steps", warmup_steps)),
        ):
            if not number >= 0:
                raise InputError(f"model.{key} {number}: 0 or more")
        if list(milestones) != sorted(milestones) or not all(0 <= share <= 1 for share in milestones):
            raise InputError(f"model.milestones {list(milestones)}: shares of the training, 0 to 1, ascending")
        self.class_names = list(class_names)
        self.category_ids = list(category_ids or range(1, len(self.class_names) + 1))
        if len(self.category_ids) != len(self.class_names):
            raise InputError(
                f"model.category_ids: {len(self.category_ids)} ids for {len(self.class_names)} class_names"
            )
        if size_divisor < 1:
            raise InputError(f"model.size_divisor {size_divisor}: at least 1")
        self.resize_rule = ResizeRule(min_size, max_size, resize)
        self.size_divisor = size_divisor
        self.channel_order, self.pixel_range = channel_order, pixel_range
        self.memory_format = torch.channels_last if memory_format == "channels_last" else torch.contiguous_format
        self.optimizer, self.learning_rate = optimizer, learning_rate
        self.weight_decay, self.norm_weight_decay = weight_decay, norm_weight_decay
        self.schedule, self.warmup_steps, self.milestones = schedule, warmup_steps, tuple(milestones)
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std)[:, None, None], persistent=False)
        # A tensor and not a number, so that a new seed is not a new program to a compiler.
        self.register_buffer("sampling_seed", torch.zeros((), dtype=torch.int64), persistent=False)
        self.average_precisions: dict[str, CocoAveragePrecision] = {}
        """What is scored, by result type ("bbox", "segm"); each detector's own."""
        self.voc_average_precision = VOCAveragePrecision(self.class_names)
        self.proposal_recall = ProposalRecall()
        self.last_metrics: dict[str, Any] = {}

    @property
    def main_result_type(self) -> ResultType:
        """What the detector is judged by: masks where it has them, else boxes."""
        return "segm" if "segm" in self.average_precisions else "bbox"

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Named losses of a batch; each detector's own."""
        raise NotImplementedError

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Detections and the proposals they came from, both in the resized frame; each detector's own."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> dict[str, Tensor] | Detections:
        """Losses where the batch has targets, else detections in the original frame."""
        if batch.targets is None:
            return self._detections_and_proposals(batch)[0]
        return self.losses(batch.inputs, batch.targets)

    def normalise(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        """Network input [N, 3, H, W] from images 0 to 255: channel order, mean, deviation, and zeros in the padding."""
        pixels = (images if self.channel_order == "rgb" else images.flip(1)) / (255 / self.pixel_range)
        rows = torch.arange(images.shape[2], device=images.device) < image_sizes[:, :1]
        columns = torch.arange(images.shape[3], device=images.device) < image_sizes[:, 1:]
        is_picture = (rows[:, :, None] & columns[:, None, :])[:, None]
        pixels = torch.where(is_picture, (pixels - self.pixel_mean) / self.pixel_std, 0.0)
        return pixels.contiguous(memory_format=self.memory_format)

    @torch.inference_mode()
    def detect(self, images: Sequence[Tensor | str | Path], threshold: float = 0.5) -> list[dict[str, Tensor]]:
        """Find objects in images of any size.

        Args:
            images: uint8 RGB tensors [3, H, W], or files.
            threshold: detections have at least this score; none is below the model's own `score_threshold`.

        Returns:
            Per image `boxes` float32 [D, 4] (xyxy, original frame), `labels` int64 [D] (1..K) and `scores` float32
            [D], best first; with a detector that has them also `masks` bool [D, H, W], on the host.

        Raises:
            InputError: a file can't be read, or a tensor is no uint8 [3, H, W].
        """
        found = []
        for number, image in enumerate(images):
            pixels = _as_image(image, number)
            detections = self.find(pixels, threshold)
            entry = {name: values[0] for name, values in detections._asdict().items() if values is not None}
            if "masks" in entry:
                _, height, width = pixels.shape
                entry["masks"] = paste_densely(entry["masks"], entry["boxes"], height, width, self.mask_paste)
            found.append(entry)
        return found

    @torch.inference_mode()
    def find(self, image: Tensor, threshold: float = 0.5) -> Detections:
        """Detections of at least the score `threshold` in one uint8 RGB image [3, H, W], N = 1, in its own frame."""
        was_training = self.training
        self.eval()
        try:
            return self._find(image, threshold)
        finally:
            self.train(was_training)

    def inputs_of(self, image: Tensor) -> Inputs:
        """One uint8 RGB image [3, H, W] as the detector looks at it: resized, padded, searched where it has to be."""
        # On the host, as in training: torch resizes bytes with antialiasing on the CPU only.
        resized = self.resize_rule(image.cpu()).to(self.device)
        height, width = resized.shape[-2:]
        padded = F.pad(resized, (0, -width % self.size_divisor, 0, -height % self.size_divisor))[None]
        sizes = torch.tensor([[height, width]], device=self.device)
        proposals = None
        if self.search is not None:
            original = torch.tensor([image.shape[-2:]], device=self.device)
            proposals = searched_proposals(self.search(image.cpu()), original, sizes, self.proposal_limit)
        return Inputs(padded, sizes, torch.zeros(1, dtype=torch.int64, device=self.device), proposals)

    def _find(self, image: Tensor, threshold: float) -> Detections:
        inputs = self.inputs_of(image)
        original = torch.tensor([image.shape[-2:]], device=self.device)
        detections = to_original_frame(self.predict(inputs)[0], inputs.image_sizes, original)
        wanted = (detections.labels[0] > 0) & (detections.scores[0] >= threshold)
        masks = None if detections.masks is None else detections.masks[:, wanted]
        return Detections(
            detections.boxes[:, wanted], detections.scores[:, wanted], detections.labels[:, wanted], masks
        )

    def _detections_and_proposals(self, batch: Batch) -> tuple[Detections, Proposals]:
        """Both in the original frame."""
        detections, proposals = self.predict(batch.inputs)
        original = torch.tensor([(record.height, record.width) for record in batch.records]).to(self.device)
        return (
            to_original_frame(detections, batch.image_sizes, original),
            proposals._replace(boxes=rescale(proposals.boxes, batch.image_sizes, original)),
        )

    def setup(self, stage: str) -> None:
        """Refuse what would lose box precision."""
        if str(self.trainer.precision).endswith("-true") and self.trainer.precision not in ("32-true", "64-true"):
            raise InputError(
                f"trainer.precision {self.trainer.precision}: boxes need float32; use "
                f"{str(self.trainer.precision).replace('-true', '-mixed')}"
            )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the step from (seed, step, batch), so that a resumed run draws what an undisturbed one would."""
        run_seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        step_seed = hash((run_seed, self.trainer.global_step, batch_idx)) % 2**31
        self.sampling_seed.fill_(step_seed)
        torch.manual_seed(step_seed + self.global_rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Sum of the losses."""
        losses = self(batch)
        total = torch.stack(list(losses.values())).sum()
        size = len(batch.records)
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()}, batch_size=size)
        # Not with `prog_bar`, for which Lightning reads it from the device after every batch: see `TrainingProgress`.
        self.log("train/loss", total.detach(), batch_size=size)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # added later
        if every and (self.trainer.global_step + 1) % every == 0:
            rate = {"train/learning_rate": self.trainer.optimizers[0].param_groups[0]["lr"]}
            # `self.log` would bring a number of the host to the device in every step, and wait for it.
            for logger in self.trainer.loggers:
                logger.log_metrics(rate, step=self.trainer.global_step)
        return total

    def validation_step(self, batch: Batch, batch_idx: int) -> Detections:  # type: ignore[override]
        """Detections in the original frame, after adding them to the metrics."""
        detections, proposals = self._detections_and_proposals(batch)
        for average_precision in self.average_precisions.values():
            average_precision.update(detections, batch.records)
        self.voc_average_precision.update(detections, batch.records)
        self.proposal_recall.update(proposals, batch.records)
        return detections

    def test_step(self, batch: Batch, batch_idx: int) -> Detections:  # type: ignore[override]
        """As in validation."""
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Detections:
        """Detections in the original frame."""
        return self._detections_and_proposals(batch)[0]

    def on_validation_epoch_end(self) -> None:
        """Score once, log, and keep the figures in `last_metrics`."""
        self._score("val")

    def on_test_epoch_end(self) -> None:
        """As in validation."""
        self._score("test")

    def validation_metric_names(self) -> set[str]:
        """Names under which a validation logs."""
        metrics = self._metrics()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of figures without images
            figures = {name: metric.compute() for name, metric in metrics.items()}
        for metric in metrics.values():
            metric.reset()
        return set(flatten_metrics(figures, "val"))

    def _metrics(self) -> dict[str, Metric]:
        return {
            **self.average_precisions,
            "voc": self.voc_average_precision,
            "proposals": self.proposal_recall,
        }

    def _score(self, prefix: str) -> None:
        metrics = self._metrics()
        self.last_metrics = {name: metric.compute() for name, metric in metrics.items()}
        for metric in metrics.values():
            metric.reset()
        # All ranks hold the same figures; Lightning warns at every one that is not synchronised.
        self.log_dict(flatten_metrics(self.last_metrics, prefix), sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which class this is and how it is trained; and the file needs no other weights than its own."""
        checkpoint[CLASS_PATH_KEY] = f"{type(self).__module__}.{type(self).__qualname__}"
        if self._trainer is not None:
            checkpoint[PRECISION_KEY] = str(self.trainer.precision)
        for key in ("backbone_weights", "weights"):
            if key in checkpoint.get("hyper_parameters", {}):
                checkpoint["hyper_parameters"][key] = None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say so where a training goes on in another precision than it began with."""
        began_with = checkpoint.get(PRECISION_KEY)
        is_resumed = self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        if began_with is not None and is_resumed and began_with != str(self.trainer.precision):
            rank_zero_info(f"Precision {self.trainer.precision}: as asked for; the training began with {began_with}.")

    def configure_callbacks(self) -> list[Callback]:
        """What each training needs, also one from Python."""
        check_loggers(self.trainer)
        return [StartCheck(), OptimizerSettings()]

    def configure_optimizers(self) -> Any:
        """The optimiser with norms in a group of their own, and the schedule, stepped every step."""
        groups = _parameter_groups(self, self.weight_decay, self.norm_weight_decay)
        optimizer: torch.optim.Optimizer
        # Fused is much faster on the CPU, but excludes clipping under mixed precision; on CUDA torch's choice is good.
        fused = True if self.device.type == "cpu" and not self.trainer.gradient_clip_val else None
        if self.optimizer == "sgd":
            optimizer = torch.optim.SGD(groups, lr=self.learning_rate, momentum=0.9, fused=fused)
        else:
            optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, fused=fused)
        total_steps = self.trainer.estimated_stepping_batches
        if total_steps == float("inf"):
            if self.schedule != "constant":
                raise InputError(
                    f"model.schedule {self.schedule} needs an end: give trainer.max_epochs or trainer.max_steps"
                )
            total_steps = 0
        elif not self.trainer.fast_dev_run:  # type: ignore[attr-defined]  # a property that Lightning adds later
            self._require_short_warmup(int(total_steps))
        factor = learning_rate_factor(self.schedule, int(total_steps), self.warmup_steps, self.milestones)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _require_short_warmup(self, total_steps: int) -> None:
        """Refuse a training that would never have the learning rate that it is given."""
        if self.schedule != "one_cycle" and self.warmup_steps > total_steps:
            raise InputError(
                f"model.warmup_steps {self.warmup_steps}: the training ends after {total_steps} steps, before it has "
                "the learning rate; make it smaller"
            )


def flatten_metrics(metrics: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """Nested metrics as flat names for loggers, for example `val/bbox/AP50` and `val/bbox/per_class/cat`.

    The number of detections that count is a setting, and makes no curve.
    """
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            flat |= flatten_metrics(value, f"{prefix}/{name}")
        elif name != MAX_DETECTIONS:
            flat[f"{prefix}/{name}"] = value
    return flat


def _as_image(image: Tensor | str | Path, number: int) -> Tensor:
    if not isinstance(image, Tensor):
        try:
            return decode_image(Path(image).read_bytes(), apply_exif=True)
        except (OSError, ValueError) as error:
            raise InputError(f"{image}: cannot be read as an image ({error})") from error
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise InputError(f"image {number}: {image.dtype} {tuple(image.shape)}; wanted is uint8 [3, height, width]")
    return image


def _parameter_groups(module: nn.Module, weight_decay: float, norm_weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: those of norms, and all others."""
    norm_ids = {
        id(parameter)
        for part in module.modules()
        if isinstance(part, (_BatchNorm, nn.GroupNorm, nn.LayerNorm))
        for parameter in part.parameters(recurse=False)
    }
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if id(p) not in norm_ids], "weight_decay": weight_decay},
        {"params": [p for p in trainable if id(p) in norm_ids], "weight_decay": norm_weight_decay},
    ]
    return [group for group in groups if group["params"]]
