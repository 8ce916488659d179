"""What a detector is: its settings and parts, its losses and its predictions.

What Lightning calls is in `steps.py`, its use from Python in `base.py`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lightning_rcnn.backbones.base import Backbone, require_maps
from lightning_rcnn.checkpoints.coco_classes import UNUSED
from lightning_rcnn.data.class_names import require_different
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.resize import OriginalSize, ResizeRule
from lightning_rcnn.detectors.evaluation import Evaluation
from lightning_rcnn.detectors.lr_scaling import scaling_factor
from lightning_rcnn.detectors.optimization import (
    DEFAULT_OPTIMIZER,
    DEFAULT_SCHEDULE,
    LRSchedulerCallable,
    OptimizerCallable,
)
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.detectors.tiles_and_views import TilesAndViews
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.scoring import ResultType
from lightning_rcnn.functional.boxes import rescale
from lightning_rcnn.functional.class_suppression import Suppression
from lightning_rcnn.functional.losses import LossSum, mean_losses
from lightning_rcnn.functional.postprocess import to_original_frame
from lightning_rcnn.masks.paste import PasteRule
from lightning_rcnn.parts import Recorded
from lightning_rcnn.plain_data import INIT_ARGS, to_plain
from lightning_rcnn.roi_heads.class_losses import FederatedClassLoss
from lightning_rcnn.skeleton import Skeleton
from lightning_rcnn.structures import Batch, Detections, Inputs, MaskForm, Proposals, Targets


def require_batch(batch: Any) -> None:
    """Refuse what other loaders yield and other detectors take, such as torchvision's lists of images and targets.

    Raises:
        InputError: `batch` is no `Batch`.
    """
    if not isinstance(batch, Batch):
        raise InputError(
            f"a detector takes a Batch, and this is a {type(batch).__name__}: train and validate with a "
            "DetectionDataModule, which takes a torch Dataset in torchvision's form; give images to `detect`"
        )


class DetectorCore(Recorded, LightningModule):
    """The detector itself. A subclass of `Detector` builds its parts and overrides `loss_sums` and `predict`.

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
    def suppression(self) -> Suppression:
        """Non-maximum suppression of the box branch; the default where that has no such settings."""
        settings = getattr(getattr(self, "box", None), "settings", None)
        known = {"iou": "nms_iou", "across_classes": "nms_across_classes"}
        return Suppression(**{name: getattr(settings, of) for name, of in known.items() if hasattr(settings, of)})

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
        """Compute losses if the batch has targets, else detections in the original frame.

        Raises:
            InputError: see `require_batch`.
        """
        require_batch(batch)
        if batch.targets is None:
            return self._detections_and_proposals(batch)[0]
        return self.losses(batch.inputs, batch.targets)

    def normalize(self, inputs: Inputs) -> Tensor:
        """Compute the network's input, float32 [N, C, H, W]."""
        return self.preprocessing.normalize(inputs.images, inputs.image_sizes)

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
