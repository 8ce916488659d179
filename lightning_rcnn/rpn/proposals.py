"""Selection of proposals from the outputs of the region proposal network (Faster R-CNN section 3.1).

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
"""No reference scales the deltas of the RPN."""


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
    score_threshold: float = 0.0,
    min_scale: float = 0.0,
) -> Proposals:
    """Select the best boxes of each image: top scores per level, decoding, clipping, NMS per level, top scores of all.

    Args:
        anchors: anchors [A, 4] per level.
        logits: objectness logits [N, A] per level.
        deltas: box deltas [N, A, 4] per level.
        image_sizes: [N, 2] (height, width).
        pre_nms_top_n: limit of boxes per level before NMS.
        post_nms_top_n: limit of boxes per image after NMS.
        nms_iou: IoU threshold of NMS.
        min_size: minimum side of a proposal, pixels; empty boxes are always dropped.
        ranking: "logit" (detectron2), or "probability" (torchvision), which ties logits beyond about 17.
        score_threshold: minimum probability of a proposal.
        min_scale: least factor of a side of an anchor; 0 for no limit.
    """
    boxes, scores, levels = [], [], []
    min_size = max(min_size, torch.finfo(torch.float32).tiny)
    for level, (level_anchors, level_logits, level_deltas) in enumerate(zip(anchors, logits, deltas, strict=True)):
        score, index = level_logits.topk(min(pre_nms_top_n, level_logits.shape[1]), dim=1)
        delta = gather_boxes(level_deltas, index)
        box = clip_boxes(decode(delta, level_anchors[index], RPN_BOX_WEIGHTS, min_scale), image_sizes)
        boxes.append(box)
        score = score.sigmoid() if ranking == "probability" else score
        is_kept = has_min_size(box, min_size)
        if score_threshold > 0:
            is_kept &= (score if ranking == "probability" else score.sigmoid()) >= score_threshold
        scores.append(torch.where(is_kept, score, -torch.inf))
        levels.append(torch.full_like(index, level))
    box, score, group = torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(levels, 1)
    kept = batched_nms(box, score, group, nms_iou, post_nms_top_n)
    box = gather_boxes(box, kept.indices)
    return Proposals(torch.where(kept.is_valid[..., None], box, 0.0), kept.scores, kept.is_valid)
