"""The federated loss against its definition, written out region by region and class by class."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.targets import RoIs
from lightning_rcnn.roi_heads.box_branch import BoxSettings
from lightning_rcnn.roi_heads.class_losses import FederatedClassLoss, FederatedLoss, SoftmaxLoss
from lightning_rcnn.structures import Targets

CLASSES = 12
IDS = torch.tensor([7, 8])


def federated(num_classes: int, power: float = 0.5) -> FederatedClassLoss:
    loss = FederatedLoss(num_classes, power).build(CLASSES)
    loss.class_images.copy_(torch.arange(1, CLASSES + 1) ** 2)  # whose roots are the labels
    return loss


def ground_truth(labels, negative, not_exhaustive) -> Targets:
    labels = torch.tensor(labels)
    lists = [None if rows is None else torch.tensor(rows) for rows in (negative, not_exhaustive)]
    return Targets(torch.zeros(*labels.shape, 4), labels, torch.zeros_like(labels, dtype=torch.bool), None, *lists)


TARGETS = ground_truth([[3, 3, 5], [1, -1, -1]], [[6, 9], [-1, -1]], [[3, -1], [-1, -1]])


def regions(labels) -> RoIs:
    labels = torch.tensor(labels)
    some = torch.zeros(*labels.shape, 4)
    is_valid = labels >= 0
    return RoIs(some, labels.clamp(min=0), labels, some, labels > 0, is_valid, labels)


@pytest.mark.parametrize("targets", [TARGETS, TARGETS._replace(negative_labels=None, not_exhaustive_labels=None)])
def test_the_loss_is_that_of_the_definition(targets):
    loss, rois = federated(6), regions([[3, 5, 0, 0, -1], [1, 0, 0, -1, -1]])
    logits = torch.randn(2, 5, CLASSES + 1, generator=torch.Generator().manual_seed(0), requires_grad=True)
    counted = loss.counted_classes(targets, IDS, torch.tensor(4))
    total, number = loss(logits, rois, rois.is_valid, IDS, targets, torch.tensor(4))
    partial = {} if targets.not_exhaustive_labels is None else {(0, 3)}
    expected = 0.0
    for image in range(2):
        for region, label in enumerate(rois.labels[image].tolist()):
            for each in range(1, CLASSES + 1):
                if not rois.is_valid[image, region] or not counted[image, each - 1]:
                    continue
                if (image, each) in partial and label != each:
                    continue
                probability = logits[image, region, each].sigmoid().item()
                expected -= math.log(probability if label == each else 1 - probability)
    assert total.item() == pytest.approx(expected, rel=1e-5)
    assert number == 7
    total.backward()
    assert not logits.grad[..., 0].any()  # no class competes with the background
    assert logits.grad[0, 2, 3] == 0 or not partial  # may be an object of class 3 that nobody annotated


def test_an_image_learns_its_own_classes_those_that_are_absent_and_drawn_ones():
    loss = federated(6)
    draws = torch.stack([loss.counted_classes(TARGETS, IDS, torch.tensor(seed)) for seed in range(3000)])
    assert draws[:, 0, [2, 4, 5, 8]].all()
    assert draws[:, 1, 0].all()
    assert (draws.sum(-1) == 6).all()
    assert len({tuple(row.tolist()) for row in draws[:20, 1]}) > 10
    # One draw of seven: in proportion to the root of the number of images, here the label.
    loss = federated(2)
    drawn = torch.stack([loss.counted_classes(TARGETS, IDS, torch.tensor(seed))[1] for seed in range(6000)])
    share = drawn[:, 1:].float().mean(0)
    expected = torch.arange(2, CLASSES + 1) / sum(range(2, CLASSES + 1))
    assert (share - expected).abs().max() < 4.5 * (0.16 * 0.84 / 6000) ** 0.5


def test_nothing_waits_for_the_device():
    """Tensors without data: what depended on a value, such as `.item()` or `nonzero`, would raise."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        loss, rois = federated(6), regions([[3, 5, 0, 0, -1], [1, 0, 0, -1, -1]])
        total, _ = loss(torch.randn(2, 5, CLASSES + 1), rois, rois.is_valid, IDS, TARGETS, torch.tensor(4))
    assert total.shape == ()


def test_a_class_without_images_is_never_drawn():
    loss = federated(8)
    loss.class_images[6:] = 0
    counted = loss.counted_classes(TARGETS, IDS, torch.tensor(0))
    assert counted[0].nonzero().ravel().tolist() == [0, 1, 2, 3, 4, 5, 8]  # 9 is listed as absent from the image
    assert counted[1].nonzero().ravel().tolist() == [0, 1, 2, 3, 4, 5]


def test_the_classes_of_an_image_do_not_depend_on_its_batch():
    loss, seed = federated(6), torch.tensor(11)
    alone = Targets(*(value if value is None else value[1:] for value in TARGETS))
    assert (loss.counted_classes(alone, IDS[1:], seed)[0] == loss.counted_classes(TARGETS, IDS, seed)[1]).all()


def test_scores_are_sigmoids_and_start_low():
    logits = torch.randn(1, 4, CLASSES + 1)
    assert torch.equal(federated(6).scores(logits), logits[..., 1:].sigmoid())
    assert torch.equal(SoftmaxLoss().build(CLASSES).scores(logits), F.softmax(logits, -1)[..., 1:])
    layer = torch.nn.Linear(4, CLASSES + 1)
    federated(6).initialize(layer)
    assert layer.bias.sigmoid().tolist() == pytest.approx([0.01] * (CLASSES + 1))


def test_class_weights_need_the_softmax():
    with pytest.raises(InputError, match="class_weights have no effect on FederatedLoss"):
        BoxSettings(class_weights=(1.0, 2.0), class_loss=FederatedLoss())
