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
from lightning_rcnn.data.pixel_format import RGB
from lightning_rcnn.evaluation.analysis.analysis import Analysis
from lightning_rcnn.evaluation.analysis.collecting import AnalysisCollector, Collected, analyses_of
from lightning_rcnn.evaluation.analysis.findings import findings_of_each
from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision
from lightning_rcnn.evaluation.gathering import score_on_rank_zero
from lightning_rcnn.evaluation.report import analysis_tables
from lightning_rcnn.evaluation.report_page.gallery import pixels_of
from lightning_rcnn.evaluation.report_page.page import PAGE, REPORT, proposal_recall, report_page, write_report
from lightning_rcnn.evaluation.scoring import RegionType
from lightning_rcnn.pages.pictures import as_jpeg
from lightning_rcnn.structures import NO_IMAGE, Batch


class AnalysisReport(Callback):
    """Analyzes errors after each `validate` and `test`, and writes `report/index.html` into the run's folder.

    Loggers get its figures, W&B also tables and charts (docs/logging.md).
    The report has the errors of boxes, and of masks if the detector has them. Loggers and thresholds are of masks
    if there are any, else of boxes. Images are analyzed while they are scored.

    Args:
        in_training: also analyze each validation of a training.

    Attributes:
        analyses: result type -> analysis of the last evaluation, the main type first, on rank 0; empty before.
        thresholds: best thresholds of the last evaluation, on all ranks, as in `CheckpointHeader`; empty before, and
            without a true positive.
    """

    def __init__(self, in_training: bool = False) -> None:
        super().__init__()
        self.in_training = in_training
        self.analyses: dict[RegionType, Analysis] = {}
        self.thresholds: dict[str, Any] = {}
        self._collectors: dict[RegionType, AnalysisCollector] = {}
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
        if not self._collectors:
            return
        for slot, record in enumerate(batch.records):
            if record.image_id == NO_IMAGE:
                continue
            for collector in self._collectors.values():
                collector.name(record.image_id, record.file_name)
            worst = [one.worst[record.image_id] for one in self._collectors.values() if record.image_id in one.worst]
            jpeg = as_jpeg(pixels_of(batch, slot, getattr(pl_module, "pixels", RGB))) if worst else None
            for image in worst:
                image.jpeg = jpeg

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report."""
        self._finish(trainer, pl_module, "validation")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report."""
        self._finish(trainer, pl_module, "test")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log where the last report is."""
        if self.analyses:
            rank_zero_info(f"The report of the last validation is {run_folder(trainer) / REPORT / PAGE}.")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the thresholds beside the weights that were evaluated."""
        if self.thresholds and self._evaluated_step == trainer.global_step:
            checkpoint[THRESHOLDS_KEY] = self.thresholds

    def _start(self, detector: LightningModule) -> None:
        for result_type, metric in _metrics(detector).items():
            self._collectors[result_type] = AnalysisCollector(result_type, metric.max_detections)
            metric.observers.append(self._collectors[result_type])

    def _finish(self, trainer: Trainer, detector: LightningModule, what: str) -> None:
        if not self._collectors:
            return
        collectors, self._collectors = self._collectors, {}
        for result_type, metric in _metrics(detector).items():
            metric.observers.remove(collectors[result_type])

        def report(parts: Iterator[dict[RegionType, Collected]]) -> dict[str, Any]:
            try:
                return self._report(trainer, detector, what, parts)
            except Exception as error:
                if trainer.state.fn != TrainerFn.FITTING:
                    raise
                # A report must not stop a training.
                rank_zero_warn(f"no report of this validation ({type(error).__name__}: {error})")
                return {}

        part = {result_type: collector.state() for result_type, collector in collectors.items()}
        self.thresholds = score_on_rank_zero(part, report)
        self._evaluated_step = trainer.global_step

    def _report(
        self, trainer: Trainer, detector: LightningModule, what: str, parts: Iterator[dict[RegionType, Collected]]
    ) -> dict[str, Any]:
        """Analyze, print and write, on rank 0; return the thresholds."""
        metrics: dict[str, Any] = detector.last_metrics  # type: ignore[assignment]
        class_names: list[str] = detector.class_names  # type: ignore[assignment]
        analyzed = analyses_of(parts, class_names)
        self.analyses = {result_type: one.analysis for result_type, one in analyzed.items()}
        is_fitting = trainer.state.fn == TrainerFn.FITTING
        said: set[str] = set()  # what masks and boxes have in common, such as the recall of the proposals
        for result_type, sentences in findings_of_each(self.analyses, proposal_recall(metrics)).items():
            new = [sentence for sentence in sentences if sentence not in said]
            rich.get_console().print(analysis_tables(self.analyses[result_type], new))
            said.update(new)
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # a property that Lightning adds later
            when = f" of epoch {trainer.current_epoch + 1}, step {trainer.global_step}" if is_fitting else ""
            title = f"{type(detector).__name__}: {what}{when}"
            page = report_page(analyzed, metrics, class_names, title, str(trainer.ckpt_path or ""))
            path = write_report(run_folder(trainer) / REPORT, page, self.analyses.values())
            send_report_to_each(trainer.loggers, path)
            if not is_fitting:
                rank_zero_info(f"The report is {path}.")
        main = next(iter(analyzed.values()))
        try:
            split = "test" if trainer.state.fn == TrainerFn.TESTING else "val"
            log_analysis(trainer, split, main.analysis, metrics, main.worst, main.file_names, class_names)
        # No logger may stop an evaluation.
        except Exception as error:
            rank_zero_warn(f"the analysis is not logged ({type(error).__name__}: {error})")
        best = main.analysis.best
        if best is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return {}
        per_class = {one.name: one.best.score for one in main.analysis.classes if one.best}
        return {"score": best.score, "f1": best.f1, "per_class": per_class}


def _metrics(detector: LightningModule) -> dict[RegionType, CocoAveragePrecision]:
    """Return the detector's metrics by result type, the main one first; keypoints have no analysis of their own."""
    metrics: dict[RegionType, CocoAveragePrecision] = detector.evaluation.average_precisions  # type: ignore[assignment, union-attr]
    regions: tuple[RegionType, ...] = ("segm", "bbox")
    return {result_type: metrics[result_type] for result_type in regions if result_type in metrics}
