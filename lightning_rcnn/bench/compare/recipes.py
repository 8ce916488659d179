"""The recipes of the compared detectors: one network, one optimizer, one training time.

All have torchvision's AlexNet with batch norms and fully connected layers of 1024, which learn from scratch on a CPU
within minutes. The recipes differ only in what each paper changed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch.optim import AdamW

from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.cascade_rcnn import CascadeMaskRCNN, CascadeRCNN
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.keypoint_rcnn import KeypointRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.detectors.point_rend import PointRend
from lightning_rcnn.detectors.rcnn.box_regression import RCNNBoxRegression
from lightning_rcnn.detectors.rcnn.classification import RCNNClassification
from lightning_rcnn.detectors.rcnn.fine_tuning import RCNNFineTuning
from lightning_rcnn.detectors.schedules import ConstantSchedule
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part
from lightning_rcnn.proposals.selective_search import SelectiveSearchMode
from lightning_rcnn.skeleton import Skeleton

DetectorKey = Literal[
    "rcnn",
    "fast_rcnn",
    "faster_rcnn",
    "mask_rcnn",
    "cascade_rcnn",
    "cascade_mask_rcnn",
    "point_rend",
    "keypoint_rcnn",
]
FOUR_PAPERS: tuple[DetectorKey, ...] = ("rcnn", "fast_rcnn", "faster_rcnn", "mask_rcnn")
WITH_PROPOSALS: frozenset[DetectorKey] = frozenset({"rcnn", "fast_rcnn"})
"""Detectors of proposals that come with the images."""


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


@dataclass(frozen=True)
class Conditions:
    """What all recipes of a comparison have in common.

    Attributes:
        has_masks: whether all objects have masks.
        skeleton: keypoints of the objects, if they have any.
        min_size: shorter edge of the resized images, pixels.
        mode, width: settings of selective search.
        proposal_limit: proposals of an image that R-CNN and Fast R-CNN use.
    """

    has_masks: bool
    skeleton: Skeleton | None
    min_size: int
    mode: SelectiveSearchMode
    width: int
    proposal_limit: int


def recipes(keys: Sequence[DetectorKey], conditions: Conditions) -> list[Recipe]:
    """Return the recipes of the detectors, in their order.

    On a set without masks, Mask R-CNN is replaced by Faster R-CNN with RoIAlign, its part that needs no masks.

    Raises:
        InputError: a detector needs masks or keypoints that the data lack.
    """
    return [_recipe(key, conditions) for key in keys]


def _recipe(key: DetectorKey, conditions: Conditions) -> Recipe:
    min_size = conditions.min_size
    network: dict[str, Any] = {
        "backbone": part(PlainBackbone, name="alexnet", norm="batch_norm"),
        "preprocessing": {"min_size": min_size, "max_size": 4 * min_size},
        "optimizer": part(AdamW, lr=2e-4, weight_decay=0.05),
        "schedule": part(ConstantSchedule, warmup_steps=50),
    }
    if key in WITH_PROPOSALS:
        limit, mode, width = conditions.proposal_limit, conditions.mode, conditions.width
        network["proposals"] = {"limit": limit, "mode": mode, "width": width}
    if key == "rcnn":
        return Recipe("R-CNN", key, _rcnn_stages(network))
    if key == "fast_rcnn":
        fast = network | {"box": {"head": {"width": 1024}, "lowest_negative_iou": 0.0}}
        return Recipe("Fast R-CNN", key, (Stage(FastRCNN, settings=fast),))
    faster = network | {
        "box": {"head": {"width": 1024}, "samples_per_image": 64, "box_loss": {"beta": 1.0}, "nms_iou": 0.3},
        "rpn": {
            "anchors": {"sizes": [min_size / 15, min_size / 7.5, min_size / 3.75, min_size / 1.875]},
            "pre_nms_top_n": [1000, 1000],
            "post_nms_top_n": [500, 300],
        },
        "pooler": {"operator": "align", "aligned": True},
    }
    masked = faster | {"mask": {"num_layers": 2, "width": 64}}
    match key:
        case "faster_rcnn":
            return Recipe("Faster R-CNN", key, (Stage(FasterRCNN, settings=faster | {"pooler": {"operator": "pool"}}),))
        case "mask_rcnn" if not conditions.has_masks:
            return Recipe("Mask R-CNN (boxes, RoIAlign)", key, (Stage(FasterRCNN, settings=faster),))
        case "mask_rcnn":
            return Recipe("Mask R-CNN", key, (Stage(MaskRCNN, settings=masked),))
        case "cascade_rcnn":
            return Recipe("Cascade R-CNN", key, (Stage(CascadeRCNN, settings=faster),))
        case "cascade_mask_rcnn":
            _require(conditions.has_masks, key, "masks")
            return Recipe("Cascade Mask R-CNN", key, (Stage(CascadeMaskRCNN, settings=masked),))
        case "point_rend":
            _require(conditions.has_masks, key, "masks")
            # The widths of the other detectors' masks and heads.
            rendered = {"coarse_width": 64, "coarse_hidden": 256, "width": 64}
            return Recipe("PointRend", key, (Stage(PointRend, settings=faster | {"mask": rendered}),))
        case "keypoint_rcnn":
            _require(conditions.skeleton is not None, key, "keypoints")
            posed = faster | {"keypoint": {"num_layers": 2, "width": 64}, "skeleton": conditions.skeleton}
            return Recipe("Keypoint R-CNN", key, (Stage(KeypointRCNN, settings=posed),))
    raise AssertionError(key)


def _rcnn_stages(network: dict[str, Any]) -> tuple[Stage, ...]:
    # A third of the work of 227 pixels; the share of context is the paper's.
    warped = network | {"regions": {"size": 131, "context": 9, "head": {"width": 1024}}}
    solved = {"regions_per_image": 200}
    return (
        Stage(RCNNFineTuning, 0.6, warped | {"sampling": {"regions_per_image": 32}}),
        Stage(RCNNClassification, 0.2, warped | {"svm": solved}, regions_per_image=200),
        Stage(RCNNBoxRegression, 0.2, warped | {"ridge": solved}, regions_per_image=200),
    )


def _require(is_there: bool, key: DetectorKey, what: str) -> None:
    if not is_there:
        raise InputError(f"--detectors {key}: the data have no {what}; leave it out, or give data with {what}")
