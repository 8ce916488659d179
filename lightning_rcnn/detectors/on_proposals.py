"""What detectors need that do not make their proposals themselves: R-CNN and Fast R-CNN."""

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.boxes import rescale
from lightning_rcnn.errors import InputError
from lightning_rcnn.structures import Inputs, Proposals


def given_proposals(inputs: Inputs) -> Proposals:
    """The proposals of a batch.

    Raises:
        InputError: it has none.
    """
    if inputs.proposals is None:
        raise InputError("the batch has no proposals; pack them with the images: lightning-rcnn propose")
    return inputs.proposals


def searched_proposals(found: np.ndarray, original_size: Tensor, image_size: Tensor, limit: int) -> Proposals:
    """Proposals of one image, N = 1, in its resized frame.

    Args:
        found: float32 [P, 5], boxes in the original frame and scores, best first.
        original_size, image_size: int64 [1, 2], (height, width) in either frame.
        limit: so many are kept.
    """
    kept = torch.from_numpy(found[:limit]).to(image_size.device)[None]
    boxes, scores = kept[..., :4], kept[..., 4]
    return Proposals(rescale(boxes, original_size, image_size), scores, torch.ones_like(scores, dtype=torch.bool))
