"""The SVMs of R-CNN: what is an example of what, and what comes out."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.detectors.loading import save_detector
from lightning_rcnn.detectors.rcnn.classification import RCNNClassification, class_overlaps
from lightning_rcnn.detectors.rcnn.fine_tuning import RCNNFineTuning
from lightning_rcnn.detectors.rcnn.hinge import solve_hinge
from lightning_rcnn.errors import InputError

OBJECTS = [(10, 10, 40, 50, 1), (30, 5, 90, 60, 2)]
PROPOSALS = [(8, 8, 42, 50), (28, 5, 90, 58), (0, 0, 20, 20), (50, 30, 96, 64), (0, 40, 30, 64), (10, 25, 40, 60)]


@pytest.fixture
def batch(make_batch, with_proposals):
    return with_proposals(make_batch(OBJECTS, OBJECTS[:1]), PROPOSALS, PROPOSALS[:3])


@pytest.fixture
def make_stage(make_rcnn):
    def make(**overrides):
        stage = make_rcnn(RCNNClassification, **overrides).eval()
        stage.begin_pass()
        return stage

    return make


def test_overlaps_with_each_class(make_batch):
    boxes = torch.tensor([PROPOSALS]).float()
    targets = make_batch([*OBJECTS, (0, 30, 50, 64, 2), (5, 5, 45, 55, 3, "crowd")], max_objects=6).targets
    overlaps = class_overlaps(boxes, targets, 3)
    iou = box_iou(boxes[0], targets.boxes[0])
    torch.testing.assert_close(overlaps[0, :, 0], iou[:, 0])
    torch.testing.assert_close(overlaps[0, :, 1], iou[:, 1:3].amax(1))
    assert not overlaps[0, :, 2].any(), "a crowd is no object"


def test_positives_are_the_ground_truth_and_negatives_what_overlaps_little(make_stage, batch):
    stage = make_stage()
    boxes, signs = stage._candidates(batch.proposals, batch.targets, batch.image_ids)
    given = {tuple(box): tuple(sign) for box, sign in zip(boxes[0].int().tolist(), signs[0].tolist(), strict=True)}
    # By the overlaps with (10, 10, 40, 50) of class 1 and (30, 5, 90, 60) of class 2.
    assert given == {
        (8, 8, 42, 50): (0, -1, -1),  # .84, .11: neither of class 1 nor against it
        (28, 5, 90, 58): (-1, 0, -1),
        (0, 0, 20, 20): (-1, -1, -1),
        (50, 30, 96, 64): (-1, 0, -1),  # 0, .33
        (0, 40, 30, 64): (-1, -1, -1),
        (10, 25, 40, 60): (0, -1, -1),  # .5, .08
        (10, 10, 40, 50): (1, -1, -1),  # the objects themselves
        (30, 5, 90, 60): (-1, 1, -1),
    }
    assert signs[1].any(dim=1).sum() == 4, "three proposals and an object; padding has no sign"


def test_regions_inside_a_crowd_are_no_negatives_and_a_draw_is_bounded(make_stage, make_batch, with_proposals):
    crowd = with_proposals(make_batch([(0, 0, 30, 30, 1, "crowd")]), PROPOSALS)
    _, signs = make_stage(svm={"crowd_ioa": 0.7})._candidates(crowd.proposals, crowd.targets, crowd.image_ids)
    assert signs.any(dim=2).sum() == 5, "all but the one that is inside"
    boxes, signs = make_stage(svm={"regions_per_image": 2, "crowd_ioa": 0.7})._candidates(
        crowd.proposals, crowd.targets, crowd.image_ids
    )
    assert boxes.shape[1] == 3, "two regions, and the slot of the ground truth"
    nothing = crowd.image_ids * 0 - 1
    assert not make_stage()._candidates(crowd.proposals, crowd.targets, nothing)[1].any()


def test_a_batch_gives_the_svms_of_its_examples(make_stage, batch):
    """The features of the examples, region by region, and a solution for them made here."""
    stage = make_stage()
    boxes, signs = stage._candidates(batch.proposals, batch.targets, batch.image_ids)
    with torch.no_grad():
        loss = stage.collect(batch.inputs, batch.targets)
        stage.solve()
        images = stage.preprocessing.normalize(batch.images, batch.image_sizes)
        features, wanted = [], []
        for image in range(2):
            for box, sign in zip(boxes[image], signs[image], strict=True):
                if sign.any():
                    region = stage.warp(images[image : image + 1], box[None, None])
                    features.append(stage.fc7(stage.pool5(region))[0].numpy())
                    wanted.append(sign.numpy())
    assert loss == 1, "the hinge loss of margins that are all 0"
    features = np.stack(features)
    scale = 20 / np.linalg.norm(features, axis=1).mean()
    machines = solve_hinge(
        features * scale, np.stack(wanted), cost=1e-3, positive_weight=2, bias_feature=10, tolerance=1e-5
    )
    expected = features @ machines.weights.T * scale + machines.biases
    found = stage.svm_scores(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
    assert (stage.box_regressors.weight == 0).all()


def test_only_violations_of_the_margin_are_kept(make_stage, batch):
    stage = make_stage(svm={"solve_after": 10**6})
    with torch.no_grad():
        stage.collect(batch.inputs, batch.targets)
        stage.svms.weight.zero_()
        stage.svms.bias.copy_(torch.tensor([-2.0, 0.0, -2.0]))
        stage.collect(batch.inputs, batch.targets)
    signs = torch.cat(stage._new_signs)
    assert (signs[:, 0] >= 0).all(), "negatives of class 1 and 3 are all easy now"
    assert (signs[:, 2] == 0).all()
    assert (signs[:, 0] == 1).sum() == 2
    assert (signs[:, 1] == -1).any()


def test_nothing_in_a_batch(make_stage, make_batch, with_proposals):
    batch = with_proposals(make_batch([], []), [], [])
    stage = make_stage()
    with torch.no_grad():
        assert stage.collect(batch.inputs, batch.targets) == 0
        stage.solve()
    assert not stage.svms.weight.any()


def test_it_starts_from_a_network(make_rcnn, tmp_path):
    with pytest.raises(InputError, match=r"^RCNNClassification starts from the network of stage one"):
        make_rcnn(RCNNClassification).require_stage_before()
    save_detector(
        FastRCNN(["a", "b", "c"], backbone=PlainBackbone("alexnet", norm="batch_norm"), box={"head": {"width": 32}}),
        tmp_path / "other.ckpt",
    )
    with pytest.raises(InputError, match=r"other\.ckpt: not of stage one for these classes; RCNNClassification"):
        make_rcnn(RCNNClassification, weights=str(tmp_path / "other.ckpt")).require_stage_before()
    fine_tuned = make_rcnn(RCNNFineTuning)
    torch.nn.init.ones_(fine_tuned.softmax.bias)
    save_detector(fine_tuned, tmp_path / "stage.ckpt")
    make_rcnn(RCNNClassification, weights=str(tmp_path / "stage.ckpt")).require_stage_before()


def test_resuming_within_a_pass_is_refused(make_rcnn):
    stage, trainer = make_rcnn(RCNNClassification), Mock()
    stage.trainer = trainer
    progress = trainer.fit_loop.epoch_loop.batch_progress
    progress.current.completed, progress.is_last_batch = 3, False
    with pytest.raises(InputError, match=r"cannot resume within a pass.*in another --run_dir"):
        stage.on_train_start()
    progress.is_last_batch = True
    stage.on_train_start()
    assert not stage.training, "the network is as in detection"
