"""Estimated memory, against what detectron2 measured."""

import pytest
import torch

from lightning_rcnn import FasterRCNN, MaskRCNN
from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.inspection.memory import step_memory
from lightning_rcnn.parts import part

# The model zoo of detectron2: GB of a GPU in training, two images of a shorter edge of 640 to 800 in 32 bits, momentum.
ZOO = [
    (FasterRCNN, ResNetFPN, "resnet50", 3.0),
    (FasterRCNN, ResNetFPN, "resnet101", 4.1),
    (MaskRCNN, ResNetFPN, "resnet50", 3.4),
    (FasterRCNN, ResNetC4, "resnet50", 4.8),
]


@pytest.mark.parametrize(("detector", "backbone", "depth", "measured"), ZOO)
def test_it_is_right_within_a_third(detector, backbone, depth, measured):
    names = [f"class {number}" for number in range(80)]
    before = torch.get_rng_state()
    built = detector(names, backbone=part(backbone, name=depth, norm="frozen_batch_norm", frozen_stages=2))
    state = torch.get_rng_state()
    memory = step_memory(built, optimizer_states=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(before, state)
    estimated = memory.fixed + 2 * (memory.per_pixel * 720 * 1088 + memory.per_image)
    assert estimated / 1e9 == pytest.approx(measured, rel=1 / 3)
    assert memory.batch_size(estimated * 1.001, 720 * 1088, bits=32) == 2
    assert memory.batch_size(1e9, 720 * 1088, bits=32) == 0
    assert all(weight.device.type == "cpu" for weight in built.parameters())
