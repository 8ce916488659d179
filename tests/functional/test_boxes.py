import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou, clip_boxes_to_image

from lightning_rcnn.functional.boxes import clip_boxes, decode, encode, has_min_size, pairwise_iou, rescale

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def random_boxes(seed, *shape, size=100.0):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(*shape, 2, 2, generator=generator) * size
    return torch.cat((corners.amin(-2), corners.amax(-2)), dim=-1)


@given(st.integers(0, 1000))
def test_iou_is_torchvisions(seed):
    boxes, others = random_boxes(seed, 7), random_boxes(seed + 1, 5)
    torch.testing.assert_close(pairwise_iou(boxes, others), box_iou(boxes, others))


def test_iou_of_empty_boxes_is_zero_and_not_nan():
    empty = torch.zeros(1, 4)
    assert pairwise_iou(empty, empty).item() == 0


@given(st.integers(0, 1000))
def test_decode_undoes_encode(seed):
    boxes, references = random_boxes(seed, 20) + 1, random_boxes(seed + 1, 20) + 1
    # Sides of at least a pixel: the growth that decode follows is limited.
    boxes[:, 2:] += 10
    references[:, 2:] += 10
    torch.testing.assert_close(
        decode(encode(boxes, references, WEIGHTS), references, WEIGHTS), boxes, atol=1e-3, rtol=1e-4
    )


def test_encode_by_hand():
    # Reference 10 x 20 at (0, 0); box 20 x 20 at (5, 0): the center moves by 10 of 10 wide, the width doubles.
    deltas = encode(torch.tensor([5.0, 0, 25, 20]), torch.tensor([0.0, 0, 10, 20]), (1.0, 1.0, 1.0, 1.0))
    torch.testing.assert_close(deltas, torch.tensor([1.0, 0.0, math.log(2), 0.0]))


def test_decode_limits_growth():
    box = decode(torch.tensor([0.0, 0, 1000, 0]), torch.tensor([0.0, 0, 16, 16]), (1.0, 1.0, 1.0, 1.0))
    assert (box[2] - box[0]).item() == pytest.approx(1000, rel=1e-5)


def test_decode_limits_shrinking_where_it_is_told_to():
    """A box of 1000 x 1000 pixels; exp(-6) is a factor of .0025, mmdetection's least one .016."""
    deltas, reference = torch.tensor([0.0, 0, -6, -3]), torch.tensor([0.0, 0, 1000, 1000])
    free, limited = (decode(deltas, reference, (1, 1, 1, 1), smallest) for smallest in (0.0, 16 / 1000))
    torch.testing.assert_close(
        free[2:] - free[:2], 1000 * torch.tensor([math.exp(-6), math.exp(-3)]), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(limited[2:] - limited[:2], torch.tensor([16.0, 1000 * math.exp(-3)]), atol=1e-3, rtol=0)


def test_decode_stays_in_float32_for_half_precision_deltas():
    assert decode(torch.zeros(4, dtype=torch.bfloat16), torch.tensor([0.0, 0, 321, 5]), WEIGHTS)[2].item() == 321


@given(st.integers(0, 1000))
def test_clip_is_torchvisions(seed):
    boxes = random_boxes(seed, 2, 6) - 30
    sizes = torch.tensor([[40, 50], [10, 60]])
    expected = torch.stack([clip_boxes_to_image(b, tuple(s.tolist())) for b, s in zip(boxes, sizes, strict=True)])
    torch.testing.assert_close(clip_boxes(boxes, sizes), expected)


def test_thin_inverted_and_non_finite_boxes_lack_the_minimum_size():
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 0.5], [5, 5, 1, 1], [0, 0, torch.inf, 2], [0, 0, torch.nan, 2]])
    assert has_min_size(boxes, 1.0).tolist() == [True, False, False, False, False]


def test_rescale_moves_to_the_original_frame_and_stays_in_it():
    boxes = torch.tensor([[[10.0, 20, 30, 40]], [[1.0, 2, 3, 4]]])
    moved = rescale(boxes, torch.tensor([[100, 200], [0, 0]]), torch.tensor([[50, 400], [7, 7]]))
    assert moved.tolist() == [[[20, 10, 60, 20]], [[1, 2, 3, 4]]]
    whole = torch.tensor([[[0.0, 0, 64, 85]]])
    assert rescale(whole, torch.tensor([[85, 64]]), torch.tensor([[200, 150]])).tolist() == [[[0, 0, 150, 200]]]
