from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import box_iou, nms

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.detectors.inference import detect_tensors
from lightning_rcnn.detectors.loading import load_detector, save_detector
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part
from lightning_rcnn.plain_data import merge
from lightning_rcnn.roi_heads.pooler import as_rois
from lightning_rcnn.structures import Proposals
from tests.seeded import seeded

SMALL = {
    "class_names": ["circle", "square", "triangle"],
    "backbone": part(PlainBackbone, name="alexnet"),
    "box": {"head": {"width": 32}},
    "preprocessing": {"min_size": 64, "max_size": 96},
    "proposals": {"limit": 40},
}


@pytest.fixture
def make_fast_rcnn():
    def make(**overrides):
        return seeded(FastRCNN, **merge(SMALL, overrides))

    return make


@pytest.fixture
def given(make_batch):
    """A batch with 40 random proposals per image; the last 10 are padding."""

    def add(batch):
        generator = torch.Generator().manual_seed(1)
        height, width = batch.images.shape[-2:]
        corners = torch.rand(len(batch.images), 40, 2, 2, generator=generator) * torch.tensor([width, height])
        boxes = torch.cat([corners.amin(2), corners.amax(2) + 2], dim=-1).clamp(max=min(height, width))
        is_valid = torch.arange(40).expand(len(batch.images), 40) < 30
        boxes = torch.where(is_valid[..., None], boxes, 0.0)
        return replace(batch, proposals=Proposals(boxes, torch.where(is_valid, 0.0, -torch.inf), is_valid))

    return add


@pytest.mark.parametrize(
    "backbone",
    [part(PlainBackbone, name="alexnet"), part(PlainBackbone, name="vgg16"), part(ResNetC4, name="resnet18")],
    ids=["alexnet", "vgg16", "resnet18 C4"],
)
def test_losses_reach_every_parameter_that_learns(make_fast_rcnn, make_batch, given, backbone):
    detector = make_fast_rcnn(backbone=backbone)
    losses = detector.train()(given(make_batch([(10, 10, 60, 50, 3)], [])))
    assert set(losses) == {"loss_classifier", "loss_box"}
    sum(losses.values()).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_one_pass_of_the_backbone_for_any_number_of_proposals(make_fast_rcnn, make_batch, given):
    detector = make_fast_rcnn().eval()
    passes = []
    detector.backbone.register_forward_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        detector.predict(given(make_batch([], [])).inputs)
    assert len(passes) == 1


def test_background_comes_from_the_papers_range(make_fast_rcnn, make_batch, given):
    batch = given(make_batch([(10, 10, 60, 50, 3)]))
    detector = make_fast_rcnn()
    regions = detector.box.sample(batch.proposals, batch.targets, batch.inputs, torch.tensor(5))
    iou = box_iou(regions.boxes[0], batch.targets.boxes[0]).amax(1)
    background = regions.is_valid[0] & ~regions.is_positive[0]
    assert background.sum() > 3
    assert iou[background].min() >= 0.1
    assert iou[background].max() < 0.5
    assert iou[regions.is_positive[0]].min() >= 0.5
    assert detector.box.max_positives == 16  # a quarter of 64


def test_losses_are_the_papers_sums(make_fast_rcnn, make_batch, given):
    """Equation 1 by hand: the mean over regions of -log p_u + [u >= 1] smooth L1 with sigma 1."""
    detector = make_fast_rcnn(box={"head": {"dropout": 0.0}})
    batch = given(make_batch([(10, 10, 60, 50, 3), (5, 20, 40, 60, 1)]))
    regions = detector.box.sample(batch.proposals, batch.targets, batch.inputs, detector.sampling_seed)
    losses = detector.train()(batch)
    features = detector.backbone(detector.preprocessing.normalize(batch.images, batch.image_sizes))
    pooled = detector.pooler(features, as_rois(regions.boxes, regions.is_valid), detector.box.pooled_size)
    logits, deltas = detector.box.score(pooled, regions.is_valid)
    classifier, box, number = 0.0, 0.0, 0
    for row in range(regions.boxes.shape[1]):
        if not regions.is_valid[0, row]:
            continue
        number += 1
        label = int(regions.labels[0, row])
        classifier += F.cross_entropy(logits[0, row], torch.tensor(label))
        if label:
            difference = (deltas[0, row, label - 1] - regions.gt_deltas[0, row]).abs()
            box += torch.where(difference < 1, 0.5 * difference**2, difference - 0.5).sum()
    torch.testing.assert_close(losses["loss_classifier"], classifier / number)
    torch.testing.assert_close(losses["loss_box"], box / number)


def test_detections_are_refined_proposals_after_nms(make_fast_rcnn, make_batch, given):
    detector = make_fast_rcnn(box={"score_threshold": 0.0}).eval()
    batch = given(make_batch([]))
    with torch.no_grad():
        found, proposals = detector.predict(batch.inputs)
    assert proposals is batch.proposals
    for label in (1, 2, 3):
        own = found.labels[0] == label
        boxes, scores = found.boxes[0][own], found.scores[0][own]
        assert len(nms(boxes, scores, 0.3)) == len(boxes)


def test_a_batch_without_proposals_is_refused(make_fast_rcnn, make_batch):
    with pytest.raises(InputError, match="lightning-rcnn propose"):
        make_fast_rcnn()(make_batch([(10, 10, 60, 50, 3)]))


def test_an_image_alone_is_searched(make_fast_rcnn):
    detector = make_fast_rcnn(proposals={"width": 96}, box={"score_threshold": 0.0})
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    image[:, 20:40, 30:60] = 255
    boxes = torch.from_numpy(detector.search(image)[:, :4])
    assert box_iou(boxes, torch.tensor([[30.0, 20.0, 60.0, 40.0]])).max() > 0.8
    assert detect_tensors(detector, [image], threshold=0.0)[0].boxes.shape[1] > 0
    blank = torch.zeros(3, 60, 80, dtype=torch.uint8)
    assert detect_tensors(detector, [blank], threshold=0.0)[0].boxes.shape[1] >= 0


def test_an_image_without_proposals_has_no_detections(make_fast_rcnn, make_batch, given):
    batch = given(make_batch([], []))
    none = torch.zeros_like(batch.proposals.is_valid)
    batch = replace(
        batch, proposals=Proposals(torch.zeros_like(batch.proposals.boxes), torch.full(none.shape, -torch.inf), none)
    )
    with torch.no_grad():
        found, _ = make_fast_rcnn(box={"score_threshold": 0.0}).eval().predict(batch.inputs)
    assert (found.labels == -1).all()


def test_a_checkpoint_remembers_truncated_layers(make_fast_rcnn, make_batch, given, tmp_path):
    detector = make_fast_rcnn(box={"head": {"svd_ranks": [8, 4]}}).eval()
    save_detector(detector, tmp_path / "small.ckpt")
    again = load_detector(tmp_path / "small.ckpt")
    batch = given(make_batch([]))
    with torch.no_grad():
        assert again.predict(batch.inputs)[0].scores.equal(detector.predict(batch.inputs)[0].scores)


def test_an_empty_range_of_background_ious_is_refused(make_fast_rcnn):
    with pytest.raises(InputError, match=r"lowest_negative_iou 0\.5: no region .*; give less than negative_iou 0\.5"):
        make_fast_rcnn(box={"lowest_negative_iou": 0.5})
