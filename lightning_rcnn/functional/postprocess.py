"""From the heads' outputs to detections: thresholds, class-wise suppression, the best of each image.

Shape letters: N images, P proposals, K classes, D detections.
"""

import math

import torch
from torch import Tensor

from lightning_rcnn.functional.boxes import clip_boxes, decode, is_larger_than, rescale
from lightning_rcnn.ops.gather import gather_boxes
from lightning_rcnn.ops.nms import batched_nms
from lightning_rcnn.structures import PADDING_LABEL, Detections, Proposals


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
    min_size: float = 1e-2,
) -> Detections:
    """Detections in the resized frame.

    Args:
        proposals: the boxes that the heads looked at.
        class_logits: [N, P, K+1], background first.
        box_deltas: [N, P, K, 4], one box per foreground class.
        image_sizes: [N, 2] (height, width).
        box_weights: scale of the deltas.
        score_threshold: a detection's probability is above this.
        nms_iou: of two boxes of one class that overlap by more, the better stays.
        max_detections: D.
        min_size: boxes with a shorter side are dropped, pixels (torchvision's value); with 0 (detectron2's) even empty
            ones stay.
    """
    num_classes = box_deltas.shape[2]
    # Probabilities of a proposal sum to one, so only so many of its classes can be above the threshold.
    classes_above = num_classes if score_threshold <= 0 else min(num_classes, math.ceil(1 / score_threshold))
    return select_by_score(
        proposals,
        class_logits.float().softmax(-1)[..., 1:],
        box_deltas,
        image_sizes,
        classes_above=classes_above,
        box_weights=box_weights,
        score_threshold=score_threshold,
        nms_iou=nms_iou,
        max_detections=max_detections,
        min_size=min_size,
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
    min_size: float = 1e-2,
) -> Detections:
    """The same from scores, whatever they are.

    Args:
        proposals, box_deltas, image_sizes, box_weights, score_threshold, nms_iou, max_detections, min_size: as in
            `select_detections`.
        scores: float32 [N, P, K], of the foreground classes.
        classes_above: of a proposal at most so many classes have a score above the threshold, K or less.
    """
    num_proposals, num_classes = box_deltas.shape[1:3]
    scores = torch.where((scores > score_threshold) & proposals.is_valid[..., None], scores, -torch.inf)
    # Stable: equal scores (saturated ones, say) stay in the order of proposals, here and below.
    score, candidate = scores.flatten(1).sort(dim=1, descending=True, stable=True)
    num_candidates = num_proposals * classes_above
    score, candidate = score[:, :num_candidates], candidate[:, :num_candidates]
    proposal, label = candidate // num_classes, candidate % num_classes
    delta = gather_boxes(box_deltas.flatten(1, 2), candidate)
    reference = gather_boxes(proposals.boxes, proposal)
    box = clip_boxes(decode(delta, reference, box_weights), image_sizes)
    score = torch.where(is_larger_than(box, min_size), score, -torch.inf)
    kept = batched_nms(box, score, label, nms_iou, max_detections)
    box = gather_boxes(box, kept.indices)
    return Detections(
        boxes=torch.where(kept.is_valid[..., None], box, 0.0),
        scores=torch.where(kept.is_valid, kept.scores, 0.0),
        labels=torch.where(kept.is_valid, label.gather(1, kept.indices) + 1, PADDING_LABEL),
    )


def to_original_frame(detections: Detections, image_sizes: Tensor, original_sizes: Tensor) -> Detections:
    """Detections whose boxes are moved from the resized to the original frame; what is empty there becomes padding.

    Args:
        detections: in the resized frame.
        image_sizes, original_sizes: [N, 2] (height, width).
    """
    boxes = rescale(detections.boxes, image_sizes, original_sizes)
    is_left = (boxes[..., 2:] > boxes[..., :2]).all(-1)
    return detections._replace(
        boxes=boxes,
        scores=torch.where(is_left, detections.scores, 0.0),
        labels=torch.where(is_left, detections.labels, PADDING_LABEL),
    )
