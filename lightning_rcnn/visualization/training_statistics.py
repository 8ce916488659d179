"""Statistics of training batches: what transforms and anchors make of the annotated objects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lightning_rcnn.rpn.matches import AnchorMatches
from lightning_rcnn.visualization.training_images import TrainingObjects, without_anchor


@dataclass(frozen=True)
class AnchorStatistics:
    """Counts of the anchors of some images.

    Attributes:
        positives: positive anchors.
        without: objects that no anchor learns.
        below: objects whose best anchor has less than the IoU of positives, and is one only as the best of all.
    """

    positives: int
    without: int
    below: int


@dataclass(frozen=True)
class TrainingStatistics:
    """Counts of some training images.

    Attributes:
        images: number of images.
        without_objects: images without any object, single or crowd, in their frame.
        annotated: objects of the annotations, crowds included.
        lost: those of them that are not in the frame; an image that has more objects than annotations lost none.
        edges: shorter edges of the single objects in the frame, pixels of the resized frame.
        anchors: counts of anchors; None for a detector without anchors.
    """

    images: int
    without_objects: int
    annotated: int
    lost: int
    edges: tuple[float, ...]
    anchors: AnchorStatistics | None

    @property
    def lost_share(self) -> float:
        """Share of the annotated objects that are not in the frame; 0 if there are none."""
        return self.lost / max(1, self.annotated)

    def edge_below(self, share: float) -> float:
        """Return the quantile of the shorter edges, pixels; NaN without objects."""
        return float(np.quantile(self.edges, share)) if self.edges else float("nan")


def image_statistics(
    annotated: int, shown: TrainingObjects, matches: AnchorMatches | None, positive_iou: float
) -> TrainingStatistics:
    """Count the objects and anchors of one image.

    Args:
        annotated: number of objects in its annotations, crowds included.
        shown: its ground truth in the batch.
        matches: its positive anchors; None for a detector without anchors.
        positive_iou: IoU from which an anchor is positive.
    """
    boxes, is_crowd = shown.objects.boxes, shown.objects.is_crowd
    assert is_crowd is not None
    edges = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1)[~is_crowd]
    anchors = None
    if matches is not None:
        owners, owner = matches.gt_index.unique(return_inverse=True)
        best = torch.zeros(len(owners)).scatter_reduce(0, owner, matches.iou, "amax")
        below = int((best < positive_iou).sum())
        anchors = AnchorStatistics(len(matches.boxes), int(without_anchor(shown, matches).sum()), below)
    is_empty = len(boxes) == 0
    return TrainingStatistics(
        1, int(is_empty), annotated, max(0, annotated - len(boxes)), tuple(edges.tolist()), anchors
    )


def add_up(parts: Sequence[TrainingStatistics]) -> TrainingStatistics:
    """Add up the counts of images or batches of one detector."""
    anchors = [part.anchors for part in parts if part.anchors is not None]
    return TrainingStatistics(
        images=sum(part.images for part in parts),
        without_objects=sum(part.without_objects for part in parts),
        annotated=sum(part.annotated for part in parts),
        lost=sum(part.lost for part in parts),
        edges=tuple(edge for part in parts for edge in part.edges),
        anchors=AnchorStatistics(
            sum(part.positives for part in anchors),
            sum(part.without for part in anchors),
            sum(part.below for part in anchors),
        )
        if anchors
        else None,
    )
