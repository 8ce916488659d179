"""Losses of a validation: the training's, of the proposals of evaluation, from the pass that detects."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.roi_heads.box_branch import BoxBranch
from lightning_rcnn.structures import NO_IMAGE, PADDING_LABEL, Batch, ImageRecord
from tests.detectors.golden import DETECTORS, make_detector, pinned_batch

WITH_LOSSES = [name for name in DETECTORS if name not in ("rcnn_classification", "rcnn_box_regression")]


def in_evaluation(name):
    return make_detector(name).eval()


@pytest.mark.parametrize("name", WITH_LOSSES)
@torch.inference_mode()
@pytest.mark.end_to_end
def test_one_pass_gives_what_two_passes_give(name):
    detector, batch = in_evaluation(name), pinned_batch(name)
    expected, expected_proposals = detector.predict(batch.inputs)
    expected_losses = detector.losses(batch.inputs, batch.targets)
    detections, proposals, sums = detector.evaluate(batch.inputs, batch.targets)
    for ours, theirs in ((detections, expected), (proposals, expected_proposals)):
        for value, expected_value in zip(ours, theirs, strict=True):
            assert value is expected_value is None or value.equal(expected_value), "to the bit"
    assert sums.keys() == expected_losses.keys()
    for loss_name, loss in sums.items():
        mean = loss.total / loss.number.clamp(min=1)
        torch.testing.assert_close(mean, expected_losses[loss_name], rtol=1e-5, atol=1e-6, msg=loss_name)
        assert mean > 0


@torch.inference_mode()
def test_the_backbone_and_the_heads_run_once(make_detector, make_batch):
    detector = make_detector().eval()
    seen = {"backbone": [], "rpn.head": [], "box.head": []}
    for name, calls in seen.items():
        detector.get_submodule(name).register_forward_hook(
            lambda _, arguments, __, calls=calls: calls.append(arguments)
        )
    batch = make_batch([(10, 10, 40, 50, 1)], [(20, 5, 60, 60, 2), (2, 2, 30, 30, 3)])
    _, proposals, _ = detector.evaluate(batch.inputs, batch.targets)
    assert [len(seen["backbone"]), len(seen["rpn.head"])] == [1, 1]
    regions = sum(len(arguments[0]) for arguments in seen["box.head"])
    assert regions == proposals.is_valid.numel() + batch.targets.labels.numel(), "the proposals and the ground truth"


def with_annotations(batch):
    """The batch as evaluation has it: with annotations in the records."""
    records = []
    for slot, record in enumerate(batch.records):
        objects = zip(*(tensor[slot].tolist() for tensor in batch.targets[:3]), strict=True)
        annotations = [
            {"bbox": box, "label": label, "iscrowd": int(crowd), "area": 1.0, "difficult": 0}
            for box, label, crowd in objects
            if label != PADDING_LABEL
        ]
        records.append(replace(record, annotations=annotations))
    return replace(batch, records=tuple(records))


OBJECTS = [(10, 10, 40, 50, 1), (30, 5, 90, 60, 2), (2, 2, 30, 30, 3)]


@pytest.fixture
def images(make_batch):
    """Five images in one batch, with three to no objects."""
    return with_annotations(make_batch(OBJECTS, OBJECTS[:1], [], OBJECTS[1:], [(5, 5, 60, 60, 1, "crowd")]))


def part_of(batch, slots):
    """Slots of a batch; None for an empty one."""
    filled = [0 if slot is None else slot for slot in slots]
    is_empty = torch.tensor([slot is None for slot in slots])
    labels = torch.where(is_empty[:, None], PADDING_LABEL, batch.targets.labels[filled])
    boxes = torch.where(is_empty[:, None, None], 0.0, batch.targets.boxes[filled])
    records = [ImageRecord(NO_IMAGE, "", 0, 0) if slot is None else batch.records[slot] for slot in slots]
    return Batch(
        images=batch.images[filled] * ~is_empty[:, None, None, None],
        image_sizes=torch.where(is_empty[:, None], 0, batch.image_sizes[filled]),
        image_ids=torch.where(is_empty, NO_IMAGE, batch.image_ids[filled]),
        targets=batch.targets._replace(
            boxes=boxes, labels=labels, is_crowd=batch.targets.is_crowd[filled] & ~is_empty[:, None]
        ),
        records=tuple(records),
    )


@torch.inference_mode()
def validate(detector, batches):
    for batch in batches:
        detector.validation_step(batch, 0)
    return detector.evaluation.compute()["losses"]


@pytest.mark.parametrize("denominator", ["sampled", "fixed"])
def test_batches_and_empty_slots_make_no_difference(make_detector, images, denominator):
    detector = make_detector(rpn={"loss_denominator": denominator}).eval()
    whole = validate(detector, [images])
    in_parts = validate(detector, [part_of(images, [0, 3]), part_of(images, [1, 2]), part_of(images, [4, None])])
    assert whole == pytest.approx(in_parts, rel=1e-5)
    assert whole["loss"] == pytest.approx(sum(value for name, value in whole.items() if name != "loss"))
    assert next(iter(whole)) == "loss"
    assert whole.keys() == {"loss", *detector.loss_names}
    assert all(math.isfinite(value) and value > 0 for value in whole.values())


def test_every_validation_samples_the_same_regions(make_detector, images):
    detector = make_detector(rpn={"samples_per_image": 8}, box={"samples_per_image": 8}).eval()
    first = validate(detector, [images])
    detector.sampling_seed.fill_(12345)  # of a training step in between
    assert validate(detector, [images]) == first


def test_losses_can_be_switched_off(make_detector, images):
    detector = make_detector().eval()
    with_losses = detector.validation_step(images, 0)
    detector.evaluation.compute()
    detector.validation_losses = False
    with torch.inference_mode():
        without = detector.validation_step(images, 0)
    assert without.boxes.equal(with_losses.boxes)
    assert without.scores.equal(with_losses.scores)
    assert "losses" not in detector.evaluation.compute()
    assert not [name for name in detector.validation_metric_names() if "loss" in name]


def test_the_names_are_known_before_the_first_validation(make_mask_rcnn):
    detector = make_mask_rcnn()
    names = {"val/loss", *(f"val/{name}" for name in detector.loss_names)}
    assert detector.validation_loss_names() == names
    assert names < detector.validation_metric_names()


class Doubtful(BoxBranch):
    """Changes the losses, and knows nothing of `evaluate`."""

    def losses(self, pooled, proposals, inputs, targets, seed):
        losses, rois = super().losses(pooled, proposals, inputs, targets, seed)
        return {name: loss._replace(total=10 * loss.total) for name, loss in losses.items()}, rois


class Silent(FasterRCNN):
    """Changes what is detected, and knows nothing of `evaluate`."""

    def predict(self, inputs):
        detections, proposals = super().predict(inputs)
        return detections._replace(scores=torch.zeros_like(detections.scores)), proposals


def test_what_a_subclass_changes_is_what_is_validated(make_detector, images):
    detector = make_detector().eval()
    plain = validate(detector, [images])
    detector.box.__class__ = Doubtful
    changed = validate(detector, [images])
    assert changed["loss_classifier"] == pytest.approx(10 * plain["loss_classifier"], rel=1e-4)
    detector.__class__ = Silent
    with torch.inference_mode():
        assert not detector.validation_step(images, 0).scores.any()
    assert validate(detector, [images])["loss_box"] > 0


@pytest.mark.end_to_end
def test_two_ranks_have_the_losses_of_one_process(make_mask_rcnn, make_batch, with_masks, tmp_path):
    """Rank 1 has an image without objects and an empty slot, so its counts differ from rank 0's."""
    detector = make_mask_rcnn().eval()
    batch = with_annotations(with_masks(make_batch(OBJECTS, OBJECTS[:2], [], OBJECTS[1:])))
    expected = validate(detector, [batch])
    torch.save(
        {
            "hyperparameters": dict(detector.hparams),
            "state_dict": detector.state_dict(),
            "batch": tuple(batch.inputs[:3]),
            "targets": tuple(batch.targets[:3]),
            "masks": tuple(batch.targets.masks),
            "shares": [[[0, 1]], [[3, 2]]],
        },
        tmp_path / "whole.pt",
    )
    script = Path(__file__).with_name("rank_validation.py")
    files = [tmp_path / "rendezvous", tmp_path / "whole.pt", tmp_path / "losses"]
    ranks = [
        subprocess.Popen([sys.executable, script, str(rank), "2", *map(str, files)], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    for rank in range(2):
        assert json.loads((tmp_path / f"losses{rank}").read_text()) == pytest.approx(expected, rel=1e-5)
