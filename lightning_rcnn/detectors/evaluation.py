"""Metrics of a detector in validation: AP of boxes, masks and keypoints, VOC AP, recall of proposals."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import nn
from torchmetrics import Metric

from lightning_rcnn.evaluation.coco_ap import SETTINGS, CocoAveragePrecision
from lightning_rcnn.evaluation.coco_entries import annotations_of, object_entries
from lightning_rcnn.evaluation.federated import Federation, detection_limit
from lightning_rcnn.evaluation.mean_losses import MeanLosses
from lightning_rcnn.evaluation.oks import KEYPOINT_DETECTIONS
from lightning_rcnn.evaluation.proposal_recall import ProposalRecall
from lightning_rcnn.evaluation.scoring import ResultType
from lightning_rcnn.evaluation.voc_ap import VOCAveragePrecision
from lightning_rcnn.masks.paste import PasteRule
from lightning_rcnn.structures import Detections, FoundObjects, ImageRecord, Proposals

LOSSES = "losses"
"""Key of the mean losses; logs name them beside the other groups, as in training."""
PROPOSALS = "proposals"
"""Key of the recall of proposals."""


class Evaluation(nn.Module):
    """The metrics of one detector.

    Args:
        class_names: foreground classes in order.
        detections_per_image: the detector's limit; COCO's metrics count the best 100 and LVIS's the best 300, or this
            many if that is more.
        mask_paste: rule that pastes predicted masks into their images; None without masks.
        oks_sigmas: standard deviations of the keypoints, see `KeypointRCNN`; None without keypoints.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        detections_per_image: int,
        mask_paste: PasteRule | None,
        oks_sigmas: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self._detections_per_image = detections_per_image
        # In a dictionary, so that they are no submodules and stay on the host.
        self.average_precisions: dict[ResultType, CocoAveragePrecision] = {"bbox": CocoAveragePrecision(class_names)}
        if mask_paste is not None:
            self.average_precisions["segm"] = CocoAveragePrecision(class_names, "segm", mask_paste=mask_paste)
        self.follow(None)
        if oks_sigmas is not None:
            self.average_precisions["keypoints"] = CocoAveragePrecision(
                class_names, "keypoints", KEYPOINT_DETECTIONS, oks_sigmas=oks_sigmas
            )
        self.voc_average_precision = VOCAveragePrecision(class_names)
        self.proposal_recall = ProposalRecall()
        self.losses = MeanLosses()

    @property
    def main_result_type(self) -> ResultType:
        """Return "segm" if the detector predicts masks, "keypoints" if it predicts keypoints, else "bbox"."""
        *_, last = self.average_precisions
        return last

    def follow(self, federation: Federation | None) -> None:
        """Score by LVIS's rules if the set is federated, else by COCO's; forget all images.

        Keypoints, which no federated set has, are scored by COCO's.
        """
        limit = max(detection_limit(federation), self._detections_per_image)
        for result_type, average_precision in self.average_precisions.items():
            if result_type != "keypoints":
                average_precision.federation, average_precision.max_detections = federation, limit
            average_precision.reset()

    def update(self, detections: Detections, proposals: Proposals, records: Sequence[ImageRecord]) -> None:
        """Add a batch; boxes and masks are in the original frame."""
        for average_precision in self.average_precisions.values():
            average_precision.update(detections, records)
        self.voc_average_precision.update(detections, records)
        self.proposal_recall.update(proposals, records)

    def add_objects(self, objects: FoundObjects, record: ImageRecord) -> None:
        """Add one image whose masks are pasted already; there are no proposals to score."""
        annotations, entries = annotations_of(record), object_entries(objects)
        for average_precision in self.average_precisions.values():
            average_precision.add_image(
                record.image_id, record.height, record.width, annotations, entries, record.label_lists
            )
        self.voc_average_precision.add_image(record.image_id, annotations, entries, record.label_lists)

    def compute(self, without: Collection[str] = ()) -> dict[str, Any]:
        """Compute the metrics, the same on all ranks, and reset them.

        Args:
            without: names of metrics that nothing was added to, the same on all ranks.
        """
        metrics: dict[str, Metric] = {
            **{str(name): metric for name, metric in self.average_precisions.items()},
            "voc": self.voc_average_precision,
            PROPOSALS: self.proposal_recall,
        }
        metrics = {name: metric for name, metric in metrics.items() if name not in without}
        results = {name: metric.compute() for name, metric in metrics.items()}
        for metric in metrics.values():
            metric.reset()
        losses = self.losses.compute()
        self.losses.reset()
        return {**results, LOSSES: losses} if losses else results


def flatten_metrics(metrics: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """Name nested metrics for loggers, for example `val/bbox/AP50`, `val/bbox/per_class/cat` and `val/loss_box`.

    The limit of detections per image and the rules are left out: they are settings, not metrics.
    """
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            flat |= flatten_metrics(value, prefix if name == LOSSES else f"{prefix}/{name}")
        elif name not in SETTINGS:
            flat[f"{prefix}/{name}"] = value
    return flat
