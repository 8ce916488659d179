"""The network of R-CNN and its detections; and the first stage, which trains it."""

import pytest
import torch
import torch.nn.functional as F

from lightning_rcnn.backbones.plain import POOLED_SIZES
from lightning_rcnn.detectors.loading import load_detector, save_detector
from lightning_rcnn.detectors.rcnn.fine_tuning import RCNNFineTuning
from lightning_rcnn.detectors.rcnn.rcnn import RCNN
from lightning_rcnn.errors import InputError
from lightning_rcnn.structures import Inputs

OBJECTS = [(10, 10, 40, 50, 1), (30, 5, 90, 60, 2)]
PROPOSALS = [(8, 8, 42, 50), (28, 5, 90, 58), (0, 0, 20, 20), (50, 30, 96, 64), (0, 40, 30, 64)]


@pytest.fixture
def batch(make_batch, with_proposals):
    return with_proposals(make_batch(OBJECTS, OBJECTS[:1]), PROPOSALS, PROPOSALS[:3])


def test_pool5_has_the_windows_of_the_networks_at_the_papers_sizes(make_rcnn):
    rcnn = make_rcnn(RCNN, backbone={"init_args": {"norm": None}})
    with torch.inference_mode():
        (features,) = rcnn.backbone(torch.rand(1, 3, 227, 227))
        assert features.shape == (1, 256, 13, 13)
        assert rcnn.region_pool(features).equal(F.max_pool2d(features, 3, 2))
    features = torch.rand(1, 2, 14, 14)  # of VGG16 at 224
    assert torch.nn.AdaptiveMaxPool2d(POOLED_SIZES["vgg16"])(features).equal(F.max_pool2d(features, 2))


def test_every_region_is_scored_as_if_it_were_alone(make_rcnn, batch):
    """Other regions in the same pass do not matter."""
    rcnn = make_rcnn(RCNN, regions={"at_a_time": 4}).eval()
    torch.nn.init.normal_(rcnn.svms.weight)
    torch.nn.init.normal_(rcnn.box_regressors.weight, std=0.01)
    images = rcnn.preprocessing.normalize(batch.images, batch.image_sizes)
    with torch.inference_mode():
        scores, deltas = rcnn.score_proposals(batch.proposals, images)
        for image, region in ((0, 0), (0, 4), (1, 2)):
            pooled = rcnn.pool5(rcnn.warp(images[image : image + 1], batch.proposals.boxes[image, region][None, None]))
            hidden = rcnn.fc7(pooled)
            svm_scores = F.linear(hidden, rcnn.svms.weight, rcnn.svms.bias)
            torch.testing.assert_close(scores[image, region], svm_scores[0].sigmoid(), atol=1e-4, rtol=1e-4)
            flat = F.linear(pooled.flatten(1), rcnn.box_regressors.weight, rcnn.box_regressors.bias)
            torch.testing.assert_close(deltas[image, region].flatten(), flat[0], atol=1e-4, rtol=1e-4)


def test_the_svm_decides_at_one_half_and_suppression_is_by_class(make_rcnn, batch):
    """Scores are set by hand: biases of 1, 0 and -1 for every region."""
    rcnn = make_rcnn(RCNN, regions={"score_threshold": 0.5, "nms_iou": 0.3}).eval()
    rcnn.svms.bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
    with torch.inference_mode():
        detections, proposals = rcnn.predict(batch.inputs)
    assert proposals is batch.proposals
    assert detections.labels[1].tolist()[:4] == [1, 1, 1, -1], "only the first class has a score above 0"
    torch.testing.assert_close(detections.scores[1, :3], torch.full((3,), 1.0).sigmoid())
    # The fourth proposal overlaps the second one by .30027, and comes after it.
    boxes = [tuple(box) for box in detections.boxes[0, detections.labels[0] > 0].tolist()]
    assert boxes == [PROPOSALS[0], PROPOSALS[1], PROPOSALS[2], PROPOSALS[4]]


def test_fine_tuning_learns_from_regions_and_detects_by_softmax(make_rcnn, batch):
    stage = make_rcnn(RCNNFineTuning, sampling={"regions_per_image": 4})
    losses = stage(batch)
    assert set(losses) == {"loss_classifier"}
    losses["loss_classifier"].backward()
    for name, parameter in stage.named_parameters():
        assert (parameter.grad is not None) == (not name.startswith(("svms", "box_regressors"))), name
    with torch.inference_mode():
        detections, _ = stage.eval().predict(batch.inputs)
    assert (detections.labels[0] > 0).any()
    assert (detections.scores <= 1).all()
    boxes = {tuple(box) for box in detections.boxes[0][detections.labels[0] > 0].tolist()}
    assert boxes <= {tuple(map(float, box)) for box in PROPOSALS}, "not refined"


def test_an_image_without_proposals_or_objects(make_rcnn, make_batch, with_proposals):
    batch = with_proposals(make_batch(OBJECTS, []), [], [])
    stage = make_rcnn(RCNNFineTuning)
    assert torch.isfinite(stage(batch)["loss_classifier"]), "the ground truth is left"
    with torch.inference_mode():
        assert not (stage.eval().predict(batch.inputs)[0].labels > 0).any()
    nothing = with_proposals(make_batch([], []), [], [])
    assert stage(nothing)["loss_classifier"] == 0


def test_the_mean_loss_is_that_of_the_sampled_regions(make_rcnn, batch):
    """All regions are drawn, so that the loss can be computed one by one: ground truth joins the proposals."""
    stage = make_rcnn(RCNNFineTuning, sampling={"regions_per_image": 100, "positive_fraction": 1.0}).eval()
    images = stage.preprocessing.normalize(batch.images, batch.image_sizes)
    labelled = [
        # (8, 8, 42, 50) covers .84 of the first object, (28, 5, 90, 58) .93 of the second.
        [*zip(PROPOSALS, (1, 2, 0, 0, 0), strict=True), ((10, 10, 40, 50), 1), ((30, 5, 90, 60), 2)],
        [*zip(PROPOSALS[:3], (1, 0, 0), strict=True), ((10, 10, 40, 50), 1)],
    ]
    losses = []
    with torch.inference_mode():
        for image, regions in enumerate(labelled):
            for box, label in regions:
                region = stage.warp(images[image : image + 1], torch.tensor([[box]]).float())
                logits = stage.softmax(stage.fc7(stage.pool5(region)))
                losses.append(F.cross_entropy(logits, torch.tensor([label])))
        loss = stage(batch)["loss_classifier"]
    torch.testing.assert_close(loss, torch.stack(losses).mean(), atol=1e-4, rtol=1e-4)


def test_a_checkpoint_of_a_stage_loads_alone(make_rcnn, tmp_path, batch):
    stage = make_rcnn(RCNNFineTuning, sampling={"regions_per_image": 4}).eval()
    save_detector(stage, tmp_path / "stage.ckpt")
    loaded = load_detector(tmp_path / "stage.ckpt")
    assert type(loaded) is RCNNFineTuning
    with torch.inference_mode():
        assert loaded.predict(batch.inputs)[0].scores.equal(stage.predict(batch.inputs)[0].scores)


def test_invalid_settings_are_refused(make_rcnn):
    with pytest.raises(InputError, match="trained in stages"):
        make_rcnn(RCNN).require_stage_before()
    with pytest.raises(InputError, match="regions: size 63 with context 40 is too small; give at least 63"):
        make_rcnn(RCNN, regions={"context": 40})
    with pytest.raises(InputError, match=r"RegionSettings\.at_a_time: 0 is out of range; give 1 or more"):
        make_rcnn(RCNN, regions={"at_a_time": 0})
    with pytest.raises(InputError, match=r"PlainBackbone\.name: 'resnet18' is none of alexnet, vgg16"):
        make_rcnn(RCNN, backbone={"init_args": {"name": "resnet18"}})


def test_images_without_proposals_are_refused(make_rcnn, make_batch):
    with pytest.raises(InputError, match="lightning-rcnn propose"):
        make_rcnn(RCNN).predict(Inputs(*make_batch([]).inputs[:3]))
