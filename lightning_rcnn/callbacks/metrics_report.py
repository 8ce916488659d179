"""Metrics of each validation, on the screen and in the run folder."""

from typing import Any

import rich
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from lightning_rcnn.callbacks.run_folder import run_folder
from lightning_rcnn.evaluation.report import metrics_tables, write_metrics

METRICS = "metrics.json"
TEST_METRICS = "test_metrics.json"


class MetricsReport(Callback):
    """Prints the detector's `last_metrics` and writes them to `metrics.json`, after a test to `test_metrics.json`."""

    # Hooks named `..._epoch_end` run before the detector has scored.
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the metrics of a validation."""
        if not trainer.sanity_checking:
            _report(trainer, pl_module, "validation", METRICS)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the metrics of a test."""
        _report(trainer, pl_module, "test", TEST_METRICS)


def _report(trainer: Trainer, pl_module: LightningModule, what: str, file_name: str) -> None:
    if not trainer.is_global_zero:
        return
    metrics: dict[str, Any] = pl_module.last_metrics  # type: ignore[assignment]
    fitting = trainer.state.fn == TrainerFn.FITTING
    epoch, step = (trainer.current_epoch, trainer.global_step) if fitting else (None, None)
    title = f"{what} of epoch {trainer.current_epoch + 1}, step {step}" if fitting else what  # as progress counts
    # Lightning's progress bar shares this console and moves out of the way.
    rich.get_console().print(metrics_tables(metrics, title))
    if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # a property that Lightning adds later
        write_metrics(run_folder(trainer) / file_name, metrics, epoch, step)
