"""The lineage of a W&B run: from the data that it read to the report of what it made of them."""

from typing import Any

import wandb
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn

from lightning_rcnn.callbacks.analysis_report import AnalysisReport
from lightning_rcnn.callbacks.run_folder import run_folder
from lightning_rcnn.callbacks.run_loggers import row_of
from lightning_rcnn.callbacks.wandb_artifacts import dataset_artifact, report_artifact, use_dataset, warned
from lightning_rcnn.callbacks.wandb_logging import DetectionWandbLogger
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.evaluation.report_page.page import PAGE, REPORT


class Lineage(Callback):
    """Makes the data inputs of the trainer's W&B run, and the report an output, also a panel (`val/report`).

    A training's last report is logged at its end. Checkpoints are outputs of the logger itself (`log_model`). Put this
    callback behind `AnalysisReport`.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Use the data of training and validation."""
        _use_data(trainer, "train", "val")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Use the data, unless the validation is part of a training."""
        if trainer.state.fn != TrainerFn.FITTING:
            _use_data(trainer, "val")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Use the data."""
        _use_data(trainer, "test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the report, unless the validation is part of a training."""
        if trainer.state.fn != TrainerFn.FITTING:
            _log_report(trainer, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the report."""
        _log_report(trainer, "test")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the report of the last validation, if there is one."""
        _log_report(trainer, "val")


def _loggers(trainer: Trainer) -> list[WandbLogger]:
    """Return the W&B loggers on rank 0; other ranks have none."""
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger) and trainer.is_global_zero]


def _use_data(trainer: Trainer, *splits: str) -> None:
    data: Any = trainer.datamodule  # type: ignore[attr-defined]  # added later
    if not isinstance(data, DetectionDataModule):
        return
    for logger in _loggers(trainer):
        for split in splits:
            if split in data.shard_sets:
                with warned(f"data.{split} as an artifact"):
                    use_dataset(logger.experiment, dataset_artifact(data.shard_sets[split]))


def _log_report(trainer: Trainer, split: str) -> None:
    reports = [callback for callback in trainer.callbacks if isinstance(callback, AnalysisReport)]  # type: ignore[attr-defined]
    if not any(report.analyses for report in reports):
        return
    folder, step = run_folder(trainer) / REPORT, row_of(trainer.global_step)
    for logger in _loggers(trainer):
        run = logger.experiment
        with warned("the report as an artifact"):
            artifact = report_artifact(f"report-{run.id}", folder, {"split": split})
            run.log_artifact(artifact, aliases=["latest", split])
            logger.log_metrics({f"{split}/report": wandb.Html(str(folder / PAGE))}, step=step)  # type: ignore[dict-item]


def wait_for_training(trainer: Trainer) -> None:
    """Make the trainer's `DetectionWandbLogger`s log offline: a training still writes to the same run."""
    for logger in trainer.loggers:
        if isinstance(logger, DetectionWandbLogger):
            logger.wait_for_training()
