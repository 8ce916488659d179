"""The recipes of the four detectors: one network, one optimizer, one training time.

All have torchvision's AlexNet with batch norms and fully connected layers of 1024, which learn from scratch on a CPU
within minutes. The recipes differ only in what each paper changed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch.optim import AdamW

from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.detectors.rcnn.box_regression import RCNNBoxRegression
from lightning_rcnn.detectors.rcnn.classification import RCNNClassification
from lightning_rcnn.detectors.rcnn.fine_tuning import RCNNFineTuning
from lightning_rcnn.detectors.schedules import ConstantSchedule
from lightning_rcnn.parts import part
from lightning_rcnn.proposals.selective_search import SelectiveSearchMode


@dataclass(frozen=True)
class Stage:
    """One training.

    Attributes:
        make: builds the detector from settings as plain data.
        share: share of the recipe's training time.
        settings: settings of the detector, without the classes.
        regions_per_image: regions an image of a stage that is solved in one pass over the data; None for training by
            gradients, which lasts until its time is up.
    """

    make: Callable[..., Detector]
    share: float = 1.0
    settings: dict[str, Any] = field(default_factory=dict)
    regions_per_image: int | None = None


@dataclass(frozen=True)
class Recipe:
    """A detector and its training.

    Attributes:
        name: name of the paper's detector.
        key: name in folders and JSON.
        stages: stages of the training; each starts from the checkpoint of the one before.
    """

    name: str
    key: str
    stages: tuple[Stage, ...]


def recipes(
    has_masks: bool, min_size: int, mode: SelectiveSearchMode, width: int, proposal_limit: int
) -> tuple[Recipe, ...]:
    """List R-CNN, Fast, Faster and Mask R-CNN, in the order of their papers.

    Args:
        has_masks: False replaces Mask R-CNN by Faster R-CNN with RoIAlign, its part that needs no masks.
        min_size: shorter edge of the resized images, pixels.
        mode, width: settings of selective search.
        proposal_limit: proposals of an image that R-CNN and Fast R-CNN use.
    """
    network: dict[str, Any] = {
        "backbone": part(PlainBackbone, name="alexnet", norm="batch_norm"),
        "preprocessing": {"min_size": min_size, "max_size": 4 * min_size},
        "optimizer": part(AdamW, lr=2e-4, weight_decay=0.05),
        "schedule": part(ConstantSchedule, warmup_steps=50),
    }
    with_search = network | {"proposals": {"limit": proposal_limit, "mode": mode, "width": width}}
    # A third of the work of 227 pixels; the share of context is the paper's.
    warped = with_search | {"regions": {"size": 131, "context": 9, "head": {"width": 1024}}}
    fast = with_search | {"box": {"head": {"width": 1024}, "lowest_negative_iou": 0.0}}
    faster = network | {
        "box": {"head": {"width": 1024}, "samples_per_image": 64, "loss_beta": 1.0, "nms_iou": 0.3},
        "rpn": {
            "anchors": {"sizes": [min_size / 15, min_size / 7.5, min_size / 3.75, min_size / 1.875]},
            "pre_nms_top_n": [1000, 1000],
            "post_nms_top_n": [500, 300],
        },
    }
    pooled = faster | {"pooler": {"operator": "pool"}}
    aligned = faster | {"pooler": {"operator": "align", "aligned": True}}
    solved = {"regions_per_image": 200}
    rcnn = (
        Stage(RCNNFineTuning, 0.6, warped | {"sampling": {"regions_per_image": 32}}),
        Stage(RCNNClassification, 0.2, warped | {"svm": solved}, regions_per_image=200),
        Stage(RCNNBoxRegression, 0.2, warped | {"ridge": solved}, regions_per_image=200),
    )
    masked = Stage(MaskRCNN, 1.0, aligned | {"mask": {"num_layers": 2, "width": 64}})
    return (
        Recipe("R-CNN", "rcnn", rcnn),
        Recipe("Fast R-CNN", "fast_rcnn", (Stage(FastRCNN, 1.0, fast),)),
        Recipe("Faster R-CNN", "faster_rcnn", (Stage(FasterRCNN, 1.0, pooled),)),
        Recipe("Mask R-CNN", "mask_rcnn", (masked,))
        if has_masks
        else Recipe("Mask R-CNN (boxes, RoIAlign)", "mask_rcnn", (Stage(FasterRCNN, 1.0, aligned),)),
    )
