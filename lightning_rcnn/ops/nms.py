"""Non-maximum suppression (NMS) of a whole batch, with results of fixed size.

Shape letters: N images, P boxes of an image, K maximum number of boxes kept of an image.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import nms

from lightning_rcnn.ops.cuda.suppression import suppress
from lightning_rcnn.ops.dispatch import run


class NMSResult(NamedTuple):
    """The boxes that NMS keeps, best first.

    Attributes:
        indices: int64 [N, K], indices among the P boxes.
        scores: float32 [N, K], -inf where not valid.
        is_valid: bool [N, K]; False where fewer than K boxes are kept.
    """

    indices: Tensor
    scores: Tensor
    is_valid: Tensor


def batched_nms(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, max_kept: int) -> NMSResult:
    """Keep the best boxes of each image that no better box of their group overlaps by more than `iou_threshold`.

    Boxes and order are those of `torchvision.ops.batched_nms`; equal scores keep their order.

    Args:
        boxes, scores, groups, iou_threshold: as in `non_maximum_suppression`.
        max_kept: K, the maximum number of boxes kept per image; P if that is less, but not in an exported graph, which
            takes any number of boxes.
    """
    keep = non_maximum_suppression(boxes, scores, groups, iou_threshold)
    # A stable sort, as in NMS itself: `topk` would shuffle equal scores.
    score, index = torch.where(keep, scores, -torch.inf).sort(dim=1, descending=True, stable=True)
    if torch.compiler.is_exporting():
        room = score.shape[0], max_kept
        score = torch.cat([score, score.new_full(room, -torch.inf)], dim=1)
        index = torch.cat([index, index.new_zeros(room)], dim=1)
    score, index = score[:, :max_kept], index[:, :max_kept]
    return NMSResult(index, score, torch.isfinite(score))


@torch.library.custom_op("lightning_rcnn::non_maximum_suppression", mutates_args=())
def non_maximum_suppression(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    """Mark the boxes that no better box of their image and group overlaps by more than `iou_threshold`.

    On CUDA one kernel processes the whole batch without a host sync. On other devices, or if the kernel cannot be
    compiled, torchvision's operator processes each image and group.

    Args:
        boxes: float32 [N, P, 4].
        scores: float32 [N, P]; -inf for boxes to ignore.
        groups: int64 [N, P], 0 to 2^31 - 2, such as levels or classes; boxes suppress only boxes of their group.
        iou_threshold: IoU, 0 to 1, above which the better of two boxes suppresses the other.

    Returns:
        Bool [N, P], False for suppressed and ignored boxes.
    """
    return run(
        "non_maximum_suppression",
        "auto",
        boxes.device,
        "" if boxes.device.type == "cuda" else f"boxes are on the device {boxes.device}",
        lambda: suppress(boxes, scores, groups, iou_threshold),
        lambda: _suppress_one_by_one(boxes, scores, groups, iou_threshold),
    )


@non_maximum_suppression.register_fake
def _(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


def _suppress_one_by_one(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    keep = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    for image in range(boxes.shape[0]):
        present = torch.nonzero(torch.isfinite(scores[image])).squeeze(1)
        image_groups = groups[image, present]
        for group in torch.unique(image_groups):
            members = present[image_groups == group]
            kept = nms(boxes[image, members], scores[image, members], iou_threshold)
            keep[image, members[kept]] = True
    return keep
