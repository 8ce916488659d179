"""Trainings that start from the weights of another detector."""

import logging

import pytest
import torch
import torchvision.models

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.torchvision import export
from lightning_rcnn.detectors.loading import save_detector
from lightning_rcnn.errors import InputError
from lightning_rcnn.structures import Inputs


@pytest.fixture
def given(make_mask_rcnn, tmp_path):
    """A detector of two classes, and its file."""
    detector = make_mask_rcnn(class_names=["cat", "dog"])
    save_detector(detector, tmp_path / "given.ckpt")
    return detector, tmp_path / "given.ckpt"


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO)
    return lambda: " ".join(caplog.messages)


def same(detector, other, name):
    return detector.state_dict()[name].equal(other.state_dict()[name])


def test_with_other_classes_the_predictors_start_from_initialization(
    given, make_mask_rcnn, said, make_batch, with_masks
):
    theirs, path = given
    torch.manual_seed(1)
    detector = make_mask_rcnn(weights=str(path))
    assert len(detector.class_names) == 3
    new = {name for name in detector.state_dict() if name.startswith(("box.predictor", "mask.head.logits"))}
    assert all(same(detector, theirs, name) for name in detector.state_dict() if name not in new)
    assert (
        "box.predictor.box_deltas, box.predictor.class_logits, mask.head.logits, which start from initialization"
        in said()
    )
    assert "(2 classes there, 3 here)" in said()
    images, sizes = torch.rand(1, 3, 64, 96), torch.tensor([[64, 96]])
    detector.eval(), theirs.eval()
    for ours, others in zip(detector.backbone(images), theirs.backbone(images), strict=True):
        assert ours.equal(others)
    inputs = Inputs(images * 255, sizes, torch.tensor([1]))
    assert detector.predict(inputs)[1].boxes.equal(theirs.predict(inputs)[1].boxes)
    losses = detector.train()(with_masks(make_batch([(10, 10, 60, 50, 3)])))
    total = sum(losses.values())
    assert torch.isfinite(total)
    total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in detector.parameters() if p.requires_grad)


def test_with_as_many_classes_everything_is_loaded(given, make_mask_rcnn, said):
    theirs, path = given
    detector = make_mask_rcnn(class_names=["cat", "dog"], weights=str(path))
    assert all(same(detector, theirs, name) for name in detector.state_dict())
    assert "all are loaded." in said()


def test_as_many_classes_of_other_names_are_warned_of(given, make_mask_rcnn):
    _, path = given
    with pytest.warns(UserWarning, match="2 of 2 classes have other names there: 'dog' starts from 'cat'"):
        make_mask_rcnn(class_names=["dog", "cat"], weights=str(path))


def test_a_mask_head_of_another_size_is_named(given, make_mask_rcnn):
    _, path = given
    with pytest.raises(
        InputError, match=r"architecture: .* mask\.head\.\S+ is \[16, 32, 3, 3\] in the checkpoint and \[8, "
    ):
        make_mask_rcnn(mask={"width": 8}, weights=str(path))


def test_a_backbone_alone_is_sent_where_it_belongs(make_detector, tmp_path):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match=r"resnet18\.pth: a resnet18 trained on ImageNet.*model\.backbone\.weights"):
        make_detector(weights=str(tmp_path / "resnet18.pth"))


def test_a_box_detector_starts_from_a_mask_detector_and_the_other_way_round(given, make_detector, make_mask_rcnn, said):
    theirs, path = given
    boxes = make_detector(class_names=["cat", "dog"], weights=str(path))
    assert all(same(boxes, theirs, name) for name in boxes.state_dict())
    save_detector(boxes, path)
    masks = make_mask_rcnn(class_names=["cat", "dog"], weights=str(path))
    assert same(masks, theirs, "box.predictor.class_logits.weight")
    assert "mask.head.upsample, which start from initialization" in said()


def test_a_file_of_torchvision_is_loaded_and_other_conventions_are_warned_of(make_detector, tmp_path):
    theirs = make_detector()
    torch.save(export(WeightFile(tmp_path, theirs.state_dict())), tmp_path / "theirs.pth")
    with pytest.warns(
        UserWarning, match="were trained with rpn.anchors.rounding rounded, rpn.anchors.stride image_ratio"
    ):
        detector = make_detector(weights=str(tmp_path / "theirs.pth"))
    assert all(same(detector, theirs, name) for name in detector.state_dict())


def test_another_architecture_is_named(given, make_mask_rcnn):
    _, path = given
    with pytest.raises(
        InputError, match=r"given\.ckpt: not of the model's architecture: \d+ weights do not fit"
    ) as caught:
        make_mask_rcnn(backbone=ResNetFPN("resnet34", channels=32), weights=str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"model\.weights nowhere: neither a file, nor a URL, nor a name of weights"):
        make_mask_rcnn(weights="nowhere")


def test_a_checkpoint_does_not_ask_for_them_again(given, make_mask_rcnn, tmp_path):
    _, path = given
    save_detector(make_mask_rcnn(weights=str(path)), tmp_path / "tuned.ckpt")
    path.unlink()
    hyperparameters = torch.load(tmp_path / "tuned.ckpt", weights_only=True)["hyper_parameters"]
    assert hyperparameters["weights"] is None
