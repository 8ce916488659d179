"""Checks before the first step, for runs from the command line and from Python."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import BaseFinetuning, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from torch.optim.lr_scheduler import LambdaLR

from lightning_rcnn import slurm_step
from lightning_rcnn.callbacks.checkpoints import BestCheckpoint
from lightning_rcnn.callbacks.sharding_check import check_sharding
from lightning_rcnn.callbacks.shared_folder import check_shared_folder
from lightning_rcnn.callbacks.wandb_modes import require_known_mode
from lightning_rcnn.data.class_names import require_same_classes
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.errors import InputError
from lightning_rcnn.launchers import read_launch
from lightning_rcnn.suggestions import did_you_mean

OURS = ("lightning_rcnn.", "lightning.")
"""Modules of the classes that log only the metrics that the detector lists."""


_LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "val_check_interval": 1e-9,
    "log_every_n_steps": 0,
    "gradient_clip_val": 0,
}
"""Trainer's setting -> its least number. Lightning divides by a smaller one, or leaves it out of account in silence."""


class StartCheck(Callback):
    """Compares model, data and trainer before the first step. Detectors add this callback themselves.

    Raises:
        InputError: the trainer's limits leave nothing to train, or a number has no meaning; a launcher started more or
            fewer processes than train together; ranks differ in precision; the model has other classes than the data; a
            setting cannot work with a sharded strategy, or nodes do not share the folder for its split checkpoints;
            gradients on CPUs are to cross the network in another form; a callback monitors a metric that nothing logs,
            or in the wrong direction; a validation interval exceeds the epoch; a callback will unfreeze layers that the
            schedule cannot take.
    """

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Check all that does not need the optimizer; the data are already set up."""
        if stage == "fit":
            _check_limits(trainer)
            _check_numbers(trainer)
        _check_world(trainer)
        _check_precision(trainer)
        check_sharding(trainer, pl_module)
        _check_communication(trainer)
        data = trainer.datamodule  # type: ignore[attr-defined]  # added later
        if isinstance(data, DetectionDataModule):
            if stage != "predict":
                source = data.sources[{"fit": "train", "validate": "val"}.get(stage, stage)]
                require_same_classes(pl_module.class_names, pl_module.category_ids, data.categories, source)
            if stage == "fit":
                _check_validation_interval(trainer, data.num_training_batches)
        if stage == "fit" and not trainer.fast_dev_run:  # type: ignore[attr-defined]  # added later
            _check_monitors(trainer, pl_module)
            check_shared_folder(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Check what needs the schedule."""
        _check_finetuning(trainer)
        _check_plateau(trainer, pl_module)


def check_loggers(trainer: Trainer) -> None:
    """Check settings of loggers, which start before any callback is called.

    Raises:
        InputError: there is a W&B logger, and W&B does not know the `WANDB_MODE`.
    """
    if any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
        require_known_mode()


class _Monitor(NamedTuple):
    """A metric that a callback monitors.

    Attributes:
        name: name of the metric.
        mode: "min" or "max"; None if it does not matter.
        owner: key of the setting, for messages.
    """

    name: str
    mode: str | None
    owner: str


def _check_limits(trainer: Trainer) -> None:
    """Refuse limits with which Lightning trains nothing, and says that the training has reached its end."""
    for name in ("max_steps", "max_epochs"):
        if getattr(trainer, name) == 0:
            raise InputError(f"trainer.{name} 0: trains nothing; give a number above 0, or -1 for no limit")
    if trainer.limit_train_batches == 0:
        raise InputError("trainer.limit_train_batches 0: trains nothing; give 1 or more, or validate instead of fit")


def _check_numbers(trainer: Trainer) -> None:
    """Refuse numbers that have no meaning, and minima above their maxima."""
    for name, least in _LEAST.items():
        value = getattr(trainer, name)
        if value is not None and value < least:
            raise InputError(f"trainer.{name} {value:g}: give {'more than 0' if 0 < least < 1 else f'{least} or more'}")
    for kind in ("epochs", "steps"):
        minimum, maximum = getattr(trainer, f"min_{kind}"), getattr(trainer, f"max_{kind}")
        if minimum is not None and maximum not in (None, -1) and minimum > maximum:
            raise InputError(f"trainer.min_{kind} {minimum}: is more than trainer.max_{kind} {maximum}, which ends it")


def _check_finetuning(trainer: Trainer) -> None:
    """Refuse layers that join the optimizer later where the schedule would stop the training at its next step."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # added later
    callback = next((callback for callback in callbacks if isinstance(callback, BaseFinetuning)), None)
    schedules = [config.scheduler for config in trainer.strategy.lr_scheduler_configs]
    schedule = next((schedule for schedule in schedules if isinstance(schedule, LambdaLR)), None)
    if callback is not None and schedule is not None:
        raise InputError(
            f"trainer.callbacks: {type(callback).__name__} adds layers to the optimizer, and {type(schedule).__name__} "
            "has one factor for each group that is there at the start; take a schedule such as "
            "torch.optim.lr_scheduler.StepLR, or freeze with model.backbone.frozen_stages and train in two runs"
        )


def _check_world(trainer: Trainer) -> None:
    """Refuse processes that would each train alone, and fewer processes than asked for."""
    launch = read_launch(os.environ)
    asked = trainer.num_devices * trainer.num_nodes
    started = launch.world if launch.launcher not in ("", "sbatch") else None
    if trainer.world_size != asked or started not in (None, asked):
        by = launch.launcher or "no launcher"
        hint = f"; {slurm_step.WAY_OUT}" if launch.launcher in ("srun", "sbatch") and launch.world == 1 else ""
        raise InputError(
            f"trainer.devices x trainer.num_nodes is {asked}, but {started or trainer.world_size} processes run "
            f"(started by {by}): make the numbers equal{hint}"
        )


def _check_communication(trainer: Trainer) -> None:
    """Refuse a communication hook where Lightning leaves it out without a word: beside GPUs."""
    strategy = trainer.strategy
    hook = getattr(strategy, "_ddp_comm_hook", None)
    if hook is not None and strategy.root_device.type != "cuda":
        name, device = getattr(hook, "__name__", str(hook)), strategy.root_device.type.upper()
        raise InputError(f"trainer.strategy: ddp_comm_hook {name} has no effect on a {device}; leave it out")


def _check_precision(trainer: Trainer) -> None:
    """Refuse ranks that decided on different precisions, as on different processors."""
    own = str(trainer.precision)
    first = trainer.strategy.broadcast(own)
    if not trainer.strategy.reduce_boolean_decision(own == first):
        raise InputError(
            f"trainer.precision auto: rank 0 chose {first}, another rank chose another precision, as its device is of "
            "another kind; set --trainer.precision for all"
        )


def _check_validation_interval(trainer: Trainer, num_batches: int) -> None:
    interval, limit = trainer.val_check_interval, trainer.limit_train_batches
    in_epoch = min(num_batches, limit) if isinstance(limit, int) else int(num_batches * limit)
    counts_in_epoch = trainer.check_val_every_n_epoch is not None
    if isinstance(interval, int) and counts_in_epoch and trainer.enable_validation and interval > in_epoch > 0:
        raise InputError(
            f"trainer.val_check_interval {interval}: an epoch has {in_epoch} batches; make it smaller, or count over "
            "epochs with trainer.check_val_every_n_epoch null"
        )


def _check_monitors(trainer: Trainer, detector: Any) -> None:
    """Refuse a monitor that nothing logs; skip this if unknown classes may log it."""
    parts = [detector, *trainer.callbacks]  # type: ignore[attr-defined]  # added later
    all_known = all(type(part).__module__.startswith(OURS) for part in parts)
    validates = _validates(trainer)
    in_validation = detector.validation_metric_names()
    losses = detector.validation_loss_names()
    in_training = {"train/loss", *(f"train/{name}" for name in detector.loss_names)}
    for name, mode, owner in _monitors(trainer, validates):
        if name in in_validation and not validates:
            raise InputError(f"{owner}: {name!r} is a validation metric, but nothing validates: give --data.val")
        if name not in (*in_validation, *in_training) and all_known:
            near = did_you_mean(name, [*in_validation, *in_training])
            raise InputError(
                f"{owner}: nothing logs {name!r}{near or f'; there are {_listed(in_validation | in_training)}'}"
            )
        best = "min" if name in in_training | losses else "max" if name in in_validation else mode
        if mode not in (None, best):
            direction = "more is" if best == "max" else "less is"
            raise InputError(f"{owner}: of {name} {direction} better, but its mode is {mode}; give it the mode {best}")


def _validates(trainer: Trainer) -> bool:
    """Tell whether the training validates; other data modules than ours may have validation data."""
    data = trainer.datamodule  # type: ignore[attr-defined]  # added later
    has_none = isinstance(data, DetectionDataModule) and data.sources["val"] is None
    return bool(trainer.limit_val_batches) and not has_none


def _check_plateau(trainer: Trainer, detector: Any) -> None:
    """Refuse a schedule that follows a validation metric where nothing validates; Lightning would after the epoch."""
    for config in trainer.strategy.lr_scheduler_configs:
        if not _validates(trainer) and config.monitor in detector.validation_metric_names():
            raise InputError(
                f"model.schedule: {type(config.scheduler).__name__} follows {config.monitor}, but nothing validates: "
                "give --data.val"
            )


def _monitors(trainer: Trainer, validates: bool) -> Iterator[_Monitor]:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # added later
    for callback in callbacks:
        if isinstance(callback, EarlyStopping):
            yield _Monitor(callback.monitor, callback.mode, "EarlyStopping.monitor")
        if isinstance(callback, ModelCheckpoint) and callback.monitor not in (None, "epoch", "step"):
            keeps_all = callback.save_top_k in (-1, 0)
            yield _Monitor(callback.monitor, None if keeps_all else callback.mode, "ModelCheckpoint.monitor")
        if isinstance(callback, BestCheckpoint) and callback.monitor and validates:
            yield _Monitor(callback.monitor, callback.mode, "best_checkpoint.monitor")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(name for name in names if "/per_class" not in name))
