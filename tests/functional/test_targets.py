import torch

from lightning_rcnn.functional.targets import anchor_targets, label_anchors, roi_targets
from lightning_rcnn.structures import NO_IMAGE, Proposals, Targets

SEED = torch.tensor(0)
GT = torch.tensor([[0.0, 0, 10, 10]])


def targets_of(boxes, labels, crowd=None):
    boxes, labels = torch.as_tensor(boxes, dtype=torch.float32)[None], torch.tensor([labels])
    return Targets(
        boxes, labels, torch.zeros_like(labels, dtype=torch.bool) if crowd is None else torch.tensor([crowd])
    )


def anchors_of(targets, anchors, ids=(1,), **numbers):
    defaults = {
        "positive_iou": 0.7,
        "negative_iou": 0.3,
        "num_samples": 8,
        "positive_fraction": 0.5,
        "crowd_ioa": 0.7,
        "box_weights": (1, 1, 1, 1),
    }
    anchors = torch.tensor(anchors)
    is_candidate = torch.ones(1, len(anchors), dtype=torch.bool)
    sizes = torch.tensor([[300, 300]])
    return anchor_targets(anchors, targets, torch.tensor(ids), sizes, is_candidate, SEED, **defaults | numbers)


def test_anchors_by_hand():
    # IoU 1, 0.5 (neither), 0 (negative).
    result = anchors_of(targets_of(GT.tolist(), [2]), [[0.0, 0, 10, 10], [0, 0, 10, 20], [50, 50, 60, 60]])
    valid = result.samples.is_valid[0]
    assert sorted(result.samples.indices[0][valid].tolist()) == [0, 2]
    assert result.samples.is_positive[0].tolist() == [True, False, False]
    assert result.gt_deltas[0, 0].tolist() == [0, 0, 0, 0]


def test_the_best_anchor_of_an_object_is_positive_however_poor():
    result = anchors_of(targets_of(GT.tolist(), [1]), [[0.0, 0, 40, 40], [50, 50, 60, 60]])
    assert result.samples.indices[0, 0] == 0
    assert result.samples.is_positive[0, 0]


def test_nothing_inside_a_crowd_is_negative():
    targets = targets_of([[0.0, 0, 100, 100]], [1], [True])
    result = anchors_of(targets, [[10.0, 10, 20, 20], [200, 200, 210, 210]])
    assert result.samples.indices[0][result.samples.is_valid[0]].tolist() == [1]
    assert not result.samples.is_positive.any()


def test_without_a_threshold_crowds_are_ignored():
    """As in torchvision's references and detectron2: boxes in a crowd are background."""
    crowd = targets_of([[0.0, 0, 100, 100], [200, 200, 210, 210]], [1, 2], [True, False])
    without = targets_of([[0.0, 0, 0, 0], [200, 200, 210, 210]], [0, 2])
    anchors = [[10.0, 10, 20, 20], [0, 0, 100, 100], [200, 200, 210, 210]]
    given, expected = (anchors_of(targets, anchors, crowd_ioa=None) for targets in (crowd, without))
    assert given.samples.is_valid.sum() == 3
    assert all(mine.equal(theirs) for mine, theirs in zip(given.samples, expected.samples, strict=True))


def test_only_the_part_of_an_anchor_inside_the_image_counts():
    targets = targets_of([[0.0, 0, 100, 100]], [1], [True])
    assert not anchors_of(targets, [[-30.0, -30, 20, 20]]).samples.is_valid.any()


def test_the_best_of_the_candidates_is_positive():
    """The anchor with the largest IoU crosses the border and is ignored."""
    anchors = torch.tensor([[0.0, 0, 20, 10], [-2, 0, 10, 10], [50, 50, 60, 60]])
    result = anchor_targets(
        anchors,
        targets_of(GT.tolist(), [1]),
        torch.tensor([1]),
        torch.tensor([[300, 300]]),
        torch.tensor([[True, False, True]]),
        SEED,
        positive_iou=0.7,
        negative_iou=0.3,
        num_samples=8,
        positive_fraction=0.5,
        crowd_ioa=0.7,
        box_weights=(1, 1, 1, 1),
    )
    assert result.samples.indices[0][result.samples.is_positive[0]].tolist() == [0]


def test_an_empty_slot_yields_no_sample():
    result = anchors_of(targets_of([[0.0, 0, 0, 0]], [-1]), [[10.0, 10, 20, 20]], ids=(NO_IMAGE,))
    assert not result.samples.is_valid.any()


def rois_of(targets, boxes, **numbers):
    defaults = {
        "positive_iou": 0.5,
        "negative_iou": (0.0, 0.5),
        "num_samples": 8,
        "positive_fraction": 0.5,
        "crowd_ioa": 0.7,
        "box_weights": (10.0, 10.0, 5.0, 5.0),
    }
    boxes = torch.tensor([boxes])
    proposals = Proposals(boxes, torch.zeros(boxes.shape[:2]), torch.ones(boxes.shape[:2], dtype=torch.bool))
    return roi_targets(proposals, targets, torch.tensor([1]), SEED, **defaults | numbers)


def test_rois_by_hand():
    # The second proposal is the first moved by a quarter of its width: dx is 0.25 * 10.
    rois = rois_of(targets_of(GT.tolist(), [3]), [[0.0, 0, 10, 10], [-2.5, 0, 7.5, 10], [80, 80, 90, 90]])
    positive = rois.is_positive[0]
    assert positive.sum() == 3  # the two proposals and the ground truth itself
    assert rois.labels[0][positive].tolist() == [3, 3, 3]
    assert rois.labels[0][~positive].unique().tolist() == [0]
    moved = (rois.boxes[0][:, 0] == -2.5).nonzero().item()
    torch.testing.assert_close(rois.gt_deltas[0, moved], torch.tensor([2.5, 0, 0, 0]))
    assert rois.is_valid.sum() == 4


def test_background_can_be_limited_to_near_misses():
    # Fast R-CNN's range [0.1, 0.5): IoU 0.25 is background, 0 is ignored.
    targets = targets_of(GT.tolist(), [1])
    rois = rois_of(targets, [[0.0, 0, 20, 20], [80, 80, 90, 90]], negative_iou=(0.1, 0.5))
    background = rois.is_valid & ~rois.is_positive
    assert rois.boxes[background].tolist() == [[0, 0, 20, 20]]


def test_an_image_without_objects_is_all_background():
    rois = rois_of(targets_of([[0.0, 0, 0, 0]], [-1]), [[0.0, 0, 20, 20]], negative_iou=(0.1, 0.5))
    assert rois.is_valid.sum() == 1
    assert not rois.is_positive.any()


def test_weak_objects_and_what_their_anchors_learn():
    """The first object has IoU 2/3 with the first anchor, the second one its best, 0.4, with it too, the third 1/4."""
    targets = targets_of([[0.0, 0, 10, 10], [0, 0, 6, 10], [100, 100, 105, 110]], [1, 2, 3])
    anchors = torch.tensor([[0.0, 0, 10, 15], [100, 100, 120, 110], [50, 50, 60, 60]])
    iou = torch.tensor([100 / 150, 60 / 150, 50 / 200])

    def labels(**rule):
        sizes, everywhere = torch.tensor([[300, 300]]), torch.ones(1, 3, dtype=torch.bool)
        numbers = {"positive_iou": 0.7, "negative_iou": 0.3, "crowd_ioa": None}
        found = label_anchors(anchors, targets, torch.tensor([1]), sizes, everywhere, **numbers, **rule)
        torch.testing.assert_close(found.iou[0], torch.tensor([iou[0], iou[2], 0.0]))
        return found.is_positive[0].tolist(), found.is_negative[0].tolist(), found.gt_index[0, :2].tolist()

    assert labels() == ([True, True, False], [False, False, True], [0, 2])
    assert labels(low_quality_iou=0.3) == ([True, False, False], [False, True, True], [0, 2])
    assert labels(low_quality_target="own_object") == ([True, True, False], [False, False, True], [1, 2])
    assert labels(low_quality_iou=0.5, low_quality_target="own_object") == (
        [True, False, False],
        [False, True, True],
        [0, 2],
    )


def test_the_best_region_of_an_object_learns_it():
    """The proposal covers the first object whole, and is the best one of the second, which it covers, too."""
    targets = targets_of([[0.0, 0, 10, 10], [0, 0, 10, 6]], [1, 2])
    proposals = Proposals(torch.tensor([[[0.0, 0, 10, 10]]]), torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))

    def label(low_quality_iou):
        rois = roi_targets(
            proposals,
            targets,
            torch.tensor([1]),
            SEED,
            positive_iou=0.7,
            negative_iou=(0.0, 0.7),
            num_samples=8,
            positive_fraction=1.0,
            crowd_ioa=None,
            box_weights=(1, 1, 1, 1),
            low_quality_iou=low_quality_iou,
        )
        return rois.labels[0][rois.indices[0] == 0].item(), sorted(rois.labels[0][rois.indices[0] > 0].tolist())

    assert label(None) == (1, [1, 2])
    assert label(0.5) == (2, [1, 2])
    assert label(0.61) == (1, [1, 2])


def test_an_object_whose_best_anchor_is_discarded_has_none():
    """detectron2 matches all anchors and leaves out those that cross the boundary; the paper's code the other way."""
    anchors = torch.tensor([[0.0, 0, 20, 10], [-2, 0, 10, 10], [50, 50, 60, 60]])
    candidates = torch.tensor([[True, False, True]])
    numbers = {"positive_iou": 0.7, "negative_iou": 0.3, "crowd_ioa": None}
    arguments = (anchors, targets_of(GT.tolist(), [1]), torch.tensor([1]), torch.tensor([[300, 300]]), candidates)
    kept, discarded = (label_anchors(*arguments, **numbers, matches_all=all_) for all_ in (False, True))
    assert kept.is_positive[0].tolist() == [True, False, False]
    assert discarded.is_positive[0].tolist() == [False, False, False]
    assert discarded.is_negative[0].tolist() == [False, False, True]  # the first one has an IoU of one half
