"""Whole cascades: finite losses for all batches, a step without values, masks of the last boxes."""

import dataclasses

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.detectors.cascade_rcnn import CascadeMaskRCNN, CascadeRCNN
from lightning_rcnn.detectors.loading import load_detector, save_detector
from tests.seeded import seeded

from .conftest import SMALL
from .test_faster_rcnn import BATCHES


@pytest.fixture
def make_cascade():
    def make(of_class, **overrides):
        return seeded(of_class, **SMALL | overrides)

    return make


@pytest.mark.parametrize("samples", ["first", "each"])
@pytest.mark.parametrize("kind", BATCHES)
def test_losses_are_finite_and_every_parameter_takes_part(make_cascade, make_batch, kind, samples):
    detector = make_cascade(CascadeRCNN, box=SMALL["box"] | {"samples": samples})
    losses = detector(make_batch(*BATCHES[kind]))
    assert set(losses) == set(detector.loss_names)
    sum(losses.values()).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_all_stages_start_from_the_fully_connected_layers_of_a_classification_network(make_cascade, tmp_path):
    backbone = PlainBackbone("alexnet")
    pretrained = [torch.nn.Linear(9216, 8), torch.nn.Linear(8, 8)]  # narrow ones in place of its own
    backbone._fully_connected = list(pretrained)
    detector = make_cascade(CascadeRCNN, backbone=backbone, box={"head": {"width": 8}})
    for stage in detector.box.stages:
        for layer, given in zip((stage.head.fc6, stage.head.fc7), pretrained, strict=True):
            assert torch.equal(layer.weight, given.weight)
    save_detector(detector, tmp_path / "cascade.ckpt")
    assert type(load_detector(tmp_path / "cascade.ckpt").backbone) is PlainBackbone


@pytest.mark.parametrize("samples", ["first", "each"])
def test_a_training_step_reads_no_values(make_cascade, make_batch, with_masks, samples):
    """Fake tensors have shapes and no values: `nonzero`, `.item()` or a boolean index would raise."""
    batch = with_masks(make_batch(*BATCHES["ordinary"]))
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:
        detector = make_cascade(CascadeMaskRCNN, box=SMALL["box"] | {"samples": samples})
        fake = batch.map_tensors(mode.from_tensor)
        losses = detector.losses(fake.inputs, fake.targets)
        sum(losses.values()).backward()
    assert [tuple(loss.shape) for loss in losses.values()] == [()] * 9


def test_detections_have_masks_in_boxes_of_the_image(make_cascade, make_batch):
    detector = make_cascade(CascadeMaskRCNN, box={**SMALL["box"], "score_threshold": 0.0}).eval()
    detections = detector(dataclasses.replace(make_batch([], []), targets=None))
    found = detections.labels > 0
    assert found.any()
    assert detections.masks[found].max() > 0
    assert (detections.boxes[found] >= 0).all()
    assert (detections.boxes[found] <= torch.tensor([96.0, 64, 96, 64])).all()


def test_other_classes_keep_the_boxes_of_all_stages(make_cascade, tmp_path):
    """Only the layers that depend on the classes start anew; one box serves all classes."""
    trained = make_cascade(CascadeRCNN)
    for parameter in trained.parameters():
        torch.nn.init.normal_(parameter, std=0.01)
    save_detector(trained, tmp_path / "trained.ckpt")
    tuned = make_cascade(CascadeRCNN, class_names=["cat", "dog"], weights=str(tmp_path / "trained.ckpt"))
    theirs = dict(trained.named_parameters())
    new = [name for name, value in tuned.named_parameters() if not torch.equal(value, theirs[name][: len(value)])]
    layers = [f"box.stages.{stage}.predictor.class_logits" for stage in range(3)]
    assert new == [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
