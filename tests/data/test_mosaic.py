"""Mosaics: quadrants by hand, and masks and boxes that follow the pixels."""

from typing import Any

import numpy as np
import pytest
import torch

from lightning_rcnn.data.transforms import Mosaic, Random, TrainingImage
from lightning_rcnn.data.transforms.view import displayed_size
from lightning_rcnn.errors import InputError
from tests.data.painted_scenes import OTHER_RECTANGLES, RECTANGLES, painted, require_masks_on_pixels


def plain(color: int, height: int = 40, width: int = 60, **recorded: Any) -> TrainingImage:
    """An image of one color with a box that fills it, and another one in its top left corner."""
    boxes = np.array([[0, 0, width, height], [0, 0, 2, 2]], np.float32)
    image = torch.full((3, height, width), color, dtype=torch.uint8)
    return TrainingImage(image, boxes, np.array([color, 99]), np.array([False, True]), [None, None], **recorded)


@pytest.mark.parametrize("size", [None, [90, 50]])
def test_four_images_fill_the_quadrants_around_a_point(size):
    firsts, centers = set(), []
    for number in range(60):
        result = Mosaic(size=size).mix(
            plain(1), [plain(2), plain(3, 80, 30), plain(4, 33, 99)], Random(0, 0, number, 0)
        )
        height, width = result.image.shape[-2:]
        assert [height, width] == (size or [40, 60])
        whole = result.boxes[result.labels != 99]
        x, y = np.round(whole[0, 2:]).tolist()
        expected = [[0, 0, x, y], [x, 0, width, y], [0, y, x, height], [x, y, width, height]]
        assert np.allclose(whole, expected, atol=1e-4)
        order = result.labels[result.labels != 99].tolist()
        assert order in [[*range(first, 5), *range(1, first)] for first in range(1, 5)]
        for (x1, y1, x2, y2), color in zip(whole.round().astype(int).tolist(), order, strict=True):
            assert (result.image[:, y1:y2, x1:x2] == color).all()
        assert np.array_equal(result.is_crowd, result.labels == 99)
        firsts.add(order[0])
        centers.append((x / width, y / height))
    assert firsts == {1, 2, 3, 4}
    assert 0.2 <= np.min(centers) < 0.3
    assert 0.7 < np.max(centers) <= 0.75


@pytest.mark.parametrize("as_polygons", [False, True])
@pytest.mark.parametrize("size", [None, (70, 110)])
def test_masks_and_boxes_follow_the_pixels_of_all_four(size, as_polygons: bool):
    scales = []
    for number in range(12):
        partners = [
            painted(48, 64, 1, OTHER_RECTANGLES, as_polygons, is_mirrored=True),
            painted(64, 80, 2, RECTANGLES, as_polygons, is_transposed=True),
            painted(96, 100, 1, OTHER_RECTANGLES, as_polygons, window=(-10, 5, 70, 60), is_upside_down=True),
        ]
        sample = painted(48, 64, 0, RECTANGLES, as_polygons, window=(2, 2, 60, 48))
        result = Mosaic(size=size).mix(sample, partners, Random(0, 0, number, 0))
        assert result.image.shape[-2:] == (size or displayed_size(sample))
        require_masks_on_pixels(result)
        scales.append(len(result.boxes))
    assert min(scales) >= 3


def test_a_class_is_absent_from_a_mosaic_if_it_is_from_all_four():
    lists = [((1, 2, 5), (7,)), ((2, 5), ()), ((2, 3, 5, 6), (4, 7)), ((5, 2), ())]
    sample, *partners = (
        plain(1, negative_labels=negative, not_exhaustive_labels=not_exhaustive) for negative, not_exhaustive in lists
    )
    result = Mosaic().mix(sample, partners, Random(0, 0, 0, 0))
    assert (result.negative_labels, result.not_exhaustive_labels) == ((2, 5), (4, 7))


def test_without_partners_or_room_an_image_stays_as_it_is():
    sample, tiny = plain(1), plain(1, 1, 30)
    assert Mosaic(size=[90, 50]).mix(sample, [], Random(0, 0, 0, 0)) is sample
    assert Mosaic().mix(tiny, [plain(2)] * 3, Random(0, 0, 0, 0)) is tiny


def test_the_plan_knows_the_size_of_a_mosaic():
    mosaic = Mosaic(size=[90, 50], p=0.5)
    for number in range(40):
        random = Random(0, 0, number, 0)
        partners = [plain(2)] * mosaic.num_partners(random)
        result = mosaic.mix(plain(1), partners, random)
        assert mosaic.planned_size(40, 60, Random(0, 0, number, 0)) == result.image.shape[-2:]


@pytest.mark.parametrize("size", [[90], [90, 1], [0, 90], [90, 50, 3]])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(InputError, match=r"^data.train_transforms: Mosaic: size is \[.*; give \[height, width\] of at"):
        Mosaic(size=size)
