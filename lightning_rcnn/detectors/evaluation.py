"""What a detector is judged by while it validates: AP of boxes and masks, VOC's AP, recall of its proposals."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torchmetrics import Metric

from lightning_rcnn.evaluation.coco_ap import MAX_DETECTIONS, CocoAveragePrecision
from lightning_rcnn.evaluation.proposal_recall import ProposalRecall
from lightning_rcnn.evaluation.scoring import ResultType
from lightning_rcnn.evaluation.voc_ap import VOCAveragePrecision
from lightning_rcnn.masks.paste import PasteRule
from lightning_rcnn.structures import Detections, ImageRecord, Proposals


class Evaluation(nn.Module):
    """The metrics of one detector.

    Args:
        class_names: foreground classes in order.
        detections_per_image: that the detector gives at most. COCO's figures are over 100; where more are given, more
            count.
        mask_paste: how its masks come into their images; None without masks.
    """

    def __init__(self, class_names: Sequence[str], detections_per_image: int, mask_paste: PasteRule | None) -> None:
        super().__init__()
        limit = max(100, detections_per_image)
        # Not among the submodules: they score on the host.
        self.average_precisions = {"bbox": CocoAveragePrecision(class_names, max_detections=limit)}
        if mask_paste is not None:
            self.average_precisions["segm"] = CocoAveragePrecision(class_names, "segm", limit, mask_paste)
        self.voc_average_precision = VOCAveragePrecision(class_names)
        self.proposal_recall = ProposalRecall()

    @property
    def main_result_type(self) -> ResultType:
        """Masks where the detector has them, else boxes."""
        return "segm" if "segm" in self.average_precisions else "bbox"

    def update(self, detections: Detections, proposals: Proposals, records: Sequence[ImageRecord]) -> None:
        """Add a batch; all in the original frame."""
        for average_precision in self.average_precisions.values():
            average_precision.update(detections, records)
        self.voc_average_precision.update(detections, records)
        self.proposal_recall.update(proposals, records)

    def compute(self) -> dict[str, Any]:
        """Score once for all ranks, and reset."""
        metrics: dict[str, Metric] = {
            **self.average_precisions,
            "voc": self.voc_average_precision,
            "proposals": self.proposal_recall,
        }
        figures = {name: metric.compute() for name, metric in metrics.items()}
        for metric in metrics.values():
            metric.reset()
        return figures


def flatten_metrics(metrics: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """Name nested metrics for loggers, for example `val/bbox/AP50` and `val/bbox/per_class/cat`.

    The number of detections that count is a setting, and makes no curve.
    """
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            flat |= flatten_metrics(value, f"{prefix}/{name}")
        elif name != MAX_DETECTIONS:
            flat[f"{prefix}/{name}"] = value
    return flat
