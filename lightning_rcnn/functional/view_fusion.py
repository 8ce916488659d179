"""Fusion of the detections of several views of one image (test-time augmentation), all in the image's own frame.

As in weighted boxes fusion (Solovyev et al. 2021, arXiv 1910.13302): the best detection begins an object, others of its
class join the object whose first box they overlap most, if the IoU is above `FUSION_IOU`. The box is the mean of its
detections, weighted by their scores; the mask likewise, sampled on the fused box. The score is the mean over all views
of the best score in each, 0 where a view misses the object.

Shape letters: D detections of a view or of all, S side of a mask.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from lightning_rcnn.structures import Detections

FUSION_IOU = 0.55
"""As in the paper."""


def flip_back(detections: Detections, height: int, width: int, axes: tuple[int, ...]) -> Detections:
    """Flip the detections of a flipped image.

    Args:
        detections: [N, D], in the frame of the flipped image.
        height, width: size of the image, pixels.
        axes: axes of the image that are reversed: -1 exchanges left and right, -2 top and bottom.
    """
    x1, y1, x2, y2 = detections.boxes.unbind(-1)
    if -1 in axes:
        x1, x2 = width - x2, width - x1
    if -2 in axes:
        y1, y2 = height - y2, height - y1
    masks = None if detections.masks is None else detections.masks.flip(axes)
    return detections._replace(boxes=torch.stack([x1, y1, x2, y2], dim=-1), masks=masks)


def fuse(views: Sequence[Detections]) -> Detections:
    """Fuse the detections of one image in several views.

    Args:
        views: detections [1, D] of each view without padding, in the frame of the image.

    Returns:
        Detections [1, D], best first.
    """
    boxes, scores, labels = (torch.cat([getattr(view, name)[0] for view in views]) for name in Detections._fields[:3])
    has_masks = views[0].masks is not None
    masks = torch.cat([view.masks[0] for view in views if view.masks is not None]) if has_masks else None
    view_of = torch.cat([torch.full((view.boxes.shape[1],), number) for number, view in enumerate(views)])
    groups = _group(boxes, scores, labels)
    if not groups:
        return views[0]
    fused = [torch.tensor(group, device=boxes.device) for group in groups]
    weights = [scores[group] / scores[group].sum() for group in fused]
    new_boxes = torch.stack([weight @ boxes[group] for group, weight in zip(fused, weights, strict=True)])
    new_scores = torch.stack([_mean_score(scores[group], view_of[group.cpu()], len(views)) for group in fused])
    order = new_scores.argsort(descending=True, stable=True)
    new_masks = None
    if masks is not None:
        sampled = [
            (weight[:, None, None] * _sample(masks[group], boxes[group], box)).sum(0)
            for group, weight, box in zip(fused, weights, new_boxes, strict=True)
        ]
        new_masks = torch.stack(sampled)[order][None]
    new_labels = torch.stack([labels[group[0]] for group in fused])
    return Detections(new_boxes[order][None], new_scores[order][None], new_labels[order][None], new_masks)


def _group(boxes: Tensor, scores: Tensor, labels: Tensor) -> list[list[int]]:
    """Return the indices of the detections of each object, the best one first."""
    iou = box_iou(boxes, boxes).masked_fill(labels[:, None] != labels[None], 0.0).cpu().numpy()
    groups: list[list[int]] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        overlaps = iou[index, [group[0] for group in groups]]
        best = int(overlaps.argmax()) if len(groups) else 0
        if len(groups) and overlaps[best] > FUSION_IOU:
            groups[best].append(index)
        else:
            groups.append([index])
    return groups


def _mean_score(scores: Tensor, view_of: Tensor, num_views: int) -> Tensor:
    best = scores.new_zeros(num_views)
    return best.scatter_reduce(0, view_of.to(scores.device), scores, "amax").mean()


def _sample(masks: Tensor, boxes: Tensor, box: Tensor) -> Tensor:
    """Sample masks [D, S, S], each of which fills its box of [D, 4], at the cells of another box; 0 outside."""
    side = masks.shape[-1]
    centers = (torch.arange(side, device=masks.device) + 0.5) / side
    grid = [
        (box[axis] + centers * (box[axis + 2] - box[axis]) - boxes[:, axis : axis + 1])
        / (boxes[:, axis + 2 : axis + 3] - boxes[:, axis : axis + 1])
        for axis in (0, 1)
    ]
    x, y = grid[0][:, None, :].expand(-1, side, -1), grid[1][:, :, None].expand(-1, -1, side)
    positions = 2 * torch.stack([x, y], dim=-1) - 1
    return F.grid_sample(masks[:, None], positions.to(masks.dtype), align_corners=False)[:, 0]
