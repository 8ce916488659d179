"""The box branch alone, on random features."""

import math

import pytest
import torch
import torch.nn.functional as F

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.errors import InputError
from lightning_rcnn.roi_heads.box_branch import BoxSettings
from lightning_rcnn.roi_heads.box_head import TwoLayerHead
from lightning_rcnn.roi_heads.cascade_branch import CascadeSettings
from lightning_rcnn.roi_heads.pooler import PoolerSettings
from lightning_rcnn.structures import Inputs, Proposals, Targets

CLASSES = 3


def branch_with(class_weights, **options):
    torch.manual_seed(0)
    backbone = ResNetFPN("resnet18", channels=8)
    settings = BoxSettings(TwoLayerHead(width=16), samples_per_image=16, class_weights=class_weights, **options)
    pooler = PoolerSettings().build(backbone)
    return settings.build(backbone, pooler, CLASSES)


@pytest.fixture
def classified():
    """The loss of the classes with given weights, and what it is of: logits [R, K+1] and labels [R]."""

    def run(class_weights):
        branch = branch_with(class_weights)
        seen = {}
        branch.predictor.register_forward_hook(lambda _, __, output: seen.update(logits=output[0]))
        boxes = torch.tensor([[[5.0, 5, 30, 30], [40, 10, 80, 60], [10, 40, 50, 60]]])
        near = boxes.repeat(1, 6, 1) + torch.linspace(-6, 6, 18)[None, :, None]
        proposals = Proposals(near, torch.zeros(1, 18), torch.ones(1, 18, dtype=torch.bool))
        targets = Targets(boxes, torch.tensor([[1, 2, 3]]), torch.zeros(1, 3, dtype=torch.bool))
        inputs = Inputs(torch.zeros(1, 3, 64, 96, dtype=torch.uint8), torch.tensor([[64, 96]]), torch.tensor([1]))
        generator = torch.Generator().manual_seed(1)

        def pooled(rois, size):
            return torch.randn(len(rois), 8, size, size, generator=generator)

        losses, rois = branch.losses(pooled, proposals, inputs, targets, torch.tensor(0))
        total, number = losses["loss_classifier"]
        is_valid = rois.is_valid.flatten()
        return total / number, seen["logits"][is_valid], rois.labels.flatten()[is_valid]

    return run


@pytest.mark.parametrize("class_weights", [[1.0, 2.0, 5.0], [0.0, 1.0, 0.5], None])
def test_weights_of_classes_are_torchs(classified, class_weights):
    loss, logits, labels = classified(class_weights)
    assert set(labels.tolist()) == {0, 1, 2, 3}
    weight = None if class_weights is None else torch.tensor([1.0, *class_weights])
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels, weight=weight))


@pytest.mark.parametrize(
    ("class_weights", "problem"),
    [
        ([1.0, 2.0], "class_weights has 2 entries for 3 classes"),
        ([1.0, -1.0, 1.0], "out of range; give 0 or more"),
        ([1.0, float("nan"), 1.0], "out of range; give 0 or more"),
    ],
)
def test_invalid_class_weights_are_refused(class_weights, problem):
    with pytest.raises(InputError, match=problem):
        branch_with(class_weights)


@pytest.mark.parametrize("passes_on", ["sampled", "predicted"])
def test_regions_that_masks_train_on(passes_on):
    """A shift by (wx dx, wy dy) of the side and a growth by exp(dw / ww), worked out by hand."""
    branch = branch_with(None, passes_on=passes_on)
    for weight in branch.predictor.parameters():
        torch.nn.init.zeros_(weight)
    bias = torch.zeros(CLASSES, 4)
    bias[1] = torch.tensor([1.0, -2.0, 5 * math.log(2.0), 0.0])  # of the class with label 2
    with torch.no_grad():
        branch.predictor.box_deltas.bias.copy_(bias.flatten())
    boxes = torch.tensor([[[10.0, 20, 30, 60]]])
    proposals = Proposals(boxes, torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    targets = Targets(boxes, torch.tensor([[2]]), torch.zeros(1, 1, dtype=torch.bool))
    inputs = Inputs(torch.zeros(1, 3, 64, 96, dtype=torch.uint8), torch.tensor([[64, 96]]), torch.tensor([1]))
    arguments = (lambda rois, size: torch.zeros(len(rois), 8, size, size), proposals, inputs, targets, torch.tensor(0))
    _, rois = branch.losses(*arguments)
    _, _, also = branch.evaluate(*arguments)
    # The side is 20 x 40: the center (20, 40) moves by 0.1 * 20 and -0.2 * 40, the width doubles.
    wanted = [2.0, 12.0, 42.0, 52.0] if passes_on == "predicted" else [10.0, 20.0, 30.0, 60.0]
    for found in (rois, also):
        assert found.is_positive[0].tolist() == [True, True]
        torch.testing.assert_close(found.boxes[0, 0], torch.tensor(wanted))
        assert found.labels[0, 0] == 2
        assert not found.boxes.requires_grad


def test_a_cascade_passes_on_what_it_sampled():
    with pytest.raises(InputError, match="masks of a cascade train on the sampled regions; leave it out"):
        CascadeSettings(passes_on="predicted")
