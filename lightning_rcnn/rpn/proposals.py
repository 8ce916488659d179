"""How the outputs of the region proposal network become proposals (Faster R-CNN section 3.1).

Shape letters: N images, A anchors of a level (positions x anchors per position), P proposals.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from lightning_rcnn.functional.boxes import clip_boxes, decode, has_min_size
from lightning_rcnn.ops.gather import gather_boxes
from lightning_rcnn.ops.nms import batched_nms
from lightning_rcnn.structures import Proposals

ProposalRanking = Literal["logit", "probability"]

RPN_BOX_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
"""The RPN's deltas are not scaled, in any reference."""


def select_proposals(
    anchors: Sequence[Tensor],
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    image_sizes: Tensor,
    *,
    pre_nms_top_n: int,
    post_nms_top_n: int,
    nms_iou: float,
    min_size: float,
    ranking: ProposalRanking,
) -> Proposals:
    """The best boxes of each image: top scores per level, decoded, clipped, suppressed per level, best of all levels.

    Args:
        anchors: per level [A, 4].
        logits: per level [N, A].
        deltas: per level [N, A, 4].
        image_sizes: [N, 2] (height, width).
        pre_nms_top_n: boxes of a level that enter suppression.
        post_nms_top_n: boxes of an image that leave it.
        nms_iou: overlap beyond which the lower score goes.
        min_size: boxes with a shorter side are dropped, pixels; empty ones are in any case.
        ranking: "logit" (detectron2), or "probability" (torchvision), which makes equals of logits beyond about 17.
    """
    boxes, scores, levels = [], [], []
    min_size = max(min_size, torch.finfo(torch.float32).tiny)
    for level, (level_anchors, level_logits, level_deltas) in enumerate(zip(anchors, logits, deltas, strict=True)):
        score, index = level_logits.topk(min(pre_nms_top_n, level_logits.shape[1]), dim=1)
        delta = gather_boxes(level_deltas, index)
        box = clip_boxes(decode(delta, level_anchors[index], RPN_BOX_WEIGHTS), image_sizes)
        boxes.append(box)
        score = score.sigmoid() if ranking == "probability" else score
        scores.append(torch.where(has_min_size(box, min_size), score, -torch.inf))
        levels.append(torch.full_like(index, level))
    box, score, group = torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(levels, 1)
    kept = batched_nms(box, score, group, nms_iou, post_nms_top_n)
    box = gather_boxes(box, kept.indices)
    return Proposals(torch.where(kept.is_valid[..., None], box, 0.0), kept.scores, kept.is_valid)
