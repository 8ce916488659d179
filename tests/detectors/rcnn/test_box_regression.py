"""The box regressors of R-CNN: their pairs and their solution."""

import pytest
import torch
from torchvision.ops import box_iou

from lightning_rcnn.detectors.loading import load_detector, save_detector
from lightning_rcnn.detectors.rcnn.box_regression import RCNNBoxRegression
from lightning_rcnn.detectors.rcnn.example_pool import ExamplePool, Examples
from lightning_rcnn.detectors.rcnn.rcnn import BOX_WEIGHTS, RCNN
from lightning_rcnn.detectors.rcnn.ridge import solve_ridge
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.boxes import encode

OBJECTS = [(10, 10, 40, 50, 1), (30, 5, 90, 60, 2)]
PROPOSALS = [(8, 8, 42, 50), (28, 5, 90, 58), (0, 0, 20, 20), (12, 9, 40, 48), (35, 8, 88, 62), (10, 25, 40, 60)]


@pytest.fixture
def batch(make_batch, with_proposals):
    return with_proposals(make_batch(OBJECTS, OBJECTS[:1], []), PROPOSALS, PROPOSALS[2:4], PROPOSALS)


@pytest.fixture
def make_stage(make_rcnn):
    def make(**overrides):
        stage = make_rcnn(RCNNBoxRegression, **overrides).eval()
        stage.begin_pass()
        return stage

    return make


def test_pairs_overlap_by_more_than_the_threshold(make_stage, batch):
    boxes, labels, deltas, _ = make_stage()._pairs(batch.inputs, batch.targets)
    for image, expected in ((0, {0: 1, 1: 2, 3: 1, 4: 2}), (1, {3: 1}), (2, {})):
        pairs = {tuple(box): label for box, label in zip(boxes[image].tolist(), labels[image].tolist(), strict=True)}
        found = {box: label for box, label in pairs.items() if label}
        assert found == {tuple(map(float, PROPOSALS[number])): label for number, label in expected.items()}
    iou = box_iou(torch.tensor(PROPOSALS).float(), batch.targets.boxes[0])
    assert (iou.amax(1) > 0.6).tolist() == [True, True, False, True, True, False]
    first = boxes[0].tolist().index([8.0, 8, 42, 50])
    torch.testing.assert_close(
        deltas[0, first], encode(torch.tensor([10.0, 10, 40, 50]), torch.tensor([8.0, 8, 42, 50]), BOX_WEIGHTS)
    )
    assert make_stage(ridge={"regions_per_image": 1})._pairs(batch.inputs, batch.targets)[0].shape[1] == 1


def test_keys_do_not_favor_images_with_many_pairs(make_stage, make_batch, with_proposals):
    batch = with_proposals(make_batch(OBJECTS[:1]), [PROPOSALS[0], *([(12, 9, 40, 48)] * 9)])
    stage = make_stage(ridge={"regions_per_image": 1})
    keys = [
        stage._pairs(batch.inputs._replace(image_ids=torch.tensor([image_id])), batch.targets)[3].item()
        for image_id in range(200)
    ]
    assert abs(sum(keys) / len(keys) - 0.5) < 0.1, "the highest of ten would be .9"


def test_the_regressors_are_those_of_the_pairs(make_stage, batch):
    stage = make_stage(ridge={"penalty": 10.0})
    with torch.no_grad():
        loss = stage.collect(batch.inputs, batch.targets)
        stage.solve()
        images = stage.preprocessing.normalize(batch.images, batch.image_sizes)
        pooled, wanted, labels = [], [], []
        for image, number, gt in ((0, 0, 0), (0, 1, 1), (0, 3, 0), (0, 4, 1), (1, 3, 0)):
            box = torch.tensor(PROPOSALS[number]).float()
            pooled.append(stage.pool5(stage.warp(images[image : image + 1], box[None, None])).flatten())
            wanted.append(encode(batch.targets.boxes[image, gt], box, BOX_WEIGHTS))
            labels.append(gt + 1)
        pooled, wanted, labels = torch.stack(pooled), torch.stack(wanted), torch.tensor(labels)
        torch.testing.assert_close(loss, wanted.square().sum() / 5)
        scale = 20 / pooled.norm(dim=1).mean()
        for label in (1, 2):
            own = labels == label
            expected = solve_ridge(pooled[own] * scale, wanted[own], 10.0)
            shifts = stage.box_deltas(pooled)[:, label - 1]
            torch.testing.assert_close(
                shifts, pooled * scale @ expected.weights.T + expected.intercepts, atol=1e-4, rtol=1e-3
            )
    assert not stage.box_deltas(pooled)[:, 2].any(), "a class without pairs leaves boxes where they are"


def test_checkpoints_hold_an_rcnn(make_stage, tmp_path, batch):
    stage = make_stage(ridge={"penalty": 10.0})
    with torch.no_grad():
        stage.collect(batch.inputs, batch.targets)
        stage.solve()
    torch.nn.init.normal_(stage.svms.weight)
    save_detector(stage, tmp_path / "whole.ckpt")
    for loaded in (load_detector(tmp_path / "whole.ckpt"), RCNN.load_from_checkpoint(tmp_path / "whole.ckpt").eval()):
        assert type(loaded) is RCNN
        with torch.inference_mode():
            found, expected = loaded.predict(batch.inputs)[0], stage.predict(batch.inputs)[0]
        assert found.boxes.equal(expected.boxes)
        assert found.scores.equal(expected.scores)


def test_it_starts_from_svms(make_rcnn, tmp_path):
    with pytest.raises(InputError, match="RCNNBoxRegression: starts from the SVMs of stage two; give"):
        make_rcnn(RCNNBoxRegression).require_stage_before()
    save_detector(make_rcnn(RCNN), tmp_path / "early.ckpt")
    with pytest.raises(InputError, match=r"early\.ckpt: has no SVMs; give"):
        make_rcnn(RCNNBoxRegression, weights=str(tmp_path / "early.ckpt")).require_stage_before()


def test_a_pool_keeps_the_highest_keys_in_any_order():
    keys = torch.rand(50, generator=torch.Generator().manual_seed(0))
    best = set(keys.topk(7).indices.tolist())
    for order in (torch.arange(50), torch.arange(50).flip(0)):
        pool = ExamplePool(7)
        assert pool.chosen() is None
        for part in order.split(4):
            pool.add(Examples(part[:, None].float(), torch.zeros(len(part), 4), keys[part]))
            assert len(pool._concatenated().keys) <= 8, "what its documentation says it holds"
        assert {int(number) for number in pool.chosen().features[:, 0]} == best
