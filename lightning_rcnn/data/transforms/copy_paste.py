"""Copy-paste: objects of another sample over this one (Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from lightning_rcnn.data.transforms.base import Random, TrainingImage
from lightning_rcnn.data.transforms.checks import IMAGENET_COLOR, checked_share, probability
from lightning_rcnn.data.transforms.frame import placed, resized
from lightning_rcnn.data.transforms.mixing import MixingTransform
from lightning_rcnn.data.transforms.occlusion import paste_objects
from lightning_rcnn.data.transforms.view import displayed_size


class CopyPaste(MixingTransform):
    """Pastes a random subset of the objects of another sample over an image (simple copy-paste).

    The number of pasted objects is drawn from one to all those of the other sample that have masks; crowds are never
    pasted. After `ScaleJitter`, as in the paper, objects keep the size that it gave them, and the image becomes as
    large as both together. Otherwise the other image is scaled so that its shorter edge is that of the image, and what
    is beyond the image is cut off. The other image lies at a random offset where the two differ in size.

    What is hidden changes the objects below: their masks keep the visible part, and their boxes become tight around it.
    Edges are not blended, which the paper found to be no better (section 3). The data set must have masks, also for
    detectors that need none.

    Args:
        p: probability that an image gets objects, 0 to 1.
        min_visible: share of its pixels, 0 to 1, that must remain visible of an object below; otherwise it goes. By
            default only objects that are fully hidden go, as in the paper and in torchvision's reference. Crowds stay
            as long as a pixel is visible.

    Raises:
        InputError: `p` or `min_visible` is not in 0 to 1.
    """

    needs_masks: ClassVar[bool] = True

    def __init__(self, p: float = 0.5, min_visible: float = 0.0) -> None:
        self.p, self.min_visible = probability("CopyPaste", p), checked_share("CopyPaste", min_visible)

    def num_partners(self, random: Random) -> int:
        """Draw whether the sample gets objects of another one."""
        return int(random.uniform() < self.p)

    def mix(self, sample: TrainingImage, partners: Sequence[TrainingImage], random: Random) -> TrainingImage:
        """Paste objects of each partner; a sample without partners stays as it is."""
        for partner in partners:
            has_mask = np.array([mask is not None for mask in partner.segmentations], np.bool_)
            pasted = draw_subset(np.flatnonzero(has_mask & ~partner.is_crowd), random)
            if len(pasted):
                sample = self._pasted(sample, partner.with_objects(pasted), random)
        return sample

    def _pasted(self, sample: TrainingImage, partner: TrainingImage, random: Random) -> TrainingImage:
        size = sample.final_size or displayed_size(sample)
        partner_size = partner.final_size or _with_shorter_edge(displayed_size(partner), min(size))
        # The frame of images with final sizes has room for both, as batches of `ScaleJitter` have.
        has_room = sample.final_size is not None and partner.final_size is not None
        frame = (max(size[0], partner_size[0]), max(size[1], partner_size[1])) if has_room else size
        top, left = (
            random.whole(min(0, edge - own), max(0, edge - own)) for edge, own in zip(frame, partner_size, strict=True)
        )
        below = replace(resized(sample, size), fill=IMAGENET_COLOR)
        below = placed(below, (0, 0, frame[1], frame[0]), min_visible=0.0)
        above = placed(resized(partner, partner_size), (-left, -top, frame[1] - left, frame[0] - top), self.min_visible)
        result = paste_objects(below, above, self.min_visible)
        return replace(result, final_size=None if sample.final_size is None else frame)


def draw_subset(candidates: np.ndarray, random: Random) -> np.ndarray:
    """Draw some of the candidates, in their order: first how many, from one to all, then which.

    Args:
        candidates: int64 [m]; without any, none is drawn.
        random: random numbers.
    """
    if len(candidates) == 0:
        return candidates
    number = random.whole(1, len(candidates))
    keys = np.array([random.integer() for _ in candidates], np.uint64)
    return np.sort(candidates[np.argsort(keys, kind="stable")[:number]])


def _with_shorter_edge(size: tuple[int, int], edge: int) -> tuple[int, int]:
    """Scale (height, width) in proportion."""
    scale = edge / min(size)
    return round(size[0] * scale), round(size[1] * scale)
