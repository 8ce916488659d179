import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from lightning_rcnn.functional import matching
from lightning_rcnn.functional.matching import best_overlaps, own_objects


def grid_boxes(generator, num):
    """Boxes on a coarse grid, so that ties are frequent."""
    corners = torch.randint(0, 8, (num, 2), generator=generator).float()
    return torch.cat((corners, corners + torch.randint(1, 5, (num, 2), generator=generator)), dim=1)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 70))
def test_matches_are_torchvisions_with_padding_and_ties(seed, num_objects):
    generator = torch.Generator().manual_seed(seed)
    gt, boxes = grid_boxes(generator, num_objects), grid_boxes(generator, 40)
    expected = Matcher(0.7, 0.3, allow_low_quality_matches=True)(box_iou(gt, boxes))
    padded = torch.cat((gt, grid_boxes(generator, 5)))[None]
    is_object = torch.arange(num_objects + 5)[None] < num_objects
    overlaps = best_overlaps(padded, is_object, ~is_object, boxes[None])
    best_is_zero = box_iou(gt, boxes).amax(1) == 0
    # The reference also calls boxes "best" of an object that nothing overlaps; it is compared where that can't be.
    if not best_is_zero.any():
        positive = (overlaps.iou >= 0.7) | overlaps.is_best_of_object
        assert positive[0].equal(expected >= 0)
        assert overlaps.gt_index[0][positive[0]].equal(expected[expected >= 0])
        assert ((overlaps.iou < 0.3) & ~positive)[0].equal(expected == Matcher.BELOW_LOW_THRESHOLD)


def test_slices_of_ground_truth_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    gt, boxes = grid_boxes(generator, 50)[None], grid_boxes(generator, 100)[None]
    is_object = torch.rand(1, 50, generator=generator) < 0.8
    whole = best_overlaps(gt, is_object, ~is_object, boxes)
    monkeypatch.setattr(matching, "CELLS_AT_A_TIME", {"cpu": 7 * 100, "cuda": 0})
    for ours, expected in zip(best_overlaps(gt, is_object, ~is_object, boxes), whole, strict=True):
        assert ours.equal(expected)


def test_an_image_without_objects_has_no_overlap():
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    overlaps = best_overlaps(torch.zeros(1, 3, 4), nothing, nothing, torch.tensor([[[0.0, 0, 5, 5]]]))
    assert overlaps.iou.item() == -1
    assert not overlaps.is_best_of_object.item()


def test_an_object_that_nothing_overlaps_has_no_best_box():
    is_object = torch.ones(1, 1, dtype=torch.bool)
    overlaps = best_overlaps(
        torch.tensor([[[50.0, 50, 60, 60]]]), is_object, ~is_object, torch.tensor([[[0.0, 0, 5, 5]]])
    )
    assert not overlaps.is_best_of_object.item()


def test_crowd_area_is_that_of_the_crowd_overlapped_most():
    gt = torch.tensor([[[0.0, 0, 100, 100], [90, 0, 95, 10], [200, 200, 210, 210]]])
    boxes = torch.tensor([[[10.0, 10, 20, 20], [90, 0, 110, 10], [200, 200, 205, 205]]])
    is_crowd = torch.tensor([[True, True, False]])
    assert best_overlaps(gt, ~is_crowd, is_crowd, boxes).crowd_area.tolist() == [[100, 100, 0]]


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([0.0, 0.3, 0.5]))
def test_own_objects_are_those_of_a_loop(seed, num_objects, min_iou):
    """mmdetection's assigner goes through the objects in order, and each takes the boxes that it overlaps most."""
    generator = torch.Generator().manual_seed(seed)
    gt, boxes = grid_boxes(generator, num_objects), grid_boxes(generator, 30)
    table = box_iou(gt, boxes)
    expected = torch.full((30,), -1)
    for number, row in enumerate(table):
        if row.max() >= min_iou and row.max() > 0:
            expected[row == row.max()] = number
    padded = torch.cat((gt, grid_boxes(generator, 3)))[None]
    is_object = torch.arange(num_objects + 3)[None] < num_objects
    assert torch.equal(own_objects(padded, is_object, boxes[None], min_iou)[0], expected)
