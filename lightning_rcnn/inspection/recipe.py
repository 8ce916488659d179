"""What an inspection needs to know of the detector that will be trained."""

from dataclasses import dataclass

import numpy as np
import torch

from lightning_rcnn.data.padding import DIVISOR, resized_sizes
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.functional.class_suppression import Suppression
from lightning_rcnn.inspection.collecting import InspectedSet
from lightning_rcnn.inspection.memory import StepMemory
from lightning_rcnn.rpn.anchor_fit import best_anchor_iou
from lightning_rcnn.rpn.anchors import AnchorSettings
from lightning_rcnn.rpn.branch import RPNSettings


@dataclass(frozen=True)
class Recipe:
    """Settings of a detector.

    Attributes:
        name: where the settings come from, for the report.
        detector: name of the detector.
        rule: resize rule.
        rpn: settings of the region proposal network; None for a detector without anchors.
        strides: strides of the feature maps, pixels.
        suppression: which of two detections in one place is dropped; None if none is, as with Soft-NMS.
        detections_per_image: limit of detections per image.
        batch_size: images of a device in a step.
        memory: estimated memory of a training step; None if unknown.
    """

    name: str
    detector: str
    rule: ResizeRule
    rpn: RPNSettings | None
    strides: tuple[int, ...]
    suppression: Suppression | None
    detections_per_image: int
    batch_size: int
    memory: StepMemory | None = None


@dataclass(frozen=True)
class Resized:
    """The single objects of a set in the frame of the network.

    Attributes:
        objects: numbers of the objects, int64 [M].
        boxes: float32 [M, 4].
        sizes: (height, width) of the image of each object, int64 [M, 2].
    """

    objects: np.ndarray
    boxes: np.ndarray
    sizes: np.ndarray

    @property
    def sides(self) -> np.ndarray:
        """Width and height of the boxes, float32 [M, 2], pixels."""
        return self.boxes[:, 2:] - self.boxes[:, :2]


def resized(one: InspectedSet, rule: ResizeRule) -> Resized:
    """Resize the single objects of a set; crowds have no anchors."""
    objects = np.flatnonzero(~one.is_crowd)
    image_of = one.image_of[objects]
    sizes = resized_sizes(rule, one.sizes[:, 0], one.sizes[:, 1])
    scale = (sizes / one.sizes)[:, ::-1].astype(np.float32)
    return Resized(objects, one.boxes[objects] * np.tile(scale, 2)[image_of], sizes[image_of])


def anchor_iou(one: Resized, rpn: RPNSettings, anchors: AnchorSettings, strides: tuple[int, ...]) -> np.ndarray:
    """Return the IoU of each object with its best anchor, float32 [M]."""
    return best_anchor_iou(
        anchors.build(strides),
        torch.from_numpy(one.boxes),
        torch.from_numpy(one.sizes),
        DIVISOR,
        is_inside=rpn.cross_boundary_anchors != "keep",
    ).numpy()
