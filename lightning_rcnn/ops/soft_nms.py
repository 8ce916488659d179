"""Soft-NMS of a whole batch (Bodla et al. 2017, arXiv 1704.04503): overlap lowers scores instead of dropping boxes.

Shape letters: N images, P boxes of an image, K maximum number of boxes kept of an image.
"""

import torch
from torch import Tensor

from lightning_rcnn.ops.gather import gather_boxes
from lightning_rcnn.ops.nms import NMSResult


def batched_soft_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, max_kept: int, min_score: float
) -> NMSResult:
    """Take the best box of an image again and again, and lower the scores of others of its group that it overlaps.

    A score is multiplied by 1 - IoU where the IoU is at least `iou_threshold` (the paper's equation of section 3, its
    linear form). The results are fixed in size and number of steps, so nothing waits for the device.

    Args:
        boxes: float32 [N, P, 4].
        scores: float32 [N, P], above 0; -inf for boxes to ignore.
        groups: int64 [N, P], such as classes; boxes lower only scores of their group.
        iou_threshold: IoU, 0 to 1.
        max_kept: K, the number of boxes taken per image; P if that is less.
        min_score: lowered scores that do not exceed it are not valid, 0 or more.

    Returns:
        Boxes with their lowered scores, best first.
    """
    left = torch.where(torch.isfinite(scores), scores, 0.0)
    x1, y1, x2, y2 = boxes.unbind(-1)
    areas = (x2 - x1) * (y2 - y1)
    taken = [(groups[:, :0], scores[:, :0])]
    number = boxes.shape[1]
    # An exported graph leaves the number free, and always has all steps.
    steps = min(max_kept, number) if isinstance(number, int) else max_kept
    for _ in range(steps):
        score, index = left.max(dim=1, keepdim=True)
        best_x1, best_y1, best_x2, best_y2 = gather_boxes(boxes, index).unbind(-1)
        width = (torch.minimum(x2, best_x2) - torch.maximum(x1, best_x1)).clamp(min=0)
        height = (torch.minimum(y2, best_y2) - torch.maximum(y1, best_y1)).clamp(min=0)
        overlap = width * height
        iou = overlap / (areas + areas.gather(1, index) - overlap).clamp(min=torch.finfo(areas.dtype).tiny)
        is_lowered = (iou >= iou_threshold) & (groups == groups.gather(1, index))
        left = torch.where(is_lowered, left * (1 - iou), left).scatter(1, index, 0.0)
        taken.append((index, score))
    indices, kept_scores = (torch.cat(each, dim=1) for each in zip(*taken, strict=True))
    is_valid = kept_scores > min_score
    return NMSResult(indices, torch.where(is_valid, kept_scores, -torch.inf), is_valid)
