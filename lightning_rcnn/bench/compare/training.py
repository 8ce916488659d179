"""Training within a time limit, and validation."""

import math
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from torch import Tensor

from lightning_rcnn.bench.compare.recipes import Recipe, Stage
from lightning_rcnn.callbacks.ema import EMA
from lightning_rcnn.callbacks.non_finite import NonFiniteGuard
from lightning_rcnn.callbacks.progress_lines import progress_bar
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.costs import cost_of_image
from lightning_rcnn.detectors.loading import load_detector
from lightning_rcnn.precision import choose_precision


class Trained(NamedTuple):
    """A detector, the metrics of its validation, and the seconds that its training took."""

    detector: Detector
    metrics: dict[str, Any]
    seconds: float


def train_recipe(
    recipe: Recipe, data: dict[str, Any], classes: dict[str, Any], folder: Path, seconds: float, image: Tensor
) -> Trained:
    """Train stage by stage, then validate.

    Args:
        recipe: detector and stages.
        data: arguments of `DetectionDataModule`.
        classes: `class_names` and `category_ids`.
        folder: new folder for checkpoints, one a stage.
        seconds: training time of all stages together.
        image: uint8 [3, H, W], on which the time of a region is measured.
    """
    folder.mkdir(parents=True)
    checkpoint: Path | None = None
    training_seconds = 0.0
    for number, stage in enumerate(recipe.stages, 1):
        weights = {"weights": str(checkpoint)} if checkpoint else {}
        detector = stage.make(**classes, **stage.settings, **weights)
        Console().print(f"{recipe.name}: stage {number} of {len(recipe.stages)}, {type(detector).__name__}")
        limits = _limits(stage, seconds * stage.share, checkpoint, data["batch_size"], image)
        callbacks: list[Callback] = [progress_bar(), NonFiniteGuard()]
        if stage.regions_per_image is None:
            # Every fifth step: with this many weights an update costs as much as a backward pass.
            callbacks.append(EMA(decay=0.9, update_every_n_steps=5))
        trainer = _trainer(callbacks, folder, **limits)
        start = perf_counter()
        trainer.fit(detector, datamodule=DetectionDataModule(**data | {"val": None}))
        training_seconds += perf_counter() - start
        checkpoint = folder / f"stage-{number}.ckpt"
        trainer.save_checkpoint(checkpoint, weights_only=True)
    assert checkpoint is not None
    detector = load_detector(checkpoint)
    trainer = _trainer([progress_bar()], folder)
    trainer.validate(detector, datamodule=DetectionDataModule(**data), verbose=False)
    return Trained(detector, detector.last_metrics, training_seconds)


def _limits(stage: Stage, seconds: float, checkpoint: Path | None, batch_size: int, image: Tensor) -> dict[str, Any]:
    """Limit a stage by its time, or, if it is one pass over the data, by the number of batches that fit into it."""
    if stage.regions_per_image is None:
        return {"max_time": {"seconds": seconds}, "max_epochs": -1}
    assert checkpoint is not None
    cost = cost_of_image(load_detector(checkpoint), image)
    seconds_per_region = (cost.network + cost.heads) / max(cost.passes, 1)
    batches = seconds / (seconds_per_region * stage.regions_per_image * batch_size)
    return {"max_epochs": 1, "limit_train_batches": max(1, math.floor(batches))}


def _trainer(callbacks: list[Callback], folder: Path, **limits: Any) -> Trainer:
    return Trainer(
        accelerator="auto",
        devices=1,
        precision=choose_precision(),
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        default_root_dir=folder,
        **limits,
    )
