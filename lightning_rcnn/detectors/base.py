"""The base of all detectors, a LightningModule: steps, metrics, checkpoints, use from Python.

Its parts are in `preprocessing.py`, `optimization.py`, `evaluation.py` and `inference.py`.
"""

import functools
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from torch.optim import Optimizer

from lightning_rcnn.backbones.base import Backbone, require_maps
from lightning_rcnn.callbacks.evaluation_rules import EvaluationRules
from lightning_rcnn.callbacks.optimizer_settings import OptimizerSettings
from lightning_rcnn.callbacks.run_loggers import postpone_loggers, release_loggers
from lightning_rcnn.callbacks.start_check import StartCheck, check_loggers
from lightning_rcnn.checkpoints.coco_classes import UNUSED
from lightning_rcnn.checkpoints.header import CLASS_PATH_KEY, PRECISION_KEY
from lightning_rcnn.checkpoints.split import FOLDER_KEY
from lightning_rcnn.class_paths import class_path
from lightning_rcnn.data.class_names import require_different
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.resize import OriginalSize, ResizeRule
from lightning_rcnn.detectors.class_frequencies import set_class_images
from lightning_rcnn.detectors.evaluation import PROPOSALS, Evaluation, flatten_metrics
from lightning_rcnn.detectors.images import ImageLike, as_images
from lightning_rcnn.detectors.inference import detect_tensors
from lightning_rcnn.detectors.lr_scaling import scaling_factor
from lightning_rcnn.detectors.optimization import (
    DEFAULT_OPTIMIZER,
    DEFAULT_SCHEDULE,
    LRSchedulerCallable,
    OptimizerCallable,
    configured,
)
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings, group_parameters
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.detectors.tiles_and_views import OVERLAP, TilesAndViews
from lightning_rcnn.detectors.validation_losses import can_compute_losses, evaluate_with_losses
from lightning_rcnn.detectors.whole_images import as_tensors, detect_objects, evaluate_whole_images
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.mean_losses import TOTAL
from lightning_rcnn.evaluation.scoring import ResultType
from lightning_rcnn.export.check import Comparison
from lightning_rcnn.export.exporting import FormatName, export_detector
from lightning_rcnn.functional.boxes import rescale
from lightning_rcnn.functional.losses import LossSum, mean_losses
from lightning_rcnn.functional.postprocess import to_original_frame
from lightning_rcnn.masks.paste import PasteRule, paste_densely
from lightning_rcnn.parts import Recorded
from lightning_rcnn.plain_data import INIT_ARGS, to_plain, without_weights
from lightning_rcnn.roi_heads.class_losses import FederatedClassLoss
from lightning_rcnn.sharding import DATA_PARALLEL, class_before_sharding, gathered, is_sharded, shard
from lightning_rcnn.skeleton import Skeleton
from lightning_rcnn.structures import Batch, Detections, Inputs, MaskForm, Proposals, Targets


class Detector(Recorded, LightningModule):
    """Base of the detectors. A subclass builds its parts and overrides `loss_sums` and `predict`.

    Args:
        class_names: foreground classes 1..K in order. The command line takes them from the shards.
        category_ids: ids of the classes in their data set, for results files; 1..K if not given.
        preprocessing: sizes, channel order, mean and standard deviation.
        optimizer: class and arguments, without the parameters.
        schedule: class and arguments, without the optimizer; see `schedules.py`.
        parameter_groups: weight decay of norms and learning rates of the backbone; see the method of this name.

    Raises:
        InputError: there are no classes, or their number differs from that of the ids.
    """

    class_layers: tuple[str, ...] = ()
    """Layers outside of the parts whose size depends on the number of classes; see `parts.Part`."""
    mask_form: MaskForm = "none"
    """Form of the ground-truth masks that the detector trains on."""
    skeleton: Skeleton | None = None
    """Keypoints that the detector trains on and predicts; None if it has none."""
    keypoints_drawn_above: float = 0.0
    """Score above which pictures show a keypoint."""
    mask_paste: PasteRule = "exact"
    """Rule that pastes predicted masks into their images."""
    proposal_limit: int = 0
    """Limit of precomputed proposals per image; 0 if the detector computes its own."""
    search: Callable[[Tensor], np.ndarray] | None = None
    """Search for images without proposals: uint8 RGB [3, H, W] -> boxes and scores [P, 5]; None if not needed."""
    no_graph: ClassVar[str] = ""
    """Reason why the detector cannot be exported as one graph; empty if it can."""
    weights: str | None = None
    """Detector to start from: a file, URL or name. It is loaded when the whole detector exists."""
    evaluation: Evaluation
    sampling_seed: Tensor
    validation_losses: bool = True
    """Whether `validate` and `test` compute the losses, too; `--validation_losses` on the command line."""
    tiles_and_views: TilesAndViews = TilesAndViews()
    """Tiles and views of validation and test; `--tile`, `--overlap` and `--tta` on the command line."""

    def __init__(
        self,
        class_names: Sequence[str],
        category_ids: Sequence[int] | None = None,
        preprocessing: PreprocessingSettings = PreprocessingSettings(),
        optimizer: OptimizerCallable = DEFAULT_OPTIMIZER,
        schedule: LRSchedulerCallable = DEFAULT_SCHEDULE,
        parameter_groups: ParameterGroupSettings = ParameterGroupSettings(),
    ) -> None:
        super().__init__()
        if not class_names:
            raise InputError("model.class_names is empty; give the names of the classes, or data with an index")
        # torchvision's COCO models call every id without a class the same.
        require_different([name for name in class_names if name != UNUSED], "model.class_names")
        self.class_names = list(class_names)
        self.category_ids = list(category_ids or range(1, len(self.class_names) + 1))
        if len(self.category_ids) != len(self.class_names):
            numbers = f"{len(self.category_ids)} ids for {len(self.class_names)} class_names"
            raise InputError(f"model.category_ids: {numbers}; give one for each")
        require_different(self.category_ids, "model.category_ids")
        self.preprocessing = preprocessing.build()
        self.optimizer, self.schedule, self.group_settings = optimizer, schedule, parameter_groups
        # A tensor, because torch's compiler would compile again for each new Python number.
        self.register_buffer("sampling_seed", torch.zeros((), dtype=torch.int64), persistent=False)
        self.last_metrics: dict[str, Any] = {}

    def after_init(self) -> None:
        """Check the backbones, hand the settings to Lightning, and load the weights to start from.

        Raises:
            InputError: a backbone takes other images than those of `preprocessing`, or its maps are not as it says.
        """
        for backbone in [module for module in self.modules() if isinstance(module, Backbone)]:
            if backbone.in_channels != self.pixels.channels:
                raise InputError(
                    f"model.backbone.in_channels is {backbone.in_channels}, but the images have {self.pixels.layout} "
                    "(model.preprocessing.pixels); give both the same number of channels"
                )
            require_maps(backbone)
        self.save_hyperparameters(self.init_args)
        if self.weights is not None:
            from lightning_rcnn.detectors.transfer import start_from  # imports all detectors

            start_from(self, self.weights)

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses, logged under `train/`; by default those of all parts."""
        return tuple(name for part in self.modules() if part is not self for name in getattr(part, "loss_names", ()))

    @property
    def num_classes(self) -> int:
        """Number of classes K, without background."""
        return len(self.class_names)

    @property
    def resize_rule(self) -> ResizeRule:
        """Resize rule for images, also in training unless the data sets another one."""
        return self.preprocessing.resize_rule

    @property
    def pixels(self) -> PixelFormat:
        """Channels of the images, and range of their values."""
        return self.preprocessing.pixels

    @property
    def main_result_type(self) -> ResultType:
        """Result type that ranks checkpoints: "segm" with masks, "keypoints" with keypoints, else "bbox"."""
        return self.evaluation.main_result_type

    @property
    def learning_rate(self) -> float:
        """Learning rate of the optimizer, before a rule scales it; Lightning's learning-rate finder sets it.

        Raises:
            InputError: when it is set: a rule would scale a rate that was found for the global batch.
        """
        rate = to_plain(self.optimizer)[INIT_ARGS].get("lr")
        if rate is None:
            raise AttributeError("the optimizer has no lr")
        return rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        if self.group_settings.lr_rule is not None:
            raise InputError(
                "model.parameter_groups.lr_rule: the learning-rate finder finds the rate for this global batch, which "
                "the rule would scale again; leave out the rule"
            )
        self.optimizer = functools.partial(self.optimizer, lr=value)  # type: ignore[call-arg]
        self.init_args["optimizer"] = self.hparams["optimizer"] = to_plain(self.optimizer)

    @property
    def scaled_learning_rate(self) -> float | None:
        """Learning rate of the optimizer for the global batch of the attached trainer; None if no rule scales it."""
        if self.group_settings.lr_rule is None:
            return None
        return self.learning_rate * scaling_factor(self.group_settings, self.trainer)

    @property
    def evaluation_resize_rule(self) -> ResizeRule:
        """Resize rule for images of validation and test; with tiles or views they come in their own size."""
        return self.resize_rule if self.tiles_and_views.is_plain else OriginalSize()

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Compute losses by name: this rank's sums over the ranks' mean counts."""
        return mean_losses(self.loss_sums(inputs, targets))

    def loss_sums(self, inputs: Inputs, targets: Targets) -> dict[str, LossSum]:
        """Compute this rank's sum and count of each loss. Every detector overrides it."""
        raise NotImplementedError

    @property
    def evaluation_mask_form(self) -> MaskForm:
        """In which form the detector wants masks in evaluation: only losses need them there."""
        return self.mask_form if self.validation_losses else "none"

    def evaluate(self, inputs: Inputs, targets: Targets) -> tuple[Detections, Proposals, dict[str, LossSum]]:
        """`predict` and `loss_sums`, whose proposals are those of evaluation; detectors override it to do it at once.

        A subclass that overrides `predict` or `loss_sums` but not this method is evaluated in two passes.
        """
        return *self.predict(inputs), self.loss_sums(inputs, targets)

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Compute detections and their proposals, both in the resized frame. Every detector overrides it."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> dict[str, Tensor] | Detections:
        """Compute losses if the batch has targets, else detections in the original frame."""
        if batch.targets is None:
            return self._detections_and_proposals(batch)[0]
        return self.losses(batch.inputs, batch.targets)

    def normalize(self, inputs: Inputs) -> Tensor:
        """Compute the network's input, float32 [N, C, H, W]."""
        return self.preprocessing.normalize(inputs.images, inputs.image_sizes)

    @torch.inference_mode()
    def detect(
        self,
        images: ImageLike | Sequence[ImageLike],
        threshold: float | Sequence[float] = 0.5,
        batch_size: int = 1,
        tile: int | None = None,
        overlap: float = OVERLAP,
        tta: str | Sequence[str] = (),
    ) -> list[dict[str, Tensor]]:
        """Find objects in images of any size.

        Args:
            images: a file, a PIL image, an array [h, w, 3], a tensor [3, h, w], or a list of them; uint8, RGB. Of a
                model for other images [h, w, C] and [C, h, w], with values as in the files of its training.
            threshold: minimum score of detections, 0 to 1; one for all classes, or a list of one for each in the order
                of `class_names`. The model's own `score_threshold` applies, too.
            batch_size: number of images or tiles in one pass of the network, if their inputs have the same size.
            tile, overlap, tta: see `TilesAndViews`.

        Returns:
            Per image `boxes` float32 [D, 4] (xyxy, pixels of the image as given), `labels` int64 [D] (1..K) and
            `scores` float32 [D], best first; if the detector predicts masks also `masks` bool [D, h, w], on the host;
            if it predicts keypoints also `keypoints` float32 [D, J, 3], x, y and score.

        Raises:
            InputError: an item is not an image, or an option is out of range.
        """
        pixels = as_images(images, self.pixels)
        tiles_and_views = TilesAndViews(tile, overlap, tta)
        if not tiles_and_views.is_plain:
            found = detect_objects(self, pixels, threshold, batch_size, tiles_and_views)
            return [as_tensors(objects, *image.shape[1:]) for objects, image in zip(found, pixels, strict=True)]
        results = []
        for image, detections in zip(pixels, detect_tensors(self, pixels, threshold, batch_size), strict=True):
            entry = {name: values[0] for name, values in detections._asdict().items() if values is not None}
            if "masks" in entry:
                _, height, width = image.shape
                entry["masks"] = paste_densely(entry["masks"], entry["boxes"], height, width, self.mask_paste)
            results.append(entry)
        return results

    def export(
        self,
        path: str | Path,
        format: FormatName | None = None,
        images: ImageLike | Sequence[ImageLike] = (),
        threshold: float | None = None,
        detections: int | None = None,
        half: bool = False,
    ) -> list[Comparison]:
        """Write the detector as a file that runs without this package, for the device that it is on.

        The file gets its name only when it has found the same as the detector.

        Args:
            path: file to write.
            format: "pt2" (`torch.export`), "onnx", or "aoti" (compiled); by default that of the suffix of `path`.
            images: images to compare on, as in `detect`; generated scenes if not given.
            threshold: minimum score of detections, exclusive; the model's own `score_threshold` if not given.
            detections: maximum number of detections per image; the model's own if not given.
            half: store weights as float16, for a file of half the size; it computes in float32.

        Returns:
            The largest differences of each batch that was compared.

        Raises:
            InputError: see `export_detector`.
            OSError: the file cannot be written.
        """
        chosen = as_images(images, self.pixels)
        return export_detector(self, Path(path), format, chosen, threshold, detections, half)

    def _detections_and_proposals(self, batch: Batch) -> tuple[Detections, Proposals]:
        """Compute detections and their proposals, both in the original frame."""
        return self._in_original_frame(batch, *self.predict(batch.inputs))

    def _in_original_frame(
        self, batch: Batch, detections: Detections, proposals: Proposals
    ) -> tuple[Detections, Proposals]:
        original = torch.tensor([(record.height, record.width) for record in batch.records]).to(self.device)
        return (
            to_original_frame(detections, batch.image_sizes, original),
            proposals._replace(boxes=rescale(proposals.boxes, batch.image_sizes, original)),
        )

    @property
    def is_federated(self) -> bool:
        """Whether the detector learns only some classes of an image, for which it needs lists and numbers of labels."""
        return bool(self._federated_losses())

    def _federated_losses(self) -> list[FederatedClassLoss]:
        return [module for module in self.modules() if isinstance(module, FederatedClassLoss)]

    def setup(self, stage: str) -> None:
        """Refuse precisions that would round boxes, and tell the federated losses how frequent the classes are."""
        if str(self.trainer.precision).endswith("-true") and self.trainer.precision not in ("32-true", "64-true"):
            raise InputError(
                f"trainer.precision {self.trainer.precision}: boxes need float32; use "
                f"{str(self.trainer.precision).replace('-true', '-mixed')}"
            )
        if stage == "fit" and (federated := self._federated_losses()):
            set_class_images(federated, self.trainer)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the step from (seed, step, batch), so that a resumed run draws the same numbers."""
        run_seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        step_seed = hash((run_seed, self.trainer.global_step, batch_idx)) % 2**31
        self.sampling_seed.fill_(step_seed)
        torch.manual_seed(step_seed + self.global_rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the sum of the losses, and log them."""
        losses = self(batch)
        total = torch.stack(list(losses.values())).sum()
        size = len(batch.records)
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()}, batch_size=size)
        # With `prog_bar` Lightning would read the value from the device after every batch: see `TrainingProgress`.
        self.log("train/loss", total.detach(), batch_size=size)
        return total

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the norm of the gradients before clipping, and the learning rate of the first group, once a step."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning adds it later
        if every and (self.trainer.global_step + 1) % every == 0:
            gradients = [weight.grad for weight in self.parameters() if weight.grad is not None]
            self.log("train/gradient_norm", gathered(torch.nn.utils.get_total_norm(gradients)))
            rate = {"train/learning_rate": optimizer.param_groups[0]["lr"]}
            # `self.log` would copy the number to the device in every step and wait for it.
            for logger in self.trainer.loggers:
                logger.log_metrics(rate, step=self.trainer.global_step)

    def validation_step(self, batch: Batch, batch_idx: int) -> Detections:  # type: ignore[override]
        """Compute detections in the original frame, and update the metrics and mean losses."""
        if not self.tiles_and_views.is_plain:
            return evaluate_whole_images(self, batch)
        if can_compute_losses(self, batch):
            detections, proposals = self._in_original_frame(batch, *evaluate_with_losses(self, batch))
        else:
            detections, proposals = self._detections_and_proposals(batch)
        self.evaluation.update(detections, proposals, batch.records)
        return detections

    def test_step(self, batch: Batch, batch_idx: int) -> Detections:  # type: ignore[override]
        """Do the same as in validation."""
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Detections:
        """Compute detections in the original frame."""
        return self._detections_and_proposals(batch)[0]

    def on_validation_epoch_end(self) -> None:
        """Compute and log the metrics, and keep them in `last_metrics`."""
        self._score("val")

    def on_test_epoch_end(self) -> None:
        """Do the same as in validation."""
        self._score("test")

    def validation_metric_names(self) -> set[str]:
        """Return the names of all logged validation metrics."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metrics without images
            names = set(flatten_metrics(self._compute_metrics(), "val"))
        return names | self.validation_loss_names()

    def validation_loss_names(self) -> set[str]:
        """Return those of them that are losses, of which less is better."""
        names = self.loss_names if self.validation_losses else ()
        return {f"val/{name}" for name in (TOTAL, *names)} if names else set()

    def _compute_metrics(self) -> dict[str, Any]:
        # Tiles and views have proposals of their own, and none of the whole image.
        return self.evaluation.compute(without=() if self.tiles_and_views.is_plain else (PROPOSALS,))

    def _score(self, prefix: str) -> None:
        self.last_metrics = self._compute_metrics()
        # All ranks hold the same values; without `sync_dist` Lightning warns about each of them.
        self.log_dict(flatten_metrics(self.last_metrics, prefix), sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the class path, the precision and all settings, without `weights`: the file has its own."""
        checkpoint[CLASS_PATH_KEY] = class_path(class_before_sharding(self))
        if self._trainer is not None:
            checkpoint[PRECISION_KEY] = str(self.trainer.precision)
        checkpoint["hyper_parameters"] = without_weights(dict(self.hparams))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Group the trainable parameters for the optimizer by the settings `model.parameter_groups`.

        Override it for custom groups: dictionaries with `params` and the optimizer arguments that differ, such as `lr`
        (`self.learning_rate` is the optimizer's) or `weight_decay`. A resumed training needs the same groups.
        """
        return group_parameters(self, self.group_settings)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Report a resumed training whose precision has changed.

        Raises:
            InputError: the weights are not in the file, and nobody has read them from the folder beside it.
        """
        if any(weight.is_meta for weight in checkpoint["state_dict"].values()):
            raise InputError(
                f"the weights of the checkpoint are in the folder {checkpoint[FOLDER_KEY]} beside it, which "
                "load_from_checkpoint does not read: load it with lightning_rcnn.load_detector"
            )
        began_with = checkpoint.get(PRECISION_KEY)
        is_resumed = self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        if began_with is not None and is_resumed and began_with != str(self.trainer.precision):
            rank_zero_info(f"Precision {self.trainer.precision}: as asked for; the training began with {began_with}.")

    def configure_model(self) -> None:
        """Let the loggers start, as no `setup` has refused the run, and shard the weights if the strategy is sharded.

        `evaluate` after `fit` finds them sharded.
        """
        if self._trainer is not None:  # `load_from_checkpoint` calls this, too
            release_loggers(self.trainer)
        if self.device_mesh is not None and not is_sharded(self):
            shard(self, self.device_mesh[DATA_PARALLEL])

    def configure_callbacks(self) -> list[Callback]:
        """Return the callbacks that every training needs, also one started from Python."""
        check_loggers(self.trainer)
        postpone_loggers(self.trainer)
        return [EvaluationRules(), StartCheck(), OptimizerSettings()]

    def configure_optimizers(self) -> Any:
        """Build optimizer and schedule."""
        monitor = f"val/{self.main_result_type}/AP"
        return configured(self, self.optimizer, self.schedule, self.parameter_groups(), self.group_settings, monitor)
