"""Keypoint R-CNN: its loss against torchvision's for the same regions, its steps, and what it refuses."""

import dataclasses

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.models.detection.roi_heads import keypointrcnn_inference, keypointrcnn_loss

from lightning_rcnn import KeypointRCNN, Skeleton
from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.checkpoints.header import CLASS_PATH_KEY
from lightning_rcnn.detectors.loading import save_detector
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.postprocess import to_original_frame
from lightning_rcnn.parts import part
from lightning_rcnn.plain_data import merge
from lightning_rcnn.roi_heads.pooler import as_rois
from lightning_rcnn.skeleton import COCO_PERSON
from lightning_rcnn.structures import Detections, ImageRecord
from tests.seeded import seeded

from .conftest import SMALL
from .test_faster_rcnn import BATCHES

SKELETON = Skeleton(("left", "right", "tip"), ((0, 2), (1, 2)), ((0, 1),))
KEYPOINT = {"keypoint": {"num_layers": 2, "width": 16}, "skeleton": SKELETON}


def make(**overrides):
    return seeded(KeypointRCNN, **merge(SMALL | KEYPOINT, overrides))


def with_keypoints(batch, seed=0):
    """Give the objects of a batch keypoints in and around their boxes, a third of them not labeled."""
    generator = torch.Generator().manual_seed(seed)
    boxes = batch.targets.boxes[:, :, None]
    share = 1.4 * torch.rand(*boxes.shape[:2], 3, 2, generator=generator) - 0.2
    visibility = torch.randint(0, 3, (*share.shape[:3], 1), generator=generator).float()
    points = boxes[..., :2] + share * (boxes[..., 2:] - boxes[..., :2])
    keypoints = torch.cat((points, visibility), dim=-1) * batch.targets.is_object[..., None, None]
    return dataclasses.replace(batch, targets=batch.targets._replace(keypoints=keypoints))


def spied_losses(detector, batch):
    """The losses, and what the keypoint branch got."""
    seen = {}
    original = detector.keypoint.losses

    def spy(pooled, rois, targets):
        seen.update(pooled=pooled, rois=rois)
        return original(pooled, rois, targets)

    detector.keypoint.losses = spy
    return detector.loss_sums(batch.inputs, batch.targets), seen


def test_the_loss_is_torchvisions_on_the_same_regions(make_batch):
    detector = make()
    batch = with_keypoints(make_batch([(20, 12, 60, 50, 1), (30, 15, 80, 55, 2)], [(10, 10, 40, 40, 3)]))
    sums, seen = spied_losses(detector, batch)
    rois, loss = seen["rois"], sums["loss_keypoint"]
    regions = [boxes[positive] for boxes, positive in zip(rois.boxes, rois.is_positive, strict=True)]
    matched = [index[positive] for index, positive in zip(rois.gt_index, rois.is_positive, strict=True)]
    flat = as_rois(rois.boxes, rois.is_positive)[rois.is_positive.flatten()]
    logits = detector.keypoint.head(seen["pooled"](flat, 14)).contiguous()
    expected = keypointrcnn_loss(logits, regions, list(batch.targets.keypoints), matched)
    torch.testing.assert_close(loss.total / loss.number, expected, rtol=1e-4, atol=1e-4)
    assert 0 < loss.number < 3 * sum(map(len, regions))
    static, _ = spied_losses(make(keypoint={"loss_number": "static"}), batch)
    assert static["loss_keypoint"].number == 2 * 8 * 3  # images, positives of 32 samples, keypoints
    torch.testing.assert_close(static["loss_keypoint"].total, loss.total)


@pytest.mark.parametrize("score", ["logit", "probability"])
def test_keypoints_are_those_of_the_loop_over_detections(score):
    detector = make(keypoint={"score": score}).eval()
    boxes = torch.tensor([[[20.0, 15, 90, 60], [40, 30, 70, 80], [0] * 4], [[10, 20, 50, 44], [0] * 4, [0] * 4]])
    labels = torch.tensor([[2, 1, -1], [3, -1, -1]])
    features = [torch.randn(2, 32, side, side) for side in (24, 12, 6, 3)]
    pooled = lambda rois, size: detector.pooler(features, rois, size)  # noqa: E731
    inputs = dataclasses.make_dataclass("Inputs", ["images"])(torch.zeros(2, 3, 96, 96))
    found = detector.keypoint.predict(pooled, Detections(boxes, labels.float(), labels), inputs).keypoints
    is_detection = labels > 0
    maps = detector.keypoint.head(pooled(as_rois(boxes, is_detection)[is_detection.flatten()], 14))
    each = [own[wanted] for own, wanted in zip(boxes, is_detection, strict=True)]
    points, logits = map(torch.cat, keypointrcnn_inference(maps, each))
    torch.testing.assert_close(found[is_detection][..., :2], points[..., :2], atol=1e-2, rtol=0)
    expected = logits
    if score == "probability":  # detectron2: softmax over the resized map, normalized by the map as predicted
        expected = logits.exp() / maps.exp().sum(dim=(2, 3))
        assert ((expected > 0) & (expected < 1.1)).all()
    torch.testing.assert_close(found[is_detection][..., 2], expected, atol=1e-4, rtol=1e-4)
    assert not found[~is_detection].any()


@pytest.mark.parametrize("kind", ["ordinary", "no objects", "only crowds"])
def test_losses_are_finite_and_every_parameter_takes_part(make_batch, kind):
    detector = make()
    losses = detector(with_keypoints(make_batch(*BATCHES[kind])))
    assert set(losses) == set(detector.loss_names)
    sum(losses.values()).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_a_step_and_a_detection_read_no_values(make_batch):
    """Fake tensors have shapes and no values: `nonzero`, `.item()` or a boolean index would raise."""
    batch = with_keypoints(make_batch(*BATCHES["ordinary"]))
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:
        detector = make()
        fake = batch.map_tensors(mode.from_tensor)
        sum(detector.losses(fake.inputs, fake.targets).values()).backward()
        detections = detector.eval()(dataclasses.replace(fake, targets=None))
    assert detections.keypoints.shape == (2, 100, 3, 3)


def test_an_evaluation_scores_keypoints_and_adds_the_losses_of_the_same_pass(make_batch):
    """The metric is fed the ground truth as detections, in the original frame, twice as large as the resized one."""
    detector = make().eval()
    batch = with_keypoints(make_batch([(20, 12, 60, 50, 1), (30, 15, 80, 55, 2)]))
    detections, _, sums = detector.evaluate(batch.inputs, batch.targets)
    torch.testing.assert_close(detections.keypoints, detector.predict(batch.inputs)[0].keypoints)
    assert sums["loss_keypoint"].number == detector.loss_sums(batch.inputs, batch.targets)["loss_keypoint"].number
    keypoints = batch.targets.keypoints[:, :2].clone()
    keypoints[..., 2] = 2
    scores, labels = torch.tensor([[0.9, 0.8]]), torch.tensor([[1, 2]])
    perfect = Detections(batch.targets.boxes[:, :2], scores, labels, keypoints=keypoints)
    annotations = [
        {"id": n, "bbox": box.tolist(), "label": n + 1, "iscrowd": 0, "difficult": 0, "area": 1600.0, "keypoints": own}
        for n, (box, own) in enumerate(
            zip(2 * batch.targets.boxes[0], (2 * keypoints[0]).flatten(1).tolist(), strict=True)
        )
    ]
    for annotation in annotations:
        annotation["keypoints"][2::3] = [2, 2, 2]
    record = ImageRecord(1, "a.jpg", 128, 192, annotations)
    in_original = to_original_frame(perfect, batch.image_sizes, torch.tensor([[128, 192]]))
    assert detector.main_result_type == "keypoints"
    detector.evaluation.average_precisions["keypoints"].update(in_original, [record])
    figures = detector.evaluation.average_precisions["keypoints"].compute()
    assert figures["AP"] == pytest.approx(1)
    assert figures["AR20"] == pytest.approx(1)
    assert set(figures) >= {"AP50", "AP75", "APm", "APl", "ARm", "ARl", "per_class", "max_detections"}
    assert "APs" not in figures


def test_settings_are_recorded_and_rebuild_the_detector():
    detector = make(oks_sigmas=[0.1, 0.1, 0.2])
    checkpoint = {}
    detector.on_save_checkpoint(checkpoint)
    again = KeypointRCNN(**checkpoint["hyper_parameters"])
    assert again.skeleton == SKELETON
    assert again.evaluation.average_precisions["keypoints"].oks_sigmas == [0.1, 0.1, 0.2]
    assert make(oks_sigmas=[0.1]).evaluation.average_precisions["keypoints"].oks_sigmas == [0.1, 0.1, 0.1]
    assert checkpoint[CLASS_PATH_KEY].endswith("KeypointRCNN")
    assert KeypointRCNN(**SMALL | {"keypoint": {"num_layers": 1, "width": 8}}).skeleton == COCO_PERSON


def test_other_keypoints_start_from_initialization(tmp_path):
    save_detector(make(), tmp_path / "three.ckpt")
    two = make(skeleton=Skeleton(("a", "b")), weights=str(tmp_path / "three.ckpt"))
    three = make(weights=str(tmp_path / "three.ckpt"))
    assert two.keypoint.head.deconvolution.weight.shape[1] == 2
    assert torch.equal(three.keypoint.head.deconvolution.weight, make().keypoint.head.deconvolution.weight)


def test_what_does_not_fit_is_refused(make_batch):
    with pytest.raises(InputError, match=r"model.oks_sigmas: 2 numbers for 3 keypoints; give one for each, or"):
        make(oks_sigmas=[0.1, 0.1])
    c4 = {"backbone": part(ResNetC4, name="resnet18"), "rpn": {"anchors": {"sizes": [16, 32]}}}
    with pytest.raises(InputError, match=r"ResNetC4 has a region stage.*choose a backbone without"):
        KeypointRCNN(**SMALL | KEYPOINT | c4)
    batch = make_batch([(20, 12, 60, 50, 1)])
    with pytest.raises(InputError, match="needs keypoints to train on, and the batch has none"):
        make()(batch)
    image = torch.zeros(3, 64, 96, dtype=torch.uint8)
    with pytest.raises(InputError, match="KeypointRCNN: keypoints of tiles and views are not merged; leave out"):
        make().detect(image, tile=32)
