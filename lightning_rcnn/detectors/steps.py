"""What Lightning calls: training and evaluation steps, metrics, checkpoints, callbacks, optimizer.

The computations are in `validation_losses.py`, `whole_images.py`, `parameter_groups.py` and `optimization.py`.
"""

import os
import warnings
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from torch.optim import Optimizer

from lightning_rcnn.callbacks.evaluation_rules import EvaluationRules
from lightning_rcnn.callbacks.optimizer_settings import OptimizerSettings
from lightning_rcnn.callbacks.start_check import StartCheck, check_loggers
from lightning_rcnn.checkpoints.header import CLASS_PATH_KEY, PRECISION_KEY
from lightning_rcnn.checkpoints.split import FOLDER_KEY
from lightning_rcnn.class_paths import class_path
from lightning_rcnn.detectors.class_frequencies import set_class_images
from lightning_rcnn.detectors.core import DetectorCore, require_batch
from lightning_rcnn.detectors.evaluation import PROPOSALS, flatten_metrics
from lightning_rcnn.detectors.optimization import configured
from lightning_rcnn.detectors.parameter_groups import group_parameters
from lightning_rcnn.detectors.validation_losses import can_compute_losses, evaluate_with_losses
from lightning_rcnn.detectors.whole_images import evaluate_whole_images
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.mean_losses import TOTAL
from lightning_rcnn.plain_data import without_weights
from lightning_rcnn.sharding import DATA_PARALLEL, class_before_sharding, gathered, is_sharded, shard
from lightning_rcnn.structures import Batch, Detections


class DetectorSteps(DetectorCore):
    """A detector that Lightning trains, evaluates and saves."""

    def setup(self, stage: str) -> None:
        """Refuse precisions of boxes but float32, and tell the federated losses how frequent the classes are."""
        precision = str(self.trainer.precision)
        if precision.endswith("-true") and precision != "32-true":
            instead = "32-true" if precision == "64-true" else precision.replace("-true", "-mixed")
            raise InputError(f"trainer.precision {precision}: boxes are float32; use {instead}")
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
        require_batch(batch)
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
        require_batch(batch)
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

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Group the trainable parameters for the optimizer by the settings `model.parameter_groups`.

        Override it for custom groups: dictionaries with `params` and the optimizer arguments that differ, such as `lr`
        (`self.learning_rate` is the optimizer's) or `weight_decay`. A resumed training needs the same groups.
        """
        return group_parameters(self, self.group_settings)

    def configure_model(self) -> None:
        """Shard the weights over the ranks if the strategy is sharded; `evaluate` after `fit` finds them sharded."""
        if self.device_mesh is not None and not is_sharded(self):
            shard(self, self.device_mesh[DATA_PARALLEL])

    def configure_callbacks(self) -> list[Callback]:
        """Return the callbacks that every training needs, also one started from Python."""
        check_loggers(self.trainer)
        return [EvaluationRules(), StartCheck(), OptimizerSettings()]

    def configure_optimizers(self) -> Any:
        """Build optimizer and schedule."""
        if not any(parameter.requires_grad for parameter in self.parameters()):
            raise InputError("nothing to train: all weights are frozen; call `unfreeze`, or set requires_grad of some")
        monitors = {"max": f"val/{self.main_result_type}/AP"}
        if self.validation_loss_names():
            monitors["min"] = f"val/{TOTAL}"
        return configured(self, self.optimizer, self.schedule, self.parameter_groups(), self.group_settings, monitors)
