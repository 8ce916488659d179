"""The error analysis of each evaluation: a page for the browser, the same as JSON, and the best threshold."""

from collections.abc import Iterator
from typing import Any

import rich
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn

from lightning_rcnn.callbacks.analysis_logging import log_analysis
from lightning_rcnn.callbacks.image_logging import send_report_to_each
from lightning_rcnn.callbacks.run_folder import run_folder
from lightning_rcnn.checkpoints.header import THRESHOLDS_KEY
from lightning_rcnn.evaluation.analysis.analysis import Analysis
from lightning_rcnn.evaluation.analysis.collecting import AnalysisCollector, Collected, analysis_of
from lightning_rcnn.evaluation.analysis.findings import findings
from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision
from lightning_rcnn.evaluation.gathering import score_on_rank_zero
from lightning_rcnn.evaluation.report import analysis_tables
from lightning_rcnn.evaluation.report_page.gallery import as_jpeg, pixels_of
from lightning_rcnn.evaluation.report_page.page import PAGE, REPORT, proposal_recall, report_page, write_report
from lightning_rcnn.structures import NO_IMAGE, Batch


class AnalysisReport(Callback):
    """Analyzes errors after each `validate` and `test`, and writes `report/index.html` into the run's folder.

    Loggers get its figures, W&B also tables and charts (docs/logging.md).
    The errors are those of masks if the detector has them, else of boxes. Images are analyzed while they are scored.

    Args:
        in_training: also analyze each validation of a training.

    Attributes:
        analysis: analysis of the last evaluation, on rank 0; None before.
        thresholds: best thresholds of the last evaluation, on all ranks, as in `CheckpointHeader`; empty before, and
            without a true positive.
    """

    def __init__(self, in_training: bool = False) -> None:
        super().__init__()
        self.in_training = in_training
        self.analysis: Analysis | None = None
        self.thresholds: dict[str, Any] = {}
        self._collector: AnalysisCollector | None = None
        self._evaluated_step = -1

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start collecting."""
        if not trainer.sanity_checking and (self.in_training or trainer.state.fn != TrainerFn.FITTING):
            self._start(pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start collecting."""
        self._start(pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect names, and JPEGs of the worst images so far."""
        if self._collector is None:
            return
        for slot, record in enumerate(batch.records):
            if record.image_id == NO_IMAGE:
                continue
            self._collector.name(record.image_id, record.file_name)
            image = self._collector.worst.get(record.image_id)
            if image is not None:
                image.jpeg = as_jpeg(pixels_of(batch, slot))

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report."""
        self._finish(trainer, pl_module, "validation")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report."""
        self._finish(trainer, pl_module, "test")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log where the last report is."""
        if self.analysis is not None:
            rank_zero_info(f"The report of the last validation is {run_folder(trainer) / REPORT / PAGE}.")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the thresholds beside the weights that were evaluated."""
        if self.thresholds and self._evaluated_step == trainer.global_step:
            checkpoint[THRESHOLDS_KEY] = self.thresholds

    def _start(self, detector: LightningModule) -> None:
        metric = _main_metric(detector)
        self._collector = AnalysisCollector(metric.result_type, metric.max_detections)
        metric.observers.append(self._collector)

    def _finish(self, trainer: Trainer, detector: LightningModule, what: str) -> None:
        if self._collector is None:
            return
        collector, self._collector = self._collector, None
        _main_metric(detector).observers.remove(collector)

        def report(parts: Iterator[Collected]) -> dict[str, Any]:
            try:
                return self._report(trainer, detector, what, parts)
            except Exception as error:
                if trainer.state.fn != TrainerFn.FITTING:
                    raise
                # A report must not stop a training.
                rank_zero_warn(f"no report of this validation ({type(error).__name__}: {error})")
                return {}

        self.thresholds = score_on_rank_zero(collector.state(), report)
        self._evaluated_step = trainer.global_step

    def _report(
        self, trainer: Trainer, detector: LightningModule, what: str, parts: Iterator[Collected]
    ) -> dict[str, Any]:
        """Analyze, print and write, on rank 0; return the thresholds."""
        metrics: dict[str, Any] = detector.last_metrics  # type: ignore[assignment]
        class_names: list[str] = detector.class_names  # type: ignore[assignment]
        analysis, worst, file_names = analysis_of(parts, class_names, _main_metric(detector).result_type)
        self.analysis = analysis
        is_fitting = trainer.state.fn == TrainerFn.FITTING
        rich.get_console().print(analysis_tables(analysis, findings(analysis, proposal_recall(metrics))))
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # a property that Lightning adds later
            when = f" of epoch {trainer.current_epoch + 1}, step {trainer.global_step}" if is_fitting else ""
            title = f"{type(detector).__name__}: {what}{when}"
            page = report_page(analysis, metrics, worst, file_names, class_names, title, str(trainer.ckpt_path or ""))
            path = write_report(run_folder(trainer) / REPORT, page, analysis)
            send_report_to_each(trainer.loggers, path)
            if not is_fitting:
                rank_zero_info(f"The report is {path}.")
        try:
            split = "test" if trainer.state.fn == TrainerFn.TESTING else "val"
            log_analysis(trainer, split, analysis, metrics, worst, file_names, class_names)
        # No logger may stop an evaluation.
        except Exception as error:
            rank_zero_warn(f"the analysis is not logged ({type(error).__name__}: {error})")
        if analysis.best is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return {}
        per_class = {one.name: one.best.score for one in analysis.classes if one.best}
        return {"score": analysis.best.score, "f1": analysis.best.f1, "per_class": per_class}


def _main_metric(detector: LightningModule) -> CocoAveragePrecision:
    metrics: dict[str, CocoAveragePrecision] = detector.evaluation.average_precisions  # type: ignore[assignment, union-attr]
    return metrics[detector.main_result_type]  # type: ignore[index]
