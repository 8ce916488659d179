"""Callbacks of Lightning that would not do here what they say, each with the reason and what to use instead."""

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

from lightning_rcnn.cli.known_keys import find_class
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
    StochasticWeightAveraging: (
        "its average is validated at no time and is in no checkpoint; EMA validates and keeps one"
    ),
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
        "NonFiniteGuard, which each run has, stops at a loss that is no number"
    ),
    OnExceptionCheckpoint: (
        "a checkpoint from the midst of a batch may hold half a step; each run keeps last.ckpt, which is exact, as "
        "often as --last_checkpoint.every_n_steps says"
    ),
    Timer: "its `interval` is no plain data, which config.yaml holds; give --trainer.max_time",
    ThroughputMonitor: "it has to be told how large a batch is; Throughput, which each run has, logs images per second",
}
NO_CHECKPOINTS = (
    "trainer.enable_checkpointing false: every run keeps last.ckpt, without which a stopped one is lost; leave it out, "
    "and set --last_checkpoint.every_n_steps high where writing takes long"
)


def refuse_callbacks(configured: Any) -> None:
    """See that each callback of a configuration does what it says.

    Args:
        configured: value of `trainer.callbacks`: entries with a `class_path`, one or a list of them, or None.

    Raises:
        InputError: one of `REFUSED`, or of a class derived from it, with the reason; or one that lacks a package.
    """
    for entry in configured if isinstance(configured, list) else [configured]:
        found = find_class(entry.class_path, (Callback,)) if entry is not None else None
        for kind, reason in REFUSED.items():
            if found is not None and issubclass(found, kind):
                raise InputError(f"trainer.callbacks: {found.__name__} is not for use here: {reason}")
        if found is DeviceStatsMonitor and find_spec("psutil") is None:
            raise InputError("trainer.callbacks: DeviceStatsMonitor needs psutil: pip install psutil")
