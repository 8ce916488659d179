"""The error analysis in loggers: figures in each of them, tables and charts in W&B."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn

from lightning_rcnn.callbacks.checkpoints import BEST
from lightning_rcnn.callbacks.logged_step import logged_step
from lightning_rcnn.callbacks.wandb_charts import confusion_chart, precision_recall_chart
from lightning_rcnn.callbacks.wandb_logging import DetectionWandbLogger
from lightning_rcnn.callbacks.wandb_tables import class_table, error_table
from lightning_rcnn.evaluation.analysis.analysis import Analysis
from lightning_rcnn.evaluation.analysis.collecting import WorstImage

WANDB_KEYS = ("error_table", "class_table", "precision_recall", "confusion")
"""Keys of what only W&B gets, behind "val/" or "test/"."""


def log_analysis(
    trainer: Trainer,
    split: str,
    analysis: Analysis,
    metrics: Mapping[str, Mapping[str, Any]],
    worst: Sequence[WorstImage],
    file_names: Mapping[int, str],
    class_names: Sequence[str],
) -> None:
    """Log an analysis at the step of its evaluation; call this on rank 0.

    Args:
        trainer: the trainer.
        split: "val" or "test", in front of each key.
        analysis: analysis of the evaluation.
        metrics: COCO's figures under the analysis's result type.
        worst: images of the gallery, the worst first.
        file_names: image id -> name; may lack some.
        class_names: names of labels 1..K.
    """
    step = logged_step(trainer)
    figures = {f"{split}/{name}": value for name, value in analysis_figures(analysis).items()}
    for logger in trainer.loggers:
        logger.log_metrics({**figures, "epoch": trainer.current_epoch}, step=step)
        # In a training, the logger does this when the best checkpoint is written.
        if isinstance(logger, DetectionWandbLogger) and trainer.state.fn == TrainerFn.VALIDATING and _is_best(trainer):
            logger.summarize_f1()
    wandb_loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
    if not wandb_loggers:
        return
    charts = precision_recall_chart(analysis), confusion_chart(analysis)
    per_class = metrics.get(analysis.result_type, {}).get("per_class", {})
    for logger in wandb_loggers:
        with tempfile.TemporaryDirectory() as folder:
            tables = (
                error_table(analysis, worst, file_names, class_names, Path(folder)),
                class_table(analysis, per_class),
            )
            media: dict[str, Any] = {
                f"{split}/{name}": value
                for name, value in zip(WANDB_KEYS, (*tables, *charts), strict=True)
                if value is not None
            }
            logger.log_metrics(media, step=step)


def _is_best(trainer: Trainer) -> bool:
    return trainer.ckpt_path is not None and Path(trainer.ckpt_path).name == BEST


def analysis_figures(analysis: Analysis) -> dict[str, float]:
    """Return the cost of each kind of error, the calibration error, and the best F1 with its threshold.

    Without a true positive, F1 is 0 at any threshold; without an object, there is none.
    """
    figures = {f"errors/{kind}": error.ap50 for kind, error in analysis.errors.items()}
    figures["calibration_error"] = analysis.calibration_error
    if analysis.best is not None:
        figures |= {"f1": analysis.best.f1, "f1_threshold": analysis.best.score}
    elif analysis.num_objects:
        figures["f1"] = 0.0
    return figures
