"""A transformed image alone in its batch."""

import torch

from lightning_rcnn.data.geometry import AxisAlignedMap
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.slots import SlotLayout, allocate_slots
from lightning_rcnn.data.transforms.base import TrainingImage
from lightning_rcnn.data.transforms.render import render


def render_alone(
    sample: TrainingImage, rule: ResizeRule, shape: tuple[int, int]
) -> tuple[torch.Tensor, AxisAlignedMap]:
    dtype = torch.float32 if rule.method == "bilinear" else sample.image.dtype
    (slot,) = allocate_slots(SlotLayout(1, len(sample.image), shape, dtype))
    return render(sample, rule, slot)
