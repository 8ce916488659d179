"""Precomputed proposals for R-CNN and Fast R-CNN: stored with the images, or found by selective search."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.boxes import rescale
from lightning_rcnn.proposals.selective_search import SelectiveSearch, SelectiveSearchMode
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import PositiveCount
from lightning_rcnn.structures import Inputs, Proposals


@dataclass(frozen=True)
class GivenProposals(Settings):
    """Settings of precomputed proposals.

    Args:
        limit: limit of proposals per image; the best are used.
        mode: selective-search preset for images without stored proposals (`detect` only): "fast" or "quality".
        width: width to which such an image is scaled before the search, pixels.
    """

    limit: PositiveCount = 2000
    mode: SelectiveSearchMode = "fast"
    width: PositiveCount = 500

    def build(self) -> SelectiveSearch:
        """Build the selective search."""
        return SelectiveSearch(self.mode, self.width, self.limit)


def given_proposals(inputs: Inputs) -> Proposals:
    """Return the proposals of a batch.

    Raises:
        InputError: the batch has none.
    """
    if inputs.proposals is None:
        raise InputError("the batch has no proposals; pack them with the images: lightning-rcnn propose")
    return inputs.proposals


def searched_proposals(
    proposals: Sequence[np.ndarray], limit: int, original_sizes: Tensor, image_sizes: Tensor
) -> Proposals:
    """Collate the proposals of a search into a padded batch, in the resized frame.

    Args:
        proposals: float32 [P, 5] per image, boxes in the original frame and scores, best first.
        limit: limit of proposals per image.
        original_sizes, image_sizes: int64 [N, 2], (height, width) in the original and the resized frame.
    """
    kept = [torch.from_numpy(boxes[:limit]) for boxes in proposals]
    padded = torch.nn.utils.rnn.pad_sequence(kept, batch_first=True).to(image_sizes.device)
    counts = torch.tensor([len(boxes) for boxes in kept], device=image_sizes.device)
    is_valid = torch.arange(padded.shape[1], device=image_sizes.device) < counts[:, None]
    boxes, scores = padded[..., :4], padded[..., 4]
    return Proposals(
        torch.where(is_valid[..., None], rescale(boxes, original_sizes, image_sizes), 0.0),
        torch.where(is_valid, scores, -torch.inf),
        is_valid,
    )
