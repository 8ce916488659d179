"""Copy-paste: by hand, by properties, and against dense masks of the whole image."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_rcnn.data.transforms import CopyPaste, Random, TrainingImage
from lightning_rcnn.data.transforms.copy_paste import draw_subset
from lightning_rcnn.data.transforms.occlusion import paste_objects
from lightning_rcnn.data.transforms.view import displayed_size
from lightning_rcnn.masks.crops import Crop
from tests.data.painted_scenes import (
    HEIGHT,
    OTHER_RECTANGLES,
    RECTANGLES,
    WIDTH,
    dense,
    outline,
    painted,
    rectangle,
    require_masks_on_pixels,
    run_length,
    tight,
)

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def image_of(
    boxes: list[Any], masks: list[Any], color=BLACK, crowds: list[bool] | None = None, labels: list[int] | None = None
) -> TrainingImage:
    return TrainingImage(
        image=torch.tensor(color, dtype=torch.uint8)[:, None, None].repeat(1, HEIGHT, WIDTH),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels or [1] * len(boxes)),
        is_crowd=np.array(crowds or [False] * len(boxes), bool),
        segmentations=masks,
    )


@pytest.mark.parametrize("as_polygons", [False, True])
def test_an_object_pasted_half_over_another_hides_its_half(as_polygons: bool):
    def mask(*edges: int) -> Any:
        return outline(*edges) if as_polygons else run_length(rectangle(*edges))

    below = image_of([[2, 4, 12, 14], [20, 2, 28, 8]], [mask(2, 4, 12, 14), mask(20, 2, 28, 8)], labels=[1, 2])
    above = image_of([[7, 0, 17, 20]], [mask(7, 0, 17, 20)], WHITE, labels=[3])
    result = paste_objects(below, above, 0.0)
    assert result.boxes.tolist() == [[2, 4, 7, 14], [20, 2, 28, 8], [7, 0, 17, 20]]
    assert result.labels.tolist() == [1, 2, 3]
    expected = [rectangle(2, 4, 7, 14), rectangle(20, 2, 28, 8), rectangle(7, 0, 17, 20)]
    assert all(np.array_equal(dense(mask), pixels) for mask, pixels in zip(result.segmentations, expected, strict=True))
    assert result.segmentations[1] is below.segmentations[1]  # what is not hidden stays as it was
    assert np.array_equal((result.image == 255).all(dim=0), expected[2])
    assert not below.image.any()


def test_a_pasted_class_is_no_longer_absent():
    below = replace(image_of([], []), negative_labels=(2, 3, 4), not_exhaustive_labels=(5,))
    masks = [run_length(rectangle(7, 0, 17, 20)), None]
    above = replace(image_of([[7, 0, 17, 20], [0, 0, 3, 3]], masks, labels=[3, 4]), negative_labels=(2,))
    result = paste_objects(below, above, 0.0)
    assert (result.negative_labels, result.not_exhaustive_labels) == ((2, 4), (5,))


def test_fully_hidden_objects_go_and_crowds_only_then():
    masks = [run_length(rectangle(x, 4, x + 10, 14)) for x in (2, 2, 11, 11)]
    boxes = [[x, 4, x + 10, 14] for x in (2, 2, 11, 11)]
    below = image_of(boxes, masks, crowds=[False, True, False, True])
    above = image_of([[1, 1, 20, 20]], [run_length(rectangle(1, 1, 20, 20))])
    assert paste_objects(below, above, 0.0).boxes.tolist() == [[20, 4, 21, 14], [20, 4, 21, 14], [1, 1, 20, 20]]
    mostly = paste_objects(below, above, 0.11)
    assert mostly.boxes.tolist() == [[20, 4, 21, 14], [1, 1, 20, 20]]
    assert mostly.is_crowd.tolist() == [True, False]


def test_an_object_without_a_mask_is_hidden_as_a_rectangle_and_not_pasted():
    boxes = [[2.5, 4.5, 12.5, 14], [3, 3, 6, 6], [25, 3, 30.25, 6]]
    below = image_of(boxes, [None, None, None])
    above = image_of([[0, 0, 8, 30]], [run_length(rectangle(0, 0, 8, 24))])
    result = paste_objects(below, above, 0.0)
    assert result.boxes.tolist() == [[8, 4.5, 12.5, 14], [25, 3, 30.25, 6], [0, 0, 8, 30]]
    assert result.segmentations[:2] == [None, None]
    nothing = image_of([[0, 0, 8, 8], [3, 3, 4, 4]], [None, Crop(np.zeros((0, 0), bool), 0, 0)], WHITE)
    assert paste_objects(below, nothing, 0.0).boxes.tolist() == boxes


def dense_paste(
    below: np.ndarray, above: np.ndarray, is_crowd: np.ndarray, min_visible: float
) -> tuple[list[int], np.ndarray]:
    """Indices of what remains and its masks, from stacks bool [m, h, w]."""
    visible = below & ~above.any(axis=0)
    before, after = below.sum(axis=(1, 2)), visible.sum(axis=(1, 2))
    kept = (after == before) | ((after > 0) & (is_crowd | (after >= min_visible * before)))
    return np.flatnonzero(kept).tolist(), visible[kept]


@st.composite
def masks(draw: st.DrawFn) -> Any:
    """A mask with a pixel: a rectangle with a hole as RLE, or a quadrangle that may touch the border."""
    x1, y1 = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    x2, y2 = draw(st.integers(x1 + 1, WIDTH)), draw(st.integers(y1 + 1, HEIGHT))
    pixels = rectangle(x1, y1, x2, y2)
    if draw(st.booleans()):
        pixels &= ~rectangle(x1 + 1, y1 + 1, draw(st.integers(x1 + 1, WIDTH)), draw(st.integers(y1 + 1, HEIGHT)))
        return run_length(pixels)
    return outline(x1, y1, x2, y2)


def stack(segmentations: list[Any]) -> np.ndarray:
    return np.array([dense(mask) for mask in segmentations], bool).reshape(-1, HEIGHT, WIDTH)


@given(st.lists(masks(), max_size=6), st.lists(masks(), max_size=3), st.floats(0, 1), st.integers(0, 63))
def test_what_remains_is_what_dense_masks_say(below_masks, above_masks, min_visible: float, crowds: int):
    is_crowd = [bool(crowds >> number & 1) for number in range(len(below_masks))]
    below = image_of([tight(dense(mask)) for mask in below_masks], below_masks, crowds=is_crowd)
    above = image_of([tight(dense(mask)) for mask in above_masks], above_masks, WHITE)
    kept, visible = dense_paste(stack(below_masks), stack(above_masks), below.is_crowd, min_visible)
    result = paste_objects(below, above, min_visible)
    after = stack(result.segmentations)
    assert np.array_equal(after, np.concatenate([visible, stack(above_masks)]))
    assert result.boxes.tolist() == [tight(pixels) for pixels in after]
    assert result.is_crowd.tolist() == [*below.is_crowd[kept], *above.is_crowd]
    assert np.array_equal((result.image == 255).all(dim=0), stack(above_masks).any(axis=0))


@pytest.mark.parametrize("as_polygons", [False, True])
@pytest.mark.parametrize(
    ("size", "other_size", "recorded", "other_recorded"),
    [
        ((48, 64), (48, 64), {}, {}),
        ((48, 64), (48, 64), {"is_mirrored": True}, {"is_upside_down": True}),
        ((48, 64), (64, 80), {}, {"is_transposed": True}),
        ((96, 72), (48, 64), {"window": (2, 3, 60, 50)}, {"is_mirrored": True}),
        ((48, 64), (48, 64), {"window": (-20, -10, 70, 60)}, {"window": (4, 0, 64, 48)}),
        ((48, 64), (48, 64), {"final_size": (36, 48)}, {"final_size": (96, 128), "is_mirrored": True}),
        ((48, 64), (48, 64), {"final_size": (96, 110)}, {"final_size": (48, 100), "window": (0, 0, 62, 46)}),
    ],
)
def test_masks_and_boxes_follow_the_pixels_of_both_images(size, other_size, recorded, other_recorded, as_polygons):
    pasted = 0
    for number in range(12):
        sample = painted(*size, 0, RECTANGLES, as_polygons, **recorded)
        partner = painted(*other_size, 1, OTHER_RECTANGLES, as_polygons, **other_recorded)
        result = CopyPaste().mix(sample, [partner], Random(0, 0, number, 0))
        height, width = result.image.shape[-2:]
        if sample.final_size:
            assert result.final_size == (height, width)
            assert height == max(sample.final_size[0], partner.final_size[0])
            assert width == max(sample.final_size[1], partner.final_size[1])
        else:
            assert result.final_size is None
            assert (height, width) == displayed_size(sample)
        masks = require_masks_on_pixels(result)
        is_pasted = result.labels == 2
        assert not (masks[is_pasted].any(axis=0) & masks[~is_pasted].any(axis=0)).any()
        pasted += is_pasted.sum()
    assert pasted >= 12


def test_a_subset_is_of_any_size_and_of_any_objects():
    subsets = [draw_subset(np.array([2, 5, 6, 9]), Random(0, 0, number, 0)).tolist() for number in range(400)]
    assert all(subset == sorted(set(subset)) for subset in subsets)
    assert np.bincount([len(subset) for subset in subsets])[1:] == pytest.approx(100, abs=30)
    assert np.bincount(np.concatenate(subsets))[[2, 5, 6, 9]] == pytest.approx(250, abs=40)
    assert draw_subset(np.zeros(0, np.int64), Random(0, 0, 0, 0)).tolist() == []


def test_crowds_and_objects_without_a_mask_are_not_pasted():
    sample = image_of([], [])
    masks = [run_length(rectangle(1, 1, 9, 9)), None, run_length(rectangle(12, 1, 20, 9))]
    partner = image_of([[1, 1, 9, 9], [5, 5, 9, 9], [12, 1, 20, 9]], masks, WHITE, [True, False, False])
    for number in range(8):
        result = CopyPaste().mix(sample, [partner], Random(0, 0, number, 0))
        assert result.boxes.tolist() == [[12, 1, 20, 9]]
    nothing = partner.with_objects(np.array([0, 1]))
    assert CopyPaste().mix(sample, [nothing], Random(0, 0, 0, 0)) is sample
