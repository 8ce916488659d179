import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from torchvision.models.detection.roi_heads import paste_masks_in_image

from lightning_rcnn.errors import InputError
from lightning_rcnn.masks import paste as paste_module
from lightning_rcnn.masks.paste import paste_all, paste_as_run_lengths, paste_densely

RULES = ["exact", "integer"]


def paste(cells, box, height, width, rule="exact"):
    """Paste one mask."""
    (crop,) = paste_all(cells[None], box[None], height, width, rule)
    return crop


def whole(crop, height, width):
    """Put a crop into a mask of the whole image."""
    mask = np.zeros((height, width), dtype=bool)
    rows, columns = crop.pixels.shape
    mask[crop.top : crop.top + rows, crop.left : crop.left + columns] = crop.pixels
    return mask


def sampled(cells, box, height, width):
    """Sample the grid, which fills the box, at the center of each pixel of the image."""
    x1, y1, x2, y2 = box.tolist()
    x = (torch.arange(width) + 0.5 - x1) / (x2 - x1) * 2 - 1
    y = (torch.arange(height) + 0.5 - y1) / (y2 - y1) * 2 - 1
    grid = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
    return F.grid_sample(cells[None, None], grid[None], padding_mode="zeros", align_corners=False)[0, 0]


@st.composite
def problems(draw):
    """Draw (probabilities, box, height, width); boxes from part of a pixel to twice the image, some partly outside."""
    height, width = draw(st.integers(1, 160)), draw(st.integers(1, 160))
    size = draw(st.sampled_from([1, 2, 7, 14, 28]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    contrast = draw(st.sampled_from([1.0, 4.0, 100.0]))
    cells = (torch.randn(size, size, generator=generator) * contrast).sigmoid()
    sides = [2 ** draw(st.floats(-4, math.log2(2 * limit) + 1)) for limit in (width, height)]
    starts = [
        draw(st.floats(-0.9 * side, limit - 0.1 * min(side, limit)))
        for side, limit in zip(sides, (width, height), strict=True)
    ]
    if draw(st.booleans()):
        starts, sides = [round(start) for start in starts], [max(1, round(side)) for side in sides]
    box = torch.tensor([*starts, *(start + side for start, side in zip(starts, sides, strict=True))])
    return cells, box.float(), height, width


@settings(max_examples=300, deadline=None)
@given(problems())
def test_integers_give_what_torchvision_gives(problem):
    cells, box, height, width = problem
    expected = paste_masks_in_image(cells[None, None], box[None], (height, width))[0, 0] > 0.5
    assert (whole(paste(cells, box, height, width, "integer"), height, width) == expected.numpy()).all()


@settings(max_examples=300, deadline=None)
@given(problems())
def test_exact_is_the_grid_sampled_at_the_centers_of_pixels(problem):
    cells, box, height, width = problem
    expected = sampled(cells, box, height, width).numpy()
    is_clear = abs(expected - 0.5) > 1e-4
    pasted = whole(paste(cells, box, height, width, "exact"), height, width)
    assert (pasted == (expected >= 0.5))[is_clear].all()


@pytest.mark.parametrize("limit", [64, 1000])
def test_integers_of_large_boxes_in_parts_as_in_one_piece(monkeypatch, limit):
    """Partly outside of the image, and too large for one piece."""
    monkeypatch.setattr(paste_module, "_PIXELS_AT_ONCE", limit)
    generator = torch.Generator().manual_seed(0)
    for box in ([-20.3, 10.2, 180.0, 290.7], [3.0, -40.0, 250.5, 200.0], [0.0, 0.0, 200.0, 150.0]):
        cells = torch.rand(28, 28, generator=generator)
        expected = paste_masks_in_image(cells[None, None], torch.tensor([box]), (150, 200))[0, 0] > 0.5
        crop = paste(cells, torch.tensor(box), 150, 200, "integer")
        assert (whole(crop, 150, 200) == expected.numpy()).all()


def test_exact_in_parts_as_in_one_piece(monkeypatch):
    cells, box = torch.rand(28, 28, generator=torch.Generator().manual_seed(0)), torch.tensor([10.2, -30, 150.7, 99.5])
    at_once = paste(cells, box, 120, 140)
    monkeypatch.setattr(paste_module, "_PIXELS_AT_ONCE", 300)
    assert (paste(cells, box, 120, 140).pixels == at_once.pixels).all()


def test_a_full_exact_mask_fills_its_box():
    """Towards the edge of the grid a probability of 1 falls to one half, so centers inside the box are set."""
    crop = paste(torch.ones(28, 28), torch.tensor([10.0, 20.6, 30.4, 40.0]), 100, 100)
    assert (crop.top, crop.left) == (21, 10)
    assert crop.pixels.shape == (19, 20)
    assert crop.pixels.all()


@pytest.mark.parametrize("rule", RULES)
def test_halves_stay_where_they_are(rule):
    """The left half of the cells is the left half of the box; so too for the upper half."""
    cells = torch.zeros(28, 28)
    cells[:14] = 1
    mask = whole(paste(cells, torch.tensor([20.0, 10.0, 76.0, 66.0]), 80, 90, rule), 80, 90)
    assert mask[12:37, 22:74].all()
    assert not mask[40:].any()
    assert whole(paste(cells.T, torch.tensor([20.0, 10.0, 76.0, 66.0]), 80, 90, rule), 80, 90)[12:64, 22:47].all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 0, 0),
        (5, 5, 5, 30),
        (30, 5, 5, 30),
        (-40, 3, -20, 9),
        (70, 3, 90, 9),
        (3, -90, 9, -70),
        (3, 60, 9, 90),
        (math.nan, 0, 5, 5),
        (0, 0, math.inf, 5),
    ],
)
def test_what_has_no_extent_or_is_outside_is_empty(rule, box):
    crop = paste(torch.ones(28, 28), torch.tensor(box, dtype=torch.float32), 50, 60, rule)
    assert not crop.pixels.any()
    assert whole(crop, 50, 60).shape == (50, 60)


@pytest.mark.parametrize("rule", RULES)
def test_many_masks_as_each_alone(rule):
    """More masks than are prepared at once, some of them without extent."""
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(150, 2, generator=generator) * 90
    boxes = torch.cat([corners, corners + torch.rand(150, 2, generator=generator) * 30], dim=1)
    boxes[::7, 2] = boxes[::7, 0]
    cells = torch.rand(150, 28, 28, generator=generator)
    for crop, probabilities, box in zip(paste_all(cells, boxes, 100, 110, rule), cells, boxes, strict=True):
        alone = paste(probabilities, box, 100, 110, rule)
        assert (crop.pixels == alone.pixels).all()
        assert crop[1:] == alone[1:]


@pytest.mark.parametrize("rule", RULES)
def test_run_lengths_hold_the_same_masks(rule):
    cells = torch.rand(3, 28, 28, generator=torch.Generator().manual_seed(2))
    boxes = torch.tensor([[-5.0, 3, 40, 60], [20, 20, 20, 20], [30.5, 0, 80, 7.7]])
    encoded = paste_as_run_lengths(cells, boxes, 50, 70, rule)
    for rle, crop in zip(encoded, paste_all(cells, boxes, 50, 70, rule), strict=True):
        assert rle["size"] == [50, 70]
        assert (coco_mask.decode(rle) == whole(crop, 50, 70)).all()


def test_no_masks():
    assert not list(paste_all(torch.zeros(0, 28, 28), torch.zeros(0, 4), 100, 110))


def test_half_precision_and_one_cell():
    cells = torch.ones(1, 1, dtype=torch.bfloat16)
    assert whole(paste(cells, torch.tensor([2.0, 2.0, 6.0, 6.0]), 8, 8), 8, 8)[3:5, 3:5].all()


def test_masks_that_no_memory_holds_are_one_line():
    boxes, probabilities = torch.tensor([[0.0, 0.0, 9.0, 9.0]] * 3), torch.ones((3, 4, 4))
    with pytest.raises(InputError, match=r"^3 masks of 10000000 x 1000000000 pixels take 30,000,000 GB, more than "):
        paste_densely(probabilities, boxes, 10**7, 10**9)
