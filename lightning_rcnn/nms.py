"""Non-maximum suppression of a whole batch with a result of fixed size."""

import torch
from torch import Tensor
from torchvision.ops import nms


@torch.library.custom_op("lightning_rcnn::non_maximum_suppression", mutates_args=())
def non_maximum_suppression(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    """Mark the boxes that no better box of their image and group overlaps by more than `iou_threshold`.

    On CUDA this reads values back to the host, the one part of a training step that does: torchvision's operator
    works on one image and returns as many boxes as it keeps.

    Keeps what `torchvision.ops.nms` keeps when called for each image and group alone.

    Args:
        boxes: float32 [N, P, 4].
        scores: float32 [N, P]; -inf marks a box that does not take part.
        groups: int64 [N, P]; boxes of different groups (pyramid levels, classes) leave each other alone.
        iou_threshold: 0 to 1.

    Returns:
        Bool [N, P].
    """
    keep = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    for image in range(boxes.shape[0]):
        present = torch.nonzero(torch.isfinite(scores[image])).squeeze(1)
        image_groups = groups[image, present]
        for group in torch.unique(image_groups):
            members = present[image_groups == group]
            kept = nms(boxes[image, members], scores[image, members], iou_threshold)
            keep[image, members[kept]] = True
    return keep


@non_maximum_suppression.register_fake
def _(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)
