"""Average recall of class-agnostic proposals (Hosang et al., arXiv 1502.05082, section 4).

Objects and proposals are paired by overlap, closest first; COCO's AR pairs by score, which finds as many but for a few.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_rcnn.evaluation.gathering import join_arrays, score_on_rank_zero, split_arrays
from lightning_rcnn.functional.boxes import pairwise_iou
from lightning_rcnn.structures import NO_IMAGE, ImageRecord, Proposals

IOU_THRESHOLDS = torch.linspace(0.5, 0.95, 10)


class ProposalRecall(Metric):
    """Share of objects that the best proposals of their image find, each object by a proposal of its own.

    Crowds and difficult objects don't count.

    Args:
        limits: numbers of proposals an image.
    """

    full_state_update = False
    higher_is_better = True

    def __init__(self, limits: Sequence[int] = (100, 300, 1000)) -> None:
        super().__init__()
        self.limits = tuple(limits)
        self._found: dict[int, np.ndarray] = {}

    def update(self, proposals: Proposals, records: Sequence[ImageRecord]) -> None:
        """Add a batch of proposals in the original frame; slots without an image are skipped."""
        for slot, record in enumerate(records):
            if record.image_id == NO_IMAGE:
                continue
            objects = [a["bbox"] for a in record.annotations if not (a["iscrowd"] or a["difficult"])]
            boxes = proposals.boxes[slot][proposals.is_valid[slot]].float().cpu()
            iou = pairwise_iou(torch.tensor(objects).reshape(-1, 4), boxes)
            self._found[record.image_id] = np.stack([_best_pairs(iou[:, :limit]).numpy() for limit in self.limits])

    def compute(self) -> dict[str, Any]:
        """`AR@k`, averaged over IoU .5 to .95, and `R50@k`, `R70@k` at one IoU; NaN without objects."""
        part = join_arrays({image_id: (overlaps,) for image_id, overlaps in self._found.items()})
        return score_on_rank_zero(part, lambda parts: self._score(split_arrays(parts)))

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self._found = {}

    def _score(self, found: dict[int, tuple[np.ndarray, ...]]) -> dict[str, Any]:
        nothing = np.zeros((len(self.limits), 0))
        overlaps = torch.from_numpy(np.concatenate([*(image for (image,) in found.values()), nothing], axis=1))
        figures: dict[str, Any] = {}
        for limit, overlap in zip(self.limits, overlaps, strict=True):
            is_found = overlap[:, None] >= IOU_THRESHOLDS.double() - 1e-9
            recall = is_found.double().mean(0)
            figures |= {
                f"AR@{limit}": recall.mean().item(),
                f"R50@{limit}": recall[0].item(),
                f"R70@{limit}": recall[4].item(),
            }
        return figures


def _best_pairs(iou: Tensor) -> Tensor:
    """IoU of each object with the proposal it is paired with: the closest pair first, each box in one pair only.

    Pairs below the lowest threshold find nothing and are left out, which leaves few even in crowded images.

    Args:
        iou: [M, P].

    Returns:
        [M]; 0 for an object without a proposal.
    """
    paired = torch.zeros(iou.shape[0])
    objects, proposals = torch.nonzero(iou >= IOU_THRESHOLDS[0], as_tuple=True)
    values = iou[objects, proposals]
    order = values.argsort(descending=True, stable=True)
    free_objects, free_proposals = set(range(iou.shape[0])), set(range(iou.shape[1]))
    for gt, proposal, value in zip(*(part[order].tolist() for part in (objects, proposals, values)), strict=True):
        if gt in free_objects and proposal in free_proposals:
            paired[gt] = value
            free_objects.remove(gt)
            free_proposals.remove(proposal)
    return paired
