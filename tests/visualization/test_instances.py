import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from lightning_rcnn.masks.run_length import encode_crop
from lightning_rcnn.visualization.instances import draw_mask, label_map, scaled_crops

FILL, LINE = (250, 10, 10), (10, 250, 10)


def rectangle(x1, y1, x2, y2, width=100, height=60):
    return encode_crop(np.ones((y2 - y1, x2 - x1), dtype=bool), y1, x1, height, width)


def drawn(masks, size=(100, 60), line=2, is_crowd=False):
    image = Image.new("RGB", size, (200, 200, 200))
    for crop in scaled_crops(masks, size):
        draw_mask(image, crop, FILL, LINE, line, is_crowd)
    return np.asarray(image).astype(int)


def is_line(pixels):
    return (pixels == LINE).all(axis=-1)


def is_filled(pixels):
    """Whether pixels have some of the fill color: more red than before, less green and blue."""
    return (pixels[..., 0] > 210) & (pixels[..., 1] < 190)


def test_a_mask_is_filled_inside_its_line_and_nothing_else_changes():
    pixels = drawn([rectangle(20, 10, 80, 50)])
    assert is_line(pixels[10:50, 20:22]).all()
    assert is_line(pixels[48:50, 20:80]).all()
    assert is_filled(pixels[12:48, 22:78]).all()
    pixels[10:50, 20:80] = 200
    assert (pixels == 200).all()


def test_what_lies_under_a_mask_shows_through():
    image = Image.fromarray(np.arange(6000, dtype=np.uint8).reshape(60, 100)).convert("RGB")
    before = np.asarray(image).astype(int)
    for crop in scaled_crops([rectangle(0, 0, 100, 60)], image.size):
        draw_mask(image, crop, FILL, LINE, 1, False)
    inside = np.asarray(image).astype(int)[5:-5, 5:-5, 2], before[5:-5, 5:-5, 2]
    assert np.corrcoef(inside[0].ravel(), inside[1].ravel())[0, 1] > 0.99


@pytest.mark.parametrize("size", [(640, 384), (100, 60), (250, 150), (50, 30), (33, 20)])
def test_masks_scale_with_the_image(size):
    """A mask covers the same fraction of an image of any size, to a pixel at each edge; also at the border."""
    for box in ((20, 10, 80, 50), (0, 0, 30, 60), (70, 20, 100, 60)):
        [crop] = scaled_crops([rectangle(*box)], size)
        whole = np.zeros(size[::-1], dtype=bool)
        whole[crop.top : crop.top + crop.pixels.shape[0], crop.left : crop.left + crop.pixels.shape[1]] = crop.pixels
        rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
        edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        expected = [edge * side / limit for edge, side, limit in zip(box, size * 2, (100, 60) * 2, strict=True)]
        assert np.abs(np.subtract(edges, expected)).max() <= 0.51
        assert whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > 0.99, "only corners are rounded"


def test_a_mask_too_small_for_the_image_is_still_seen():
    assert any(crop.pixels.any() for crop in scaled_crops([rectangle(51, 33, 52, 34)], (25, 15)))


def test_touching_masks_are_told_apart():
    pixels = drawn([rectangle(10, 10, 50, 50), rectangle(50, 10, 90, 50)])
    row = is_line(pixels[30])
    assert row[48:52].all()
    assert not row[20:40].any()
    assert not row[60:80].any()


def test_a_thin_mask_is_all_line():
    assert is_line(drawn([rectangle(10, 20, 11, 50)])[20:50, 10]).all()


def test_a_crowd_is_striped():
    pixels = drawn([rectangle(0, 0, 100, 60)], is_crowd=True)[3:-3, 3:-3]
    assert 0.4 < is_filled(pixels).mean() < 0.6


def test_no_masks_and_empty_ones():
    assert list(scaled_crops([], (10, 10))) == []
    empty = encode_crop(np.zeros((0, 0), dtype=bool), 0, 0, 60, 100)
    assert (drawn([empty], size=(200, 120)) == 200).all()
    assert (drawn([empty]) == 200).all()


def test_the_label_of_a_pixel_is_that_of_the_first_mask_there():
    masks = [rectangle(10, 10, 50, 50), rectangle(30, 20, 90, 60)]
    labels = label_map(masks, [7, 3], (100, 60))
    first, second = (coco_mask.decode(mask).astype(bool) for mask in masks)
    assert (labels == np.where(first, 7, np.where(second, 3, 0))).all()
    assert label_map(masks, [7, 3], (50, 30)).shape == (30, 50)
    assert not label_map([], [], (50, 30)).any()
