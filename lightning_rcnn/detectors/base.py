"""What all detectors share as LightningModules: steps, figures, checkpoints, use from Python.

The parts are elsewhere: `preprocessing.py`, `optimization.py`, `evaluation.py`, `inference.py`.
"""

import functools
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from torch.optim import Optimizer

from lightning_rcnn.backbones.base import Backbone, require_maps
from lightning_rcnn.callbacks.optimizer_settings import OptimizerSettings
from lightning_rcnn.callbacks.start_check import StartCheck, check_loggers
from lightning_rcnn.checkpoints.header import CLASS_PATH_KEY, PRECISION_KEY
from lightning_rcnn.class_paths import class_path
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.detectors.evaluation import Evaluation, flatten_metrics
from lightning_rcnn.detectors.images import ImageLike, as_images
from lightning_rcnn.detectors.inference import detect_tensors
from lightning_rcnn.detectors.optimization import (
    DEFAULT_OPTIMIZER,
    DEFAULT_SCHEDULE,
    LRSchedulerCallable,
    OptimizerCallable,
    configured,
)
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings, group_parameters
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.scoring import ResultType
from lightning_rcnn.functional.boxes import rescale
from lightning_rcnn.functional.losses import LossSum, mean_losses
from lightning_rcnn.functional.postprocess import to_original_frame
from lightning_rcnn.masks.paste import PasteRule, paste_densely
from lightning_rcnn.parts import Recorded
from lightning_rcnn.plain_data import INIT_ARGS, to_plain, without_weights
from lightning_rcnn.structures import Batch, Detections, Inputs, MaskForm, Proposals, Targets


class Detector(Recorded, LightningModule):
    """Base of the detectors. A subclass builds its parts and overrides `loss_sums` and `predict`.

    Args:
        class_names: foreground classes 1..K in order. The command line takes them from the shards.
        category_ids: ids of the classes in the data set they come from, for results files; 1..K if not given.
        preprocessing: sizes, channels, mean and deviation.
        optimizer: class and arguments, without the parameters.
        schedule: class and arguments, without the optimizer; see `schedules.py`.
        parameter_groups: weight decay of norms and learning rates of the backbone; see also the method of this name.

    Raises:
        InputError: no classes, or ids that do not fit them.
    """

    class_layers: ClassVar[tuple[str, ...]] = ()
    """As in `parts.Part`, of layers that belong to no part."""
    mask_form: MaskForm = "none"
    """In which form the detector wants the masks of its ground truth."""
    mask_paste: PasteRule = "exact"
    """How its masks come into their images."""
    proposal_limit: int = 0
    """How many precomputed proposals of an image it looks at; 0 if it makes its own."""
    search: Callable[[Tensor], np.ndarray] | None = None
    """From a uint8 RGB image [3, H, W] to proposals and scores [P, 5], where it makes none itself and is given none."""
    weights: str | None = None
    """A detector to start from: a file, URL or name; loaded when the whole detector exists."""
    evaluation: Evaluation
    sampling_seed: Tensor

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
        self.class_names = list(class_names)
        self.category_ids = list(category_ids or range(1, len(self.class_names) + 1))
        if len(self.category_ids) != len(self.class_names):
            raise InputError(
                f"model.category_ids: {len(self.category_ids)} ids for {len(self.class_names)} class_names"
            )
        self.preprocessing = preprocessing.build()
        self.optimizer, self.schedule, self.group_settings = optimizer, schedule, parameter_groups
        # A tensor and not a number, so that a new seed is not a new program to a compiler.
        self.register_buffer("sampling_seed", torch.zeros((), dtype=torch.int64), persistent=False)
        self.last_metrics: dict[str, Any] = {}

    def after_init(self) -> None:
        """See that backbones are what they say, hand the settings to Lightning, and load the weights to start from."""
        for backbone in [module for module in self.modules() if isinstance(module, Backbone)]:
            require_maps(backbone)
        self.save_hyperparameters(self.init_args)
        if self.weights is not None:
            from lightning_rcnn.detectors.transfer import start_from  # which knows all detectors

            start_from(self, self.weights)

    @property
    def loss_names(self) -> tuple[str, ...]:
        """What `losses` returns, in logs under `train/`; by default all losses of the parts."""
        return tuple(name for part in self.modules() if part is not self for name in getattr(part, "loss_names", ()))

    @property
    def num_classes(self) -> int:
        """K, without background."""
        return len(self.class_names)

    @property
    def resize_rule(self) -> ResizeRule:
        """The rule for images, also in training unless the data says otherwise."""
        return self.preprocessing.resize_rule

    @property
    def main_result_type(self) -> ResultType:
        """What the detector is judged by: masks where it has them, else boxes."""
        return self.evaluation.main_result_type

    @property
    def learning_rate(self) -> float:
        """The optimizer's; where it can be set, Lightning's learning-rate finder sets it."""
        rate = to_plain(self.optimizer)[INIT_ARGS].get("lr")
        if rate is None:
            raise AttributeError("the optimizer has no lr")
        return rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.optimizer = functools.partial(self.optimizer, lr=value)  # type: ignore[call-arg]
        self.init_args["optimizer"] = self.hparams["optimizer"] = to_plain(self.optimizer)

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Compute losses by name: this rank's sums over the ranks' mean counts."""
        return mean_losses(self.loss_sums(inputs, targets))

    def loss_sums(self, inputs: Inputs, targets: Targets) -> dict[str, LossSum]:
        """Compute what this rank adds to each loss; each detector's own."""
        raise NotImplementedError

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Detect: detections and the proposals they came from, both in the resized frame; each detector's own."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> dict[str, Tensor] | Detections:
        """Compute losses if the batch has targets, else detections in the original frame."""
        if batch.targets is None:
            return self._detections_and_proposals(batch)[0]
        return self.losses(batch.inputs, batch.targets)

    def normalize(self, inputs: Inputs) -> Tensor:
        """Compute the network's input, float32 [N, 3, H, W]."""
        return self.preprocessing.normalize(inputs.images, inputs.image_sizes)

    @torch.inference_mode()
    def detect(
        self, images: ImageLike | Sequence[ImageLike], threshold: float = 0.5, batch_size: int = 1
    ) -> list[dict[str, Tensor]]:
        """Find objects in images of any size.

        Args:
            images: a file, a PIL image, an array [h, w, 3], a tensor [3, h, w], or a list of them; uint8, RGB.
            threshold: detections have at least this score, 0 to 1; none is below the model's own `score_threshold`.
            batch_size: images that go through the network together, if their inputs have the same size.

        Returns:
            Per image `boxes` float32 [D, 4] (xyxy, pixels of the image as given), `labels` int64 [D] (1..K) and
            `scores` float32 [D], best first; with a detector that has them also `masks` bool [D, h, w], on the host.

        Raises:
            InputError: something is no image, or the threshold or batch size is impossible.
        """
        pixels = as_images(images)
        found = []
        for image, detections in zip(pixels, detect_tensors(self, pixels, threshold, batch_size), strict=True):
            entry = {name: values[0] for name, values in detections._asdict().items() if values is not None}
            if "masks" in entry:
                _, height, width = image.shape
                entry["masks"] = paste_densely(entry["masks"], entry["boxes"], height, width, self.mask_paste)
            found.append(entry)
        return found

    def _detections_and_proposals(self, batch: Batch) -> tuple[Detections, Proposals]:
        """Detect; both in the original frame."""
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
        return total

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the learning rate of the first group: once a step, however many batches it takes."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # added later
        if every and (self.trainer.global_step + 1) % every == 0:
            rate = {"train/learning_rate": optimizer.param_groups[0]["lr"]}
            # `self.log` would bring a number of the host to the device in every step, and wait for it.
            for logger in self.trainer.loggers:
                logger.log_metrics(rate, step=self.trainer.global_step)

    def validation_step(self, batch: Batch, batch_idx: int) -> Detections:  # type: ignore[override]
        """Detect in the original frame, and add to the metrics."""
        detections, proposals = self._detections_and_proposals(batch)
        self.evaluation.update(detections, proposals, batch.records)
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
        """Return the names under which a validation logs."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of figures without images
            return set(flatten_metrics(self.evaluation.compute(), "val"))

    def _score(self, prefix: str) -> None:
        self.last_metrics = self.evaluation.compute()
        # All ranks hold the same figures; Lightning warns at every one that is not synchronized.
        self.log_dict(flatten_metrics(self.last_metrics, prefix), sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which class this is, and all it was built with; the file needs no other weights than its own."""
        checkpoint[CLASS_PATH_KEY] = class_path(type(self))
        if self._trainer is not None:
            checkpoint[PRECISION_KEY] = str(self.trainer.precision)
        checkpoint["hyper_parameters"] = without_weights(dict(self.hparams))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Group the trainable parameters for the optimizer, as `model.parameter_groups` says.

        Override it for groups of your own: dictionaries with `params` and whatever of the optimizer's arguments they
        have for themselves, such as `lr` (`self.learning_rate` is the optimizer's) or `weight_decay`. A resumed
        training needs the same groups.
        """
        return group_parameters(self, self.group_settings)

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
        """Build optimizer and schedule."""
        monitor = f"val/{self.main_result_type}/AP"
        return configured(self, self.optimizer, self.schedule, self.parameter_groups(), monitor)
