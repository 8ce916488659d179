import itertools
import math

import pytest
import torch
from torchvision.ops import box_iou

from lightning_rcnn.evaluation.proposal_recall import ProposalRecall
from lightning_rcnn.structures import NO_IMAGE

A, B = (10, 10, 50, 50), (100, 100, 160, 160)


def test_limits_and_thresholds_by_hand(make_record, make_proposals):
    """A has IoU 3/4 with the first proposal, B is met by the third."""
    metric = ProposalRecall(limits=(2, 3))
    proposals = make_proposals([(10, 10, 40, 50), (0, 0, 5, 5), B])
    metric.update(proposals, [make_record(1, (*A, 1), (*B, 2))])
    figures = metric.compute()
    assert figures == {
        "AR@2": pytest.approx((6 * 0.5) / 10),  # A, up to IoU .75
        "R50@2": 0.5,
        "R70@2": 0.5,
        "AR@3": pytest.approx((6 * 1 + 4 * 0.5) / 10),
        "R50@3": 1,
        "R70@3": 1,
    }


def test_each_object_needs_a_proposal_of_its_own(make_record, make_proposals):
    metric = ProposalRecall(limits=(10,))
    metric.update(make_proposals([A]), [make_record(1, (*A, 1), (*A, 2))])
    assert metric.compute()["AR@10"] == pytest.approx(0.5)


def test_crowds_difficult_objects_and_empty_slots_do_not_count(make_record, make_proposals):
    metric = ProposalRecall(limits=(10,))
    record = make_record(1, (*A, 1))
    record.annotations.extend(make_record(1, (*B, 1), iscrowd=1).annotations)
    record.annotations.extend(make_record(1, (*B, 1), difficult=1).annotations)
    metric.update(make_proposals([A], []), [record, make_record(NO_IMAGE, (*B, 1))])
    assert metric.compute()["AR@10"] == pytest.approx(1)


def test_an_image_counts_once(make_record, make_proposals):
    metric = ProposalRecall(limits=(10,))
    for _ in range(3):
        metric.update(make_proposals([A]), [make_record(1, (*A, 1))])
    metric.update(make_proposals([]), [make_record(2, (*A, 1))])
    assert metric.compute()["AR@10"] == pytest.approx(0.5)


def test_nothing_to_find_is_no_number_and_nothing_found_is_zero(make_record, make_proposals):
    metric = ProposalRecall(limits=(10,))
    assert math.isnan(metric.compute()["AR@10"])
    metric.update(make_proposals([A]), [make_record(1)])
    assert math.isnan(metric.compute()["AR@10"])
    metric.update(make_proposals([]), [make_record(2, (*A, 1))])
    assert metric.compute()["AR@10"] == 0
    metric.reset()
    assert math.isnan(metric.compute()["R50@10"])


@pytest.mark.parametrize("seed", range(5))
def test_pairs_against_all_pairings_in_order_of_overlap(make_record, make_proposals, seed):
    """The closest pair first: of all pairings the one whose overlaps, sorted, are the largest."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(9, 2, generator=generator) * 60
    boxes = torch.cat([corners, corners + 40 + torch.rand(9, 2, generator=generator) * 40], dim=1)
    objects, proposals = boxes[:4], boxes[4:]
    iou = box_iou(objects, proposals)
    pairings = itertools.permutations(range(len(proposals)), len(objects))
    best = max(sorted((iou[gt, p].item() for gt, p in enumerate(pairing)), reverse=True) for pairing in pairings)
    expected = sum(value >= threshold for value in best for threshold in torch.linspace(0.5, 0.95, 10)) / (10 * 4)
    metric = ProposalRecall(limits=(5,))
    metric.update(make_proposals(proposals.tolist()), [make_record(1, *((*box, 1) for box in objects.tolist()))])
    assert metric.compute()["AR@5"] == pytest.approx(float(expected))
