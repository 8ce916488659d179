"""Training targets of sampled anchors and sampled RoIs, batched and without a host sync.

Shape letters: N images, M ground truths, B anchors of all levels, P proposals, S sampled anchors, R sampled RoIs.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lightning_rcnn.functional.boxes import box_area, clip_boxes, encode
from lightning_rcnn.functional.matching import best_overlaps, own_objects
from lightning_rcnn.functional.sampling import Samples, random_keys, sample_balanced
from lightning_rcnn.ops.gather import gather_boxes
from lightning_rcnn.structures import NO_IMAGE, Proposals, Targets

LowQualityTarget = Literal["best_object", "own_object"]


class AnchorLabels(NamedTuple):
    """Labels of all anchors; an anchor that is neither positive nor negative is ignored.

    Attributes:
        is_positive, is_negative: bool [N, B], never both True.
        iou: float32 [N, B], largest IoU with an object; -1 if the image has no object.
        gt_index: int64 [N, B], index among the M ground truths of the object that a positive learns, mostly that one.
    """

    is_positive: Tensor
    is_negative: Tensor
    iou: Tensor
    gt_index: Tensor


def label_anchors(
    anchors: Tensor,
    targets: Targets,
    image_ids: Tensor,
    image_sizes: Tensor,
    is_candidate: Tensor,
    *,
    positive_iou: float,
    negative_iou: float,
    crowd_ioa: float | None,
    low_quality_iou: float = 0.0,
    low_quality_target: LowQualityTarget = "best_object",
    matches_all: bool = False,
) -> AnchorLabels:
    """Label anchors (Faster R-CNN section 3.1.2).

    An anchor is positive if its IoU with an object is at least `positive_iou` or the highest of all anchors. It is
    negative if its IoU with all objects is below `negative_iou` and it is not inside a crowd. Others are ignored.

    Args:
        anchors: [B, 4].
        targets: ground truth.
        image_ids: int64 [N]; empty slots have no labels.
        image_sizes: [N, 2] (height, width).
        is_candidate: bool [N or 1, B]; other anchors, such as those that cross the image's edge, are ignored.
        positive_iou, negative_iou: IoU thresholds.
        crowd_ioa: an anchor with a larger fraction of its area in a crowd is not negative; None to ignore crowds.
        low_quality_iou: an object's highest IoU must reach it to make the anchor positive below `positive_iou`.
        low_quality_target: what such an anchor learns, and any other that an object has its highest IoU with: the
            object that it overlaps most, or the one that it is the best anchor of, of several the last (mmdetection).
        matches_all: whether an ignored anchor may be the best of an object, which then has none (detectron2).
    """
    # Ignored anchors are compared as empty boxes, so that the best of the others is the best of its object.
    compared = anchors[None] if matches_all else torch.where(is_candidate[..., None], anchors, 0.0)
    overlaps = best_overlaps(targets.boxes, targets.is_object, targets.is_crowd, compared)
    is_candidate = is_candidate & (image_ids != NO_IMAGE)[:, None]
    is_best, gt_index = overlaps.is_best_of_object, overlaps.gt_index
    if low_quality_iou > 0 or low_quality_target == "own_object":
        own = own_objects(targets.boxes, targets.is_object, compared, low_quality_iou)
        is_best = own >= 0
        gt_index = torch.where(is_best, own, gt_index) if low_quality_target == "own_object" else gt_index
    is_positive = ((overlaps.iou >= positive_iou) | is_best) & is_candidate
    # Only the part of an anchor inside the image counts.
    in_crowd = is_in_crowd(overlaps.crowd_area, clip_boxes(anchors[None], image_sizes), crowd_ioa)
    is_negative = (overlaps.iou < negative_iou) & ~is_positive & ~in_crowd & is_candidate
    return AnchorLabels(is_positive, is_negative, overlaps.iou, gt_index)


class AnchorTargets(NamedTuple):
    """Targets of sampled anchors.

    Attributes:
        samples: sampled anchors, [N, S] each.
        gt_deltas: float32 [N, S, 4], deltas from the anchor to its ground truth; meaningful where positive.
    """

    samples: Samples
    gt_deltas: Tensor


def anchor_targets(
    anchors: Tensor,
    targets: Targets,
    image_ids: Tensor,
    image_sizes: Tensor,
    is_candidate: Tensor,
    seed: Tensor,
    *,
    positive_iou: float,
    negative_iou: float,
    num_samples: int,
    positive_fraction: float,
    crowd_ioa: float | None,
    box_weights: tuple[float, float, float, float],
    low_quality_iou: float = 0.0,
    low_quality_target: LowQualityTarget = "best_object",
    matches_all: bool = False,
) -> AnchorTargets:
    """Label anchors and sample a mini-batch (Faster R-CNN sections 3.1.2 and 3.1.3).

    Args:
        anchors, targets, image_ids, image_sizes, is_candidate: as in `label_anchors`; empty slots yield no samples.
        seed: int64 scalar, seed of the sampling.
        positive_iou, negative_iou, crowd_ioa, low_quality_iou, low_quality_target, matches_all: as in `label_anchors`.
        num_samples: S.
        positive_fraction: maximum fraction of S that is positive.
        box_weights: factors of the deltas.
    """
    labels = label_anchors(
        anchors,
        targets,
        image_ids,
        image_sizes,
        is_candidate,
        positive_iou=positive_iou,
        negative_iou=negative_iou,
        crowd_ioa=crowd_ioa,
        low_quality_iou=low_quality_iou,
        low_quality_target=low_quality_target,
        matches_all=matches_all,
    )
    keys = random_keys(seed, image_ids, anchors.shape[0])
    samples = sample_balanced(labels.is_positive, labels.is_negative, keys, num_samples, positive_fraction)
    gt_boxes = gather_boxes(targets.boxes, labels.gt_index.gather(1, samples.indices))
    return AnchorTargets(samples, encode(gt_boxes, anchors[samples.indices], box_weights))


class RoIs(NamedTuple):
    """Sampled regions of interest (RoIs) and their targets, positives first.

    Attributes:
        boxes: float32 [N, R, 4], resized frame.
        labels: int64 [N, R], 0 for background (and where not valid).
        gt_index: int64 [N, R], index among the M ground truths; meaningful where positive.
        gt_deltas: float32 [N, R, 4]; meaningful where positive.
        is_positive, is_valid: bool [N, R].
        indices: int64 [N, R], index among the P proposals followed by the M ground truths.
        features: [N * R, C, S, S] of C channels and side S, after pooling and the region stage if there is one; None
            before.
    """

    boxes: Tensor
    labels: Tensor
    gt_index: Tensor
    gt_deltas: Tensor
    is_positive: Tensor
    is_valid: Tensor
    indices: Tensor
    features: Tensor | None = None


def roi_targets(
    proposals: Proposals,
    targets: Targets,
    image_ids: Tensor,
    seed: Tensor,
    *,
    positive_iou: float,
    negative_iou: tuple[float, float],
    num_samples: int,
    positive_fraction: float,
    crowd_ioa: float | None,
    box_weights: tuple[float, float, float, float],
    low_quality_iou: float | None = None,
) -> RoIs:
    """Label proposals and sample a mini-batch of RoIs (Fast R-CNN section 2.3).

    As in all references, ground-truth boxes are added to the proposals, so that the heads see positives from the first
    step.

    Args:
        proposals: [N, P], from the RPN or precomputed.
        targets: ground truth.
        image_ids: int64 [N]; empty slots yield no RoIs.
        seed: int64 scalar, seed of the sampling.
        positive_iou: minimum IoU of positives.
        negative_iou: range of the IoU of background, from (inclusive) and to (exclusive).
        num_samples: R.
        positive_fraction: maximum fraction of R that is positive.
        crowd_ioa: a proposal with a larger fraction of its area in a crowd is not background; None to ignore crowds.
        box_weights: factors of the deltas.
        low_quality_iou: an object's best proposal learns it if their IoU reaches this; None for no such rule.
    """
    boxes = torch.cat((proposals.boxes, targets.boxes), dim=1)
    is_present = torch.cat((proposals.is_valid, targets.is_object), dim=1) & (image_ids != NO_IMAGE)[:, None]
    overlaps = best_overlaps(targets.boxes, targets.is_object, targets.is_crowd, boxes)
    is_positive, matched = (overlaps.iou >= positive_iou) & is_present, overlaps.gt_index
    if low_quality_iou is not None:
        compared = torch.where(proposals.is_valid[..., None], proposals.boxes, 0.0)
        own = own_objects(targets.boxes, targets.is_object, compared, low_quality_iou)
        own = torch.cat((own, torch.full_like(targets.labels, -1)), dim=1)
        is_positive = is_positive | ((own >= 0) & is_present)
        matched = torch.where(own >= 0, own, matched)
    lowest, highest = negative_iou
    # An image without objects has IoU -1 everywhere: all its proposals are background.
    is_background = (overlaps.iou.clamp(min=0) >= lowest) | (overlaps.iou < 0)
    in_crowd = is_in_crowd(overlaps.crowd_area, boxes, crowd_ioa)
    is_negative = is_background & (overlaps.iou < highest) & ~is_positive & ~in_crowd & is_present
    keys = random_keys(seed, image_ids, boxes.shape[1])
    samples = sample_balanced(is_positive, is_negative, keys, num_samples, positive_fraction)
    boxes = torch.where(samples.is_valid[..., None], gather_boxes(boxes, samples.indices), 0.0)
    gt_index = matched.gather(1, samples.indices)
    return RoIs(
        boxes=boxes,
        labels=torch.where(samples.is_positive, targets.labels.gather(1, gt_index), 0),
        gt_index=gt_index,
        gt_deltas=encode(gather_boxes(targets.boxes, gt_index), boxes, box_weights),
        is_positive=samples.is_positive,
        is_valid=samples.is_valid,
        indices=samples.indices,
    )


def match_again(
    rois: RoIs,
    boxes: Tensor,
    targets: Targets,
    *,
    positive_iou: float,
    crowd_ioa: float | None,
    box_weights: tuple[float, float, float, float],
) -> RoIs:
    """Match regions again after their boxes were refined, without sampling (Cascade R-CNN section 4.2).

    Regions that are empty by now are no longer valid. Positives may be anywhere.

    Args:
        rois: sampled regions.
        boxes: float32 [N, R, 4], their refined boxes.
        targets: ground truth.
        positive_iou: minimum IoU of positives; all others are background.
        crowd_ioa, box_weights: as in `roi_targets`.
    """
    overlaps = best_overlaps(targets.boxes, targets.is_object, targets.is_crowd, boxes)
    is_valid = rois.is_valid & (box_area(boxes) > 0)
    is_positive = (overlaps.iou >= positive_iou) & is_valid
    is_valid = is_valid & (is_positive | ~is_in_crowd(overlaps.crowd_area, boxes, crowd_ioa))
    return rois._replace(
        boxes=boxes,
        labels=torch.where(is_positive, targets.labels.gather(1, overlaps.gt_index), 0),
        gt_index=overlaps.gt_index,
        gt_deltas=encode(gather_boxes(targets.boxes, overlaps.gt_index), boxes, box_weights),
        is_positive=is_positive,
        is_valid=is_valid,
        features=None,
    )


def is_in_crowd(crowd_area: Tensor, boxes: Tensor, crowd_ioa: float | None) -> Tensor:
    """Tell whether the intersection of boxes with a crowd, over the boxes' area (IoA), exceeds a threshold.

    Args:
        crowd_area: [...], areas of intersection with a crowd, square pixels.
        boxes: [..., 4].
        crowd_ioa: threshold, 0 to 1; None for False everywhere.

    Returns:
        Bool [...].
    """
    if crowd_ioa is None:
        return torch.zeros_like(crowd_area, dtype=torch.bool)
    return crowd_area > crowd_ioa * box_area(boxes)
