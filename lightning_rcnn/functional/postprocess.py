"""Postprocessing of the heads' outputs to detections: score threshold, class-wise NMS, the best of each image.

Shape letters: N images, P proposals, K classes, D detections.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from lightning_rcnn.functional.boxes import clip_boxes, decode, has_min_size, rescale, rescale_points
from lightning_rcnn.ops.gather import gather_boxes
from lightning_rcnn.ops.nms import batched_nms
from lightning_rcnn.ops.soft_nms import batched_soft_nms
from lightning_rcnn.structures import PADDING_LABEL, Detections, Proposals

NMSKind = Literal["hard", "soft"]
_SOFT_NMS_CANDIDATES = 4096
"""The best candidates of an image that Soft-NMS looks at: with LVIS's classes and threshold there are a million."""


def softmax_scores(class_logits: Tensor) -> Tensor:
    """Return the probabilities of the foreground classes [..., K] from logits [..., K+1], background first."""
    return class_logits.float().softmax(-1)[..., 1:]


def most_classes_above(score_threshold: float, num_classes: int) -> int:
    """Return how many of K classes of a proposal may have a probability above a threshold.

    They sum to one. Scores of another kind may exceed the threshold in more; then the lowest candidates are left out.
    """
    return num_classes if score_threshold <= 0 else min(num_classes, math.ceil(1 / score_threshold))


def select_detections(
    proposals: Proposals,
    class_logits: Tensor,
    box_deltas: Tensor,
    image_sizes: Tensor,
    *,
    box_weights: tuple[float, float, float, float],
    score_threshold: float,
    nms_iou: float,
    max_detections: int,
    nms: NMSKind = "hard",
    nms_across_classes: bool = False,
    min_size: float = 1e-2,
    scores_of: Callable[[Tensor], Tensor] = softmax_scores,
    min_scale: float = 0.0,
) -> Detections:
    """Select detections in the resized frame.

    Args:
        proposals: [N, P], the inputs of the heads.
        class_logits: [N, P, K+1], background first.
        box_deltas: [N, P, K, 4], one box per foreground class.
        image_sizes: [N, 2] (height, width).
        box_weights: factors of the deltas.
        score_threshold: lower bound (exclusive) of a detection's probability.
        nms_iou: IoU above which only the better of two boxes of one class is kept.
        max_detections: D.
        nms: "hard", or "soft", which lowers the scores of such boxes (`ops/soft_nms.py`).
        nms_across_classes: whether boxes of different classes suppress each other, too.
        min_size: minimum side of a detection, pixels (the default is torchvision's); with 0 (detectron2's) even empty
            boxes are kept.
        scores_of: function from class logits to the scores of the foreground classes [N, P, K].
        min_scale: least factor of a side of a proposal; 0 for no limit.
    """
    num_classes = box_deltas.shape[2]
    return select_by_score(
        proposals,
        scores_of(class_logits),
        box_deltas,
        image_sizes,
        classes_above=most_classes_above(score_threshold, num_classes),
        box_weights=box_weights,
        score_threshold=score_threshold,
        nms_iou=nms_iou,
        max_detections=max_detections,
        nms=nms,
        nms_across_classes=nms_across_classes,
        min_size=min_size,
        min_scale=min_scale,
    )


def select_by_score(
    proposals: Proposals,
    scores: Tensor,
    box_deltas: Tensor,
    image_sizes: Tensor,
    *,
    classes_above: int,
    box_weights: tuple[float, float, float, float],
    score_threshold: float,
    nms_iou: float,
    max_detections: int,
    nms: NMSKind = "hard",
    nms_across_classes: bool = False,
    min_size: float = 1e-2,
    min_scale: float = 0.0,
) -> Detections:
    """Select detections in the resized frame by scores of any kind, such as those of SVMs.

    Args:
        proposals, box_deltas, image_sizes, box_weights, score_threshold, nms_iou, max_detections, nms,
            nms_across_classes, min_size, min_scale: as in `select_detections`.
        scores: float32 [N, P, K], scores of the foreground classes.
        classes_above: maximum number of classes of a proposal with a score above the threshold, at most K.
    """
    num_proposals, num_classes = box_deltas.shape[1:3]
    scores = torch.where((scores > score_threshold) & proposals.is_valid[..., None], scores, -torch.inf)
    # A stable sort keeps equal scores (saturated ones, for example) in the order of proposals, here and below.
    score, candidate = scores.flatten(1).sort(dim=1, descending=True, stable=True)
    num_candidates = num_proposals * classes_above
    score, candidate = score[:, :num_candidates], candidate[:, :num_candidates]
    proposal, label = candidate // num_classes, candidate % num_classes
    delta = gather_boxes(box_deltas.flatten(1, 2), candidate)
    reference = gather_boxes(proposals.boxes, proposal)
    box = clip_boxes(decode(delta, reference, box_weights, min_scale), image_sizes)
    score = torch.where(has_min_size(box, min_size), score, -torch.inf)
    group = torch.zeros_like(label) if nms_across_classes else label
    if nms == "soft":
        best = slice(_SOFT_NMS_CANDIDATES)
        kept = batched_soft_nms(box[:, best], score[:, best], group[:, best], nms_iou, max_detections, score_threshold)
    else:
        kept = batched_nms(box, score, group, nms_iou, max_detections)
    box = gather_boxes(box, kept.indices)
    return Detections(
        boxes=torch.where(kept.is_valid[..., None], box, 0.0),
        scores=torch.where(kept.is_valid, kept.scores, 0.0),
        labels=torch.where(kept.is_valid, label.gather(1, kept.indices) + 1, PADDING_LABEL),
    )


def to_original_frame(detections: Detections, image_sizes: Tensor, original_sizes: Tensor) -> Detections:
    """Move detections from the resized to the original frame; boxes that are empty there become padding.

    Args:
        detections: [N, D], in the resized frame.
        image_sizes, original_sizes: [N, 2], (height, width) of the resized and of the original frame.
    """
    boxes = rescale(detections.boxes, image_sizes, original_sizes)
    has_area = (boxes[..., 2:] > boxes[..., :2]).all(-1)
    if (keypoints := detections.keypoints) is not None:
        points = rescale_points(keypoints[..., :2], image_sizes, original_sizes)
        detections = detections._replace(keypoints=torch.cat((points, keypoints[..., 2:]), dim=-1))
    return detections._replace(
        boxes=boxes,
        scores=torch.where(has_area, detections.scores, 0.0),
        labels=torch.where(has_area, detections.labels, PADDING_LABEL),
    )
