import dataclasses

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.dc5 import ResNetDC5
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.regnet import RegNetFPN
from lightning_rcnn.backbones.swin import SwinFPN
from lightning_rcnn.backbones.timm import TimmFPN
from lightning_rcnn.backbones.vitdet import ViTDet
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part
from lightning_rcnn.roi_heads.box_head import ConvolutionalHead
from lightning_rcnn.structures import NO_IMAGE, Detections

LOSSES = ["loss_objectness", "loss_rpn_box", "loss_classifier", "loss_box"]
MMDETECTION = {
    "rpn": {
        "low_quality_iou": 0.3,
        "low_quality_target": "own_object",
        "padding_divisor": 32,
        "loss_denominator": "sampled_or_one",
        "min_scale": 0.016,
    },
    "box": {"low_quality_iou": 0.5, "min_scale": 0.016},
}
"""Rules of training that only its models have."""
C4 = {
    "backbone": part(ResNetC4, name="resnet18"),
    "rpn": {"anchors": {"sizes": [16, 32, 64]}},
    "box": {"pooled_size": 4},
}


def crowd_of(num):
    """Many overlapping objects, in three classes."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(num, 2, generator=generator) * torch.tensor([80.0, 50.0])
    return [(x, y, x + 12, y + 10, 1 + n % 3) for n, (x, y) in enumerate(corners.tolist())]


BATCHES = {
    "ordinary": ([(10, 10, 40, 50, 1), (30, 5, 90, 60, 2)], [(0, 0, 20, 20, 3)]),
    "no objects": ([], []),
    "one image without objects": ([(10, 10, 40, 50, 1)], []),
    "only crowds": ([(0, 0, 96, 64, 1, "crowd")], [(0, 0, 96, 64, 2, "crowd")]),
    "400 objects": (crowd_of(400), [(0, 0, 20, 20, 3)]),
    "no anchor overlaps": ([(1, 1, 1.5, 1.5, 1)], [(95.9, 63.9, 96, 64, 1)]),
}


VARIANTS = {
    "fpn": {},
    "c4": C4,
    "second version of torchvision": {
        "backbone": part(ResNetFPN, name="resnet18", channels=32, fpn_norm="group_norm"),
        "rpn": {"num_layers": 2},
        "box": {"head": ConvolutionalHead(num_layers=2, channels=32, width=64, norm="group_norm")},
    },
    "detectron2": {
        "pooler": {"level_rule": "detectron2", "sampling_ratio": 0, "aligned": True},
        "preprocessing": {"channel_order": "bgr"},
        "rpn": {"loss_denominator": "fixed", "box_loss": {"beta": 0.0}},
    },
}


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_losses_are_finite_and_every_parameter_takes_part(make_detector, make_batch, kind, variant):
    detector = make_detector(**variant)
    losses = detector(make_batch(*BATCHES[kind]))
    assert list(losses) == LOSSES
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_images_that_are_all_crowd_teach_nothing(make_detector, make_batch):
    detector = make_detector(rpn={"crowd_ioa": 0.7}, box={"crowd_ioa": 0.7})
    losses = detector(make_batch(*BATCHES["only crowds"]))
    assert sum(losses.values()).item() == 0


def test_empty_slots_teach_nothing(make_detector, make_batch):
    detector = make_detector(backbone=ResNetFPN("resnet18", channels=32, norm="group_norm"))
    batch = make_batch(*BATCHES["ordinary"])
    blank = dataclasses.replace(
        batch,
        image_ids=torch.tensor([1, NO_IMAGE]),
        image_sizes=torch.tensor([[64, 96], [0, 0]]),
        targets=batch.targets._replace(labels=torch.tensor([[1, 2], [-1, -1]])),
    )
    alone = make_batch(BATCHES["ordinary"][0])
    alone = dataclasses.replace(alone, images=batch.images[:1])
    with_blank, without = detector(blank), detector(alone)
    for name in LOSSES:
        torch.testing.assert_close(with_blank[name], without[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("variant", [{}, C4, MMDETECTION], ids=["fpn", "c4", "mmdetection"])
def test_a_training_step_reads_no_values(make_detector, make_batch, variant):
    """Fake tensors have shapes and no values: `nonzero`, `.item()` or a boolean index would raise."""
    batch = make_batch(*BATCHES["ordinary"])
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:
        detector = make_detector(**variant)
        fake = batch.map_tensors(mode.from_tensor)
        losses = detector.losses(fake.inputs, fake.targets)
        sum(losses.values()).backward()
        norm = torch.nn.utils.clip_grad_norm_(detector.parameters(), 1.0)
    assert norm.shape == ()
    assert [tuple(loss.shape) for loss in losses.values()] == [()] * 4


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    "backbone",
    [
        part(SwinFPN, name="swin_t", channels=8, checkpointing=True),
        part(ViTDet, name="tiny", channels=8, image_size=64, pretrained_size=64, window=3, checkpointing=True),
        part(RegNetFPN, name="regnet_y_400mf", channels=8, checkpointing=True),
        part(TimmFPN, name="mobilenetv3_small_050", channels=8),
    ],
    ids=["swin", "vitdet", "regnet", "timm"],
)
def test_a_training_step_on_another_backbone_reads_no_values(make_detector, make_batch, backbone):
    """Neither does its construction."""
    batch = make_batch(*BATCHES["ordinary"])
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:
        detector = make_detector(backbone=backbone)
        fake = batch.map_tensors(mode.from_tensor)
        sum(detector.losses(fake.inputs, fake.targets).values()).backward()
        detections = detector.eval()(dataclasses.replace(fake, targets=None))
    assert detections.boxes.shape == (2, 100, 4)


def test_detections_have_a_fixed_size_and_lie_in_their_images(make_detector, make_batch):
    detector = make_detector(box={"score_threshold": 0.0, "detections_per_image": 30}).eval()
    batch = dataclasses.replace(make_batch([], []), targets=None)
    detections = detector(batch)
    assert isinstance(detections, Detections)
    assert detections.boxes.shape == (2, 30, 4)
    found = detections.labels > 0
    assert found.any()
    assert (detections.boxes[found] >= 0).all()
    assert (detections.boxes[found] <= torch.tensor([96.0, 64, 96, 64])).all()
    assert (detections.scores[:, :-1] >= detections.scores[:, 1:]).all()


def test_detect_answers_in_the_original_frame(make_detector):
    detector = make_detector(box={"score_threshold": 0.0})
    image = torch.randint(0, 256, (3, 200, 150), dtype=torch.uint8)
    small, large = detector.detect([image, image.repeat_interleave(2, 1).repeat_interleave(2, 2)], threshold=0.0)
    assert detector.training
    assert set(small) == {"boxes", "labels", "scores"}
    assert small["boxes"][:, 2].max() <= 150
    assert small["boxes"][:, 3].max() <= 200
    assert large["boxes"].max() > 200
    assert len(detector.detect([image], threshold=1.0)[0]["boxes"]) == 0


def test_detect_refuses_what_is_not_an_image(make_detector, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(InputError, match=r"text\.jpg"):
        make_detector().detect([tmp_path / "text.jpg"])
    with pytest.raises(InputError, match="uint8"):
        make_detector().detect([torch.zeros(3, 10, 10)])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backbone": part(ResNetFPN, name="resnet19")}, "resnet19"),
        ({"backbone": part(ResNetFPN, name="resnet18", weights="IMAGENET")}, "IMAGENET1K_V1"),
        (
            {"backbone": part(ResNetFPN, name="resnet18", chanels=3)},
            "ResNetFPN takes no chanels; did you mean channels?",
        ),
        ({"backbone": part(ResNetDC5, name="resnet18")}, "needs bottlenecks, and resnet18 has none"),
        ({"backbone": part(ResNetFPN, name="resnet18", stride_in_1x1=True)}, "stride_in_1x1 needs bottlenecks"),
        ({"backbone": part(ResNetC4, name="resnet18", frozen_stages=5)}, "frozen_stages 5"),
        ({"rpn": {"anchors": {"sizes": [32, 64]}}}, "rpn.anchors: sizes"),
        ({"rpn": {"num_layers": 0}}, "RPNSettings.num_layers: 0 is out of range; give 1 or more"),
        ({"rpn": {"anchors": {"rounding": "round"}}}, "AnchorSettings.rounding: 'round' is none of exact, rounded"),
        ({"preprocessing": {"min_size": 900, "max_size": 800}}, "900"),
        (
            {"preprocessing": {"size_divisor": 0}},
            "size_divisor: 0 is out of range; give 1 or more",
        ),
        ({"preprocessing": {"channel_order": "BGR"}}, "channel_order: 'BGR' is none of rgb, bgr"),
        ({"class_names": []}, "class_names"),
        ({"class_names": ["cat", "cat"]}, "model.class_names: 'cat' occurs twice"),
        ({"class_names": "cat"}, r"FasterRCNN.class_names: 'cat' is not a list; give one, such as \['cat'\]"),
    ],
)
def test_wrong_hyperparameters_are_named(make_detector, wrong, message):
    with pytest.raises(InputError, match=message):
        make_detector(**wrong)


def test_weights_of_a_file_are_loaded_and_frozen_stages_keep_still(make_detector, make_batch, tmp_path):
    source = make_detector().backbone.body
    torch.nn.init.constant_(source.conv1.weight, 0.5)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    detector = make_detector(
        backbone=ResNetFPN("resnet18", str(tmp_path / "weights.pth"), frozen_stages=2, channels=32)
    )
    assert (detector.backbone.body.conv1.weight == 0.5).all()
    sum(detector(make_batch(*BATCHES["ordinary"])).values()).backward()
    trained = {name.split(".")[2] for name, p in detector.backbone.named_parameters(prefix="b") if p.grad is not None}
    assert {"layer2", "layer3", "layer4"} <= trained
    assert not {"conv1", "bn1", "layer1"} & trained
    statistics = detector.backbone.body.bn1.running_mean.clone()
    detector.train()(make_batch(*BATCHES["ordinary"]))
    assert detector.backbone.body.bn1.running_mean.equal(statistics)


def test_weights_of_another_architecture_are_refused(make_detector, tmp_path):
    torch.save(make_detector().backbone.body.state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match="not weights of resnet34"):
        make_detector(backbone=part(ResNetFPN, name="resnet34", weights=str(tmp_path / "resnet18.pth")))


def test_anchors_across_the_border_can_be_left_out(make_detector):
    detector = make_detector(rpn={"cross_boundary_anchors": "ignore"})
    anchors = torch.tensor([[0.0, 0, 96, 64], [-1, 0, 20, 20], [80, 50, 97, 60]])
    assert detector.rpn._is_candidate(anchors, torch.tensor([[64, 96]])).tolist() == [[True, False, False]]


def test_hyperparameters_are_plain_and_complete(make_detector):
    detector = make_detector(optimizer=part(torch.optim.AdamW, lr=0.5))
    assert detector.hparams["optimizer"]["init_args"]["lr"] == detector.learning_rate == 0.5
    clone = FasterRCNN(**detector.hparams)
    assert {k: v.shape for k, v in clone.state_dict().items()} == {k: v.shape for k, v in detector.state_dict().items()}
