"""The cascade alone, on features that depend on the boxes, against a loop over images and stages with torchvision."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.errors import InputError
from lightning_rcnn.roi_heads.cascade_branch import CascadeSettings
from lightning_rcnn.roi_heads.pooler import PoolerSettings
from lightning_rcnn.structures import Inputs, Proposals, Targets

CLASSES, CHANNELS = 3, 8
SIZES = [(64, 96), (80, 70)]
STAGES = [(0.5, (10.0, 10.0, 5.0, 5.0)), (0.6, (20.0, 20.0, 10.0, 10.0)), (0.7, (30.0, 30.0, 15.0, 15.0))]


class World:
    """Two images of proposals around objects, a cascade, and features that are a function of the boxes."""

    def __init__(self, **settings):
        torch.manual_seed(0)
        backbone = ResNetFPN("resnet18", channels=CHANNELS)
        self.branch = CascadeSettings(
            **{"head": {"width": 32}, "samples_per_image": 24, "box_loss": {"beta": 0.0}} | settings
        ).build(backbone, PoolerSettings().build(backbone), CLASSES)
        for stage in self.branch.stages:  # larger than the initial ones, so that boxes move
            torch.nn.init.normal_(stage.predictor.box_deltas.weight, std=0.6)
            torch.nn.init.normal_(stage.predictor.class_logits.weight, std=0.6)
        objects = torch.tensor(
            [[[5.0, 5, 30, 30], [40, 10, 80, 60], [10, 40, 50, 60]], [[8, 8, 60, 40], [20, 50, 66, 78], [0, 0, 0, 0]]]
        )
        labels = torch.tensor([[1, 2, 3], [2, 2, -1]])
        jitter = torch.randn(2, 30, 4) * 4
        boxes = objects[:, [0, 1, 0, 1, 0, 1]].repeat(1, 5, 1) + jitter
        boxes = torch.stack([clip_boxes_to_image(one, size) for one, size in zip(boxes, SIZES, strict=True)])
        is_valid = torch.ones(2, 30, dtype=torch.bool)
        is_valid[1, 25:] = False
        self.proposals = Proposals(boxes, torch.zeros(2, 30), is_valid)
        self.targets = Targets(objects, labels, torch.zeros_like(labels, dtype=torch.bool))
        images = torch.zeros(2, 3, 96, 96, dtype=torch.uint8)
        self.inputs = Inputs(images, torch.tensor(SIZES), torch.tensor([1, 2]))
        self.map = torch.randn(4, CHANNELS * 49)
        self.scale = torch.ones((), requires_grad=True)
        self.seed = torch.tensor(3)

    def features(self, boxes):
        return torch.sin(boxes / 20 @ self.map).unflatten(1, (CHANNELS, 7, 7)) * self.scale

    def pooled(self, rois, size):
        assert size == 7
        return self.features(rois[:, 1:])


def stages_by_loop(world, boxes, image):
    """Yield the input boxes, logits and deltas of each stage for boxes [R, 4] of one image, and its refined boxes."""
    for stage, (iou, weights) in zip(world.branch.stages, STAGES, strict=True):
        logits, deltas = stage.predictor(stage.head(world.features(boxes)))
        refined = clip_boxes_to_image(BoxCoder(weights).decode(deltas[:, 0], [boxes])[:, 0], SIZES[image])
        yield iou, weights, boxes, logits, deltas[:, 0], refined
        boxes = refined.detach()


def losses_by_loop(world, rois):
    """Compute the losses of all stages, and the loss that reaches the features."""
    totals = {}
    for number in range(3):
        logits, labels, deltas, wanted = [], [], [], []
        for image in range(2):
            boxes = rois.boxes[image][rois.is_valid[image]]
            iou, weights, boxes, scored, moved, _ = list(stages_by_loop(world, boxes, image))[number]
            objects = world.targets.boxes[image][world.targets.labels[image] > 0]
            overlap, index = box_iou(objects, boxes).max(dim=0)
            positive, exists = overlap >= iou, (boxes[:, 2:] > boxes[:, :2]).all(1)
            labels.append(torch.where(positive, world.targets.labels[image][index], 0)[exists])
            logits.append(scored[exists])
            deltas.append(moved[positive & exists])
            wanted.append(BoxCoder(weights).encode_single(objects[index], boxes)[positive & exists])
        logits, labels = torch.cat(logits), torch.cat(labels)
        assert (labels > 0).sum() >= 3
        totals[f"loss_classifier_{number + 1}"] = F.cross_entropy(logits, labels)
        totals[f"loss_box_{number + 1}"] = F.l1_loss(torch.cat(deltas), torch.cat(wanted), reduction="sum") / len(
            labels
        )
    return totals


def means(losses):
    return {name: loss.total / loss.number for name, loss in losses.items()}


def test_losses_are_those_of_a_loop_over_images_and_stages():
    world = World()
    losses, rois = world.branch.losses(world.pooled, world.proposals, world.inputs, world.targets, world.seed)
    losses, expected = means(losses), losses_by_loop(world, rois)
    assert list(losses) == list(world.branch.loss_names) == list(expected)
    for name, loss in expected.items():
        torch.testing.assert_close(losses[name], loss, rtol=1e-4, atol=1e-5, msg=name)
    # A third of the gradient reaches the features; all of it the stages' own layers.
    ours = torch.autograd.grad(sum(losses.values()), world.scale, retain_graph=True)[0]
    theirs = torch.autograd.grad(sum(expected.values()), world.scale, retain_graph=True)[0]
    torch.testing.assert_close(ours, theirs / 3, rtol=1e-3, atol=1e-4)
    layer = world.branch.stages[2].head.fc6.weight
    ours, theirs = (torch.autograd.grad(sum(all_.values()), layer)[0] for all_ in (losses, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_losses_of_stages_that_sample_are_those_of_a_loop():
    """mmdetection: each stage trains on the refined proposals and the ground truth; there is room for all of them."""
    world = World(samples_per_image=80, positive_fraction=0.5, samples="each", gradients="whole")
    losses, rois = world.branch.losses(world.pooled, world.proposals, world.inputs, world.targets, world.seed)
    losses, expected = means(losses), {}
    boxes = [world.proposals.boxes[image][world.proposals.is_valid[image]] for image in range(2)]
    for number, (stage, (iou, weights)) in enumerate(zip(world.branch.stages, STAGES, strict=True), 1):
        logits, labels, deltas, wanted = [], [], [], []
        for image in range(2):
            objects = world.targets.boxes[image][world.targets.labels[image] > 0]
            regions = torch.cat((boxes[image], objects))
            scored, moved = stage.predictor(stage.head(world.features(regions)))
            overlap, index = box_iou(objects, regions).max(dim=0)
            positive = overlap >= iou
            assert positive.sum() < 40
            labels.append(torch.where(positive, world.targets.labels[image][index], 0))
            logits.append(scored)
            deltas.append(moved[positive, 0])
            wanted.append(BoxCoder(weights).encode_single(objects[index], regions)[positive])
            refined = BoxCoder(weights).decode(moved[:, 0], [regions])[:, 0]
            boxes[image] = clip_boxes_to_image(refined, SIZES[image])[: -len(objects)].detach()
        logits, labels = torch.cat(logits), torch.cat(labels)
        expected[f"loss_classifier_{number}"] = F.cross_entropy(logits, labels)
        total = F.l1_loss(torch.cat(deltas), torch.cat(wanted), reduction="sum")
        expected[f"loss_box_{number}"] = total / len(labels)
    assert rois.is_valid.sum() == len(labels)
    assert list(losses) == list(world.branch.loss_names) == list(expected)
    for name, loss in expected.items():
        torch.testing.assert_close(losses[name], loss, rtol=1e-4, atol=1e-5, msg=name)
    ours, theirs = (torch.autograd.grad(sum(all_.values()), world.scale)[0] for all_ in (losses, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    arguments = (world.pooled, world.proposals, world.inputs)
    found, at_once, _ = world.branch.evaluate(*arguments, world.targets, world.seed)
    torch.testing.assert_close(means(at_once), losses)
    for one, other in zip(found[:3], world.branch.predict(*arguments)[:3], strict=True):
        assert torch.equal(one, other)


def test_loss_weights_scale_the_losses_of_their_stages():
    plain, weighted = World(), World(loss_weights=[1.0, 0.5, 0.25])
    first, second = (
        means(one.branch.losses(one.pooled, one.proposals, one.inputs, one.targets, one.seed)[0])
        for one in (plain, weighted)
    )
    for name, factor in zip(first, (1, 1, 0.5, 0.5, 0.25, 0.25), strict=True):
        torch.testing.assert_close(second[name], factor * first[name])


@pytest.mark.parametrize("averages", ["scores", "logits"])
def test_detections_have_the_last_boxes_and_the_mean_scores(averages):
    world = World(detections_per_image=100, score_threshold=0.1, averages=averages)
    found = world.branch.predict(world.pooled, world.proposals, world.inputs)
    for image in range(2):
        passes = list(stages_by_loop(world, world.proposals.boxes[image][world.proposals.is_valid[image]], image))
        scores = torch.stack([logits.softmax(1)[:, 1:] for _, _, _, logits, _, _ in passes]).mean(0)
        if averages == "logits":
            scores = torch.stack([logits for _, _, _, logits, _, _ in passes]).mean(0).softmax(1)[:, 1:]
        region, label = (scores > 0.1).nonzero(as_tuple=True)
        boxes, score = passes[-1][-1][region], scores[region, label]
        kept = batched_nms(boxes, score, label, 0.5)
        is_found = found.labels[image] > 0
        assert is_found.sum() == len(kept) > 3
        torch.testing.assert_close(found.boxes[image][is_found], boxes[kept], rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(found.scores[image][is_found], score[kept], rtol=1e-4, atol=1e-5)
        assert found.labels[image][is_found].tolist() == (label[kept] + 1).tolist()


def test_evaluation_detects_and_computes_losses_at_once():
    world = World()
    arguments = (world.pooled, world.proposals, world.inputs)
    found, losses, rois = world.branch.evaluate(*arguments, world.targets, world.seed)
    expected, expected_rois = world.branch.losses(*arguments, world.targets, world.seed)
    for name, loss in means(expected).items():
        torch.testing.assert_close(means(losses)[name], loss, msg=name)
    assert torch.equal(rois.indices, expected_rois.indices)
    for ours, theirs in zip(found[:3], world.branch.predict(*arguments)[:3], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_later_stage_takes_no_negative_from_a_crowd():
    world = World(crowd_ioa=0.7)
    objects = torch.cat((world.targets.boxes, torch.tensor([[[0.0, 0, 96, 64]], [[0, 0, 70, 80]]])), dim=1)
    crowd = torch.tensor([[False, False, False, True]] * 2)
    labels = torch.cat((world.targets.labels, torch.tensor([[1], [1]])), dim=1)
    targets = Targets(objects, labels, crowd)
    losses, _ = world.branch.losses(world.pooled, world.proposals, world.inputs, targets, world.seed)
    _, rois = world.branch.losses(world.pooled, world.proposals, world.inputs, world.targets, world.seed)
    positives = 0
    for image in range(2):
        boxes = list(stages_by_loop(world, rois.boxes[image][rois.is_positive[image]], image))[2][2]
        real = world.targets.boxes[image][world.targets.labels[image] > 0]
        positives += (box_iou(real, boxes).max(dim=0).values >= 0.7).sum()
    assert losses["loss_classifier_3"].number == positives


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_agnostic": False}, "class_agnostic: the stages of a cascade share one box"),
        ({"stage_ious": [0.6]}, "1 stage_ious, 2 stage_box_weights and 3 loss_weights"),
        ({"loss_weights": [1.0]}, "2 stage_ious, 2 stage_box_weights and 1 loss_weights"),
        ({"stage_ious": [0.6, 1.7]}, "stage_ious"),
    ],
)
def test_stages_that_do_not_fit_together_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        CascadeSettings(**settings)
