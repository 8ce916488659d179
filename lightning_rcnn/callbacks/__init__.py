"""Callbacks of a training: checkpoints, metrics, images, alarms.

The names below are imported at first use: W&B and Lightning take seconds to import.
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = [
    "EMA",
    "Alerts",
    "AnalysisReport",
    "AtomicCheckpointIO",
    "BackgroundCheckpointIO",
    "BestCheckpoint",
    "Compilation",
    "DataErrors",
    "DetectionCSVLogger",
    "DetectionImages",
    "DetectionMLFlowLogger",
    "DetectionTensorBoardLogger",
    "DetectionWandbLogger",
    "GradientOrder",
    "LastCheckpoint",
    "Lineage",
    "MetricsReport",
    "NonFiniteGuard",
    "PredictionResults",
    "Preemption",
    "ProgressLines",
    "RankWatch",
    "ShardedStrategy",
    "SharedBuffers",
    "Throughput",
    "TrainingProgress",
]

if TYPE_CHECKING:
    from lightning_rcnn.callbacks.analysis_report import AnalysisReport
    from lightning_rcnn.callbacks.background_checkpoints import BackgroundCheckpointIO
    from lightning_rcnn.callbacks.checkpoint_io import AtomicCheckpointIO
    from lightning_rcnn.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
    from lightning_rcnn.callbacks.compilation import Compilation
    from lightning_rcnn.callbacks.csv_logging import DetectionCSVLogger
    from lightning_rcnn.callbacks.data_errors import DataErrors
    from lightning_rcnn.callbacks.detection_images import DetectionImages
    from lightning_rcnn.callbacks.ema import EMA
    from lightning_rcnn.callbacks.gradient_order import GradientOrder
    from lightning_rcnn.callbacks.metrics_report import MetricsReport
    from lightning_rcnn.callbacks.mlflow_logging import DetectionMLFlowLogger
    from lightning_rcnn.callbacks.non_finite import NonFiniteGuard
    from lightning_rcnn.callbacks.prediction_results import PredictionResults
    from lightning_rcnn.callbacks.preemption import Preemption
    from lightning_rcnn.callbacks.progress_lines import ProgressLines
    from lightning_rcnn.callbacks.rank_watch import RankWatch
    from lightning_rcnn.callbacks.sharded_strategy import ShardedStrategy
    from lightning_rcnn.callbacks.shared_buffers import SharedBuffers
    from lightning_rcnn.callbacks.tensorboard_logging import DetectionTensorBoardLogger
    from lightning_rcnn.callbacks.throughput import Throughput
    from lightning_rcnn.callbacks.training_progress import TrainingProgress
    from lightning_rcnn.callbacks.wandb_alerts import Alerts
    from lightning_rcnn.callbacks.wandb_lineage import Lineage
    from lightning_rcnn.callbacks.wandb_logging import DetectionWandbLogger

_MODULES = {
    "Alerts": "wandb_alerts",
    "AnalysisReport": "analysis_report",
    "AtomicCheckpointIO": "checkpoint_io",
    "BackgroundCheckpointIO": "background_checkpoints",
    "EMA": "ema",
    "BestCheckpoint": "checkpoints",
    "Compilation": "compilation",
    "DataErrors": "data_errors",
    "DetectionCSVLogger": "csv_logging",
    "DetectionImages": "detection_images",
    "DetectionMLFlowLogger": "mlflow_logging",
    "DetectionTensorBoardLogger": "tensorboard_logging",
    "DetectionWandbLogger": "wandb_logging",
    "GradientOrder": "gradient_order",
    "LastCheckpoint": "checkpoints",
    "Lineage": "wandb_lineage",
    "MetricsReport": "metrics_report",
    "NonFiniteGuard": "non_finite",
    "PredictionResults": "prediction_results",
    "Preemption": "preemption",
    "ProgressLines": "progress_lines",
    "RankWatch": "rank_watch",
    "ShardedStrategy": "sharded_strategy",
    "SharedBuffers": "shared_buffers",
    "Throughput": "throughput",
    "TrainingProgress": "training_progress",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
