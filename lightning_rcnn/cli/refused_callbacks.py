"""Callbacks of Lightning that do not work here, each with the reason and a replacement."""

from importlib.util import find_spec
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    DeviceStatsMonitor,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelPruning,
    OnExceptionCheckpoint,
    SpikeDetection,
    StochasticWeightAveraging,
    ThroughputMonitor,
    Timer,
)

from lightning_rcnn.cli.class_lookup import find_class
from lightning_rcnn.errors import InputError

REFUSED: dict[type[Callback], str] = {
    LearningRateFinder: (
        "the rate that it finds reaches neither the optimizer's schedule nor config.yaml, so that a resumed run has "
        "another one; try a few values of --model.optimizer.lr with --trainer.max_steps 100"
    ),
    BatchSizeFinder: (
        "memory depends on the shapes of the batches and their objects, of which its trials see a few, and the size "
        "that it finds is not in config.yaml, so that a resumed run has another one; give --data.batch_size"
    ),
    BaseFinetuning: (
        "layers that join the optimizer later are unknown to its schedule and to a checkpoint from before; give "
        "--model.backbone.frozen_stages, and train in two runs, the second with --model.weights CHECKPOINT"
    ),
    StochasticWeightAveraging: ("its average is never validated and in no checkpoint; use EMA, which does both"),
    GradientAccumulationScheduler: (
        "the number of steps, on which the schedule depends, would change within the training; give "
        "--trainer.accumulate_grad_batches"
    ),
    ModelPruning: (
        "it renames the weights while they are pruned, and a resumed run does not find them; "
        "`lightning-rcnn compress` makes a trained Fast R-CNN smaller"
    ),
    SpikeDetection: (
        "it ends the training where the loss jumps, and counts on a loader that leaves out the batches that it names; "
        "NonFiniteGuard, which each run has, stops at a loss that is infinite or NaN"
    ),
    OnExceptionCheckpoint: (
        "a checkpoint written mid-batch may hold half a step; each run keeps last.ckpt, which is exact, as "
        "often as --last_checkpoint.every_n_steps says"
    ),
    Timer: "its `interval` is no plain data, which config.yaml holds; give --trainer.max_time",
    ThroughputMonitor: "it has to be told how large a batch is; Throughput, which each run has, logs images per second",
}
_WAY_OUT = "leave it out, and set --last_checkpoint.every_n_steps high where writing takes long"


def refuse_no_checkpoints(trainer: Any) -> None:
    """Refuse settings of the trainer without which a run that is stopped would be lost.

    Args:
        trainer: parsed `trainer` of the configuration.

    Raises:
        InputError: it is to keep no checkpoints.
    """
    for name, value in (("enable_checkpointing", False), ("barebones", True)):
        if getattr(trainer, name) is value:
            raise InputError(
                f"trainer.{name} {str(value).lower()}: every run keeps last.ckpt, without which a stopped one is lost; "
                f"{_WAY_OUT}"
            )


def refuse_callbacks(configured: Any) -> None:
    """Refuse callbacks that do not work here.

    Args:
        configured: value of `trainer.callbacks`: an entry with a `class_path`, a list of them, or None.

    Raises:
        InputError: a callback is in `REFUSED` or derives from one there, or its package is missing.
    """
    for entry in configured if isinstance(configured, list) else [configured]:
        callback_class = find_class(entry.class_path, (Callback,)) if entry is not None else None
        for kind, reason in REFUSED.items():
            if callback_class is not None and issubclass(callback_class, kind):
                raise InputError(f"trainer.callbacks: {callback_class.__name__} does not work here: {reason}")
        if callback_class is DeviceStatsMonitor and find_spec("psutil") is None:
            raise InputError("trainer.callbacks: DeviceStatsMonitor needs psutil: pip install psutil")
