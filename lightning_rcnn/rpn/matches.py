"""The anchors of a batch that match objects, as training labels them, for people to look at.

Shape letters: N images, M ground truths, B anchors of all levels, A anchors of an image that match.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_rcnn.functional.boxes import pairwise_iou
from lightning_rcnn.rpn.branch import RPN
from lightning_rcnn.structures import Inputs, Targets


class AnchorMatches(NamedTuple):
    """The positive anchors of one image.

    Attributes:
        boxes: float32 [A, 4], resized frame; they may reach beyond the image.
        gt_index: int64 [A], index of the object that each learns, among the M ground truths.
        iou: float32 [A], IoU with that object.
    """

    boxes: Tensor
    gt_index: Tensor
    iou: Tensor


def match_anchors(
    rpn: RPN, map_sizes: Sequence[tuple[int, int]], inputs: Inputs, targets: Targets
) -> list[AnchorMatches]:
    """Return the positive anchors of each image of a batch; training samples some of them.

    Args:
        rpn: branch with the anchors and the rules of matching.
        map_sizes: (height, width) of the feature maps of this batch.
        inputs: images and their sizes.
        targets: ground truth.
    """
    anchors = torch.cat(rpn.anchors(map_sizes, (inputs.images.shape[2], inputs.images.shape[3])))
    labels = rpn.label(anchors, targets, inputs)
    found = []
    for is_positive, gt_index, gt_boxes in zip(labels.is_positive, labels.gt_index, targets.boxes, strict=True):
        boxes, learned = anchors[is_positive], gt_index[is_positive]
        iou = pairwise_iou(boxes[:, None], gt_boxes[learned][:, None])[:, 0, 0]
        found.append(AnchorMatches(boxes, learned, iou))
    return found
