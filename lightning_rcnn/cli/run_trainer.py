"""What the trainer of a run has beyond its configuration: callbacks, plugins, progress, precision."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.plugins.precision import Precision as PrecisionPlugin

from lightning_rcnn.callbacks.analysis_report import AnalysisReport
from lightning_rcnn.callbacks.data_errors import DataErrors
from lightning_rcnn.callbacks.gradient_order import GradientOrder
from lightning_rcnn.callbacks.memory_checkpoint import given_memory_checkpoint
from lightning_rcnn.callbacks.metrics_report import MetricsReport
from lightning_rcnn.callbacks.non_finite import NonFiniteGuard
from lightning_rcnn.callbacks.prediction_results import PredictionResults
from lightning_rcnn.callbacks.preemption import Preemption
from lightning_rcnn.callbacks.progress_lines import progress_bar
from lightning_rcnn.callbacks.shared_buffers import SharedBuffers
from lightning_rcnn.callbacks.throughput import Throughput
from lightning_rcnn.callbacks.wandb_alerts import Alerts
from lightning_rcnn.callbacks.wandb_lineage import Lineage
from lightning_rcnn.cli.rank_environment import environment_of_launcher
from lightning_rcnn.errors import InputError
from lightning_rcnn.precision import AUTO, choose_precision


def callbacks_of_every_run(analysis: AnalysisReport) -> list[Callback]:
    """Return the callbacks that have no options, in their order."""
    return [
        NonFiniteGuard(),
        Throughput(),
        MetricsReport(),
        Alerts(),
        analysis,
        Lineage(),
        DataErrors(),
        PredictionResults(),
        Preemption(),
        SharedBuffers(),
        GradientOrder(),
        *filter(None, [given_memory_checkpoint()]),
    ]


def callbacks_with_progress(trainer: dict[str, Any], seconds: float) -> list[Callback]:
    """Return the callbacks of a configuration, with our progress bar or lines unless it has or disables one.

    Args:
        trainer: its settings, built.
        seconds: seconds between two lines of progress.
    """
    given = _listed(trainer.get("callbacks"))
    wants_none = trainer.get("enable_progress_bar") is False
    if wants_none or any(isinstance(callback, ProgressBar) for callback in given):
        return given
    return [*given, progress_bar(seconds)]


def run_plugins(trainer: dict[str, Any], writer: CheckpointIO) -> list[Any]:
    """Return the plugins of a configuration, with the writer of checkpoints and the environment of the launcher.

    Args:
        trainer: its settings, built.
        writer: writer of checkpoints.
    """
    plugins = [writer, *_listed(trainer.get("plugins"))]
    if not any(isinstance(plugin, ClusterEnvironment) for plugin in plugins):
        plugins.append(environment_of_launcher())
    return plugins


def run_precision(trainer: dict[str, Any], plugins: list[Any], resumed: Path | None) -> str | None:
    """Return the precision of a configuration, with "auto" decided; None if a plugin decides it.

    Args:
        trainer: its settings, built.
        plugins: plugins of the run.
        resumed: checkpoint of the training that resumes; None if none does.
    """
    if any(isinstance(plugin, PrecisionPlugin) for plugin in plugins):
        return None
    return choose_precision(trainer.get("precision"), trainer.get("accelerator", AUTO), resumed)


def refusal(trainer: dict[str, Any], error: Exception) -> InputError:
    """Return the error of a trainer that cannot be built with its settings, in one line."""
    if trainer.get("accelerator") == "gpu" and not torch.cuda.is_available():
        return InputError(
            "trainer.accelerator: gpu, but PyTorch finds none on this machine; give auto or cpu, or see with "
            "nvidia-smi whether the driver runs"
        )
    return InputError(f"trainer: {' '.join(str(error).split())}")


def _listed(given: Any) -> list[Any]:
    given = given or []
    return given if isinstance(given, list) else [given]
