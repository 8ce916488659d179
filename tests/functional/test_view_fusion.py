"""Fusion of views, by hand-computed cases."""

import pytest
import torch

from lightning_rcnn.functional.view_fusion import flip_back, fuse
from lightning_rcnn.structures import Detections


def view(*rows, masks=None):
    boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(1, -1, 4),
        torch.tensor([scores]),
        torch.tensor([labels], dtype=torch.int64).reshape(1, -1),
        masks,
    )


def test_equal_views_change_nothing():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand((1, 2, 7, 7), generator=generator)
    one = view(((10, 10, 50, 60), 0.9, 1), ((100, 20, 140, 90), 0.5, 2), masks=masks)
    for found, expected in zip(fuse([one, one, one]), one, strict=True):
        torch.testing.assert_close(found, expected)


def test_boxes_are_means_weighted_by_scores_and_scores_means_over_views():
    first = view(((0, 0, 100, 100), 0.9, 1), ((0, 0, 100, 100), 0.4, 2))
    second = view(((0, 0, 100, 120), 0.3, 1))
    found = fuse([first, second])
    torch.testing.assert_close(found.boxes[0, 0], torch.tensor([0.0, 0, 100, 105]))
    assert found.labels.tolist() == [[1, 2]]  # classes are not mixed
    assert found.scores[0].tolist() == pytest.approx([0.6, 0.2])  # the second view has no class 2


def test_a_mask_is_sampled_on_the_fused_box():
    """Two boxes side by side in x; where only one of them reaches, its share of the score is left."""
    full = torch.ones((1, 1, 8, 8))
    found = fuse([view(((0, 0, 80, 80), 0.5, 1), masks=full), view(((20, 0, 100, 80), 0.5, 1), masks=full)])
    torch.testing.assert_close(found.boxes[0, 0], torch.tensor([10.0, 0, 90, 80]))
    assert found.masks[0, 0, 4, 4] == 1
    assert found.masks[0, 0, 4, 0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("axes", "box"),
    [((-1,), [150, 10, 190, 60]), ((-2,), [10, 40, 50, 90]), ((-2, -1), [150, 40, 190, 90])],
)
def test_flipping_twice_gives_the_same(axes, box):
    one = view(((10, 10, 50, 60), 0.9, 1), masks=torch.rand(1, 1, 5, 5))
    flipped = flip_back(one, 100, 200, axes)
    assert flipped.boxes[0, 0].tolist() == box
    assert flipped.keypoints is None
    assert all(a.equal(b) for a, b in zip(flip_back(flipped, 100, 200, axes)[:4], one[:4], strict=True))


def test_no_view_finds_anything():
    assert fuse([view(), view()]).boxes.shape == (1, 0, 4)
