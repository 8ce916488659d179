"""Crops and outlines against what the COCO API makes of the whole image, mirrored and enlarged by plain indexing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from lightning_rcnn.data.geometry import AxisAlignedMap
from lightning_rcnn.data.segmentations import crop_bitmaps, trace_outlines

HEIGHT, WIDTH = 20, 30
masks = arrays(np.bool_, (HEIGHT, WIDTH), elements=st.booleans(), fill=st.just(False))
flips = st.booleans()
coordinates = st.floats(-10, 40).map(lambda value: round(value, 2))


def star(radii):
    """Corners around a center: a polygon that does not cross itself, of either orientation."""
    angles = np.arange(len(radii)) * 2 * np.pi / len(radii)
    return np.stack([15 + radii * np.cos(angles), 10 + radii * np.sin(angles)], axis=1).round(2).ravel().tolist()


stars = st.lists(st.floats(0.5, 25), min_size=3, max_size=9).map(np.array).map(star)
polygons = st.lists(coordinates, min_size=6, max_size=16).filter(lambda values: len(values) % 2 == 0)


def map_to(height, width, flip_x, flip_y):
    scale_x, scale_y = width / WIDTH, height / HEIGHT
    return AxisAlignedMap(
        -scale_x if flip_x else scale_x,
        float(width) if flip_x else 0.0,
        -scale_y if flip_y else scale_y,
        float(height) if flip_y else 0.0,
    )


def flipped(mask, flip_x, flip_y):
    mask = mask[:, ::-1] if flip_x else mask
    return mask[::-1] if flip_y else mask


def rle_of(mask):
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


def pixels_of(segmentation):
    """The COCO API's own way, `COCO.annToMask`, on the whole image."""
    if isinstance(segmentation, dict):
        return coco_mask.decode(segmentation).astype(bool)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(segmentation, HEIGHT, WIDTH))).astype(bool)


def pasted(bitmaps, scale):
    """Every crop laid out in the resized frame at its box, which has to fall on pixels enlarged by `scale`."""
    position = 0
    for (height, width), box in zip(bitmaps.sizes, bitmaps.boxes / scale, strict=True):
        image = np.zeros((HEIGHT, WIDTH), bool)
        if height:
            num_bytes = -(-height * width // 8)
            bits = np.unpackbits(bitmaps.bits[position : position + num_bytes])
            assert not bits[height * width :].any()
            position += num_bytes
            left, top, right, bottom = box.astype(int)
            assert np.array_equal(box, [left, top, right, bottom])
            assert (bottom - top, right - left) == (height, width)
            image[top:bottom, left:right] = bits[: height * width].reshape(height, width)
        yield image
    assert position == len(bitmaps.bits)


def winding_numbers(edges, xs, ys):
    """How often closed edges [e, 4] wind around the points (xs, ys): the angle that a walker is seen to cover."""
    points = np.stack([xs, ys], axis=-1)[..., None, :]
    first, second = edges[:, :2] - points, edges[:, 2:] - points
    cross = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    return np.round(np.arctan2(cross, (first * second).sum(axis=-1)).sum(axis=-1) / (2 * np.pi)).astype(int)


def inside_pixels(edges, scale):
    """At one point of each pixel, so odd that no edge passes through it."""
    xs, ys = np.meshgrid(scale * (np.arange(WIDTH) + 0.51234567), scale * (np.arange(HEIGHT) + 0.49876543))
    return winding_numbers(edges.astype(np.float64), xs, ys)


@given(st.lists(masks.map(rle_of) | stars.map(lambda each: [each]) | st.none(), max_size=3), flips, flips)
def test_bitmaps_hold_the_pixels_of_the_coco_api(segmentations, flip_x, flip_y):
    bitmaps = crop_bitmaps(segmentations, HEIGHT, WIDTH, map_to(2 * HEIGHT, 2 * WIDTH, flip_x, flip_y))
    for segmentation, image in zip(segmentations, pasted(bitmaps, 2), strict=True):
        expected = np.zeros((HEIGHT, WIDTH), bool) if segmentation is None else pixels_of(segmentation)
        assert np.array_equal(image, flipped(expected, flip_x, flip_y))


@given(st.lists(polygons, min_size=1, max_size=3))
def test_any_polygons_give_the_pixels_of_the_coco_api(parts):
    (image,) = pasted(crop_bitmaps([parts], HEIGHT, WIDTH, map_to(HEIGHT, WIDTH, False, False)), 1)
    assert np.array_equal(image, pixels_of(parts))


@given(masks, flips, flips)
def test_a_crop_has_one_pixel_of_background_around_it_except_where_the_image_ends(mask, flip_x, flip_y):
    bitmaps = crop_bitmaps([rle_of(mask)], HEIGHT, WIDTH, map_to(HEIGHT, WIDTH, flip_x, flip_y))
    if not mask.any():
        assert bitmaps.sizes.tolist() == [[0, 0]]
        return
    rows, columns = np.nonzero(flipped(mask, flip_x, flip_y))
    expected = [columns.min() - 1, rows.min() - 1, columns.max() + 2, rows.max() + 2]
    assert bitmaps.boxes.tolist() == [np.clip(expected, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT]).tolist()]


def test_boxes_follow_the_resize():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[4:9, 10:13] = True
    bitmaps = crop_bitmaps([rle_of(mask)], HEIGHT, WIDTH, map_to(47, 71, True, False))
    assert bitmaps.sizes.tolist() == [[7, 5]]
    assert np.allclose(bitmaps.boxes, [[71 - 14 * 71 / 30, 3 * 47 / 20, 71 - 9 * 71 / 30, 10 * 47 / 20]])


@given(masks, flips, flips)
def test_outlines_of_rle_wind_once_around_each_pixel(mask, flip_x, flip_y):
    outlines = trace_outlines([rle_of(mask), None], HEIGHT, WIDTH, map_to(3 * HEIGHT, 3 * WIDTH, flip_x, flip_y))
    assert outlines.counts.tolist() == [len(outlines.edges), 0]
    assert np.array_equal(inside_pixels(outlines.edges, 3), flipped(mask, flip_x, flip_y))


@given(stars, stars, flips, flips, flips)
def test_parts_of_a_polygon_wind_the_same_way(first, second, flip_x, flip_y, turned):
    """Both stand around one center, so that they would cancel each other out there."""
    second = np.array(second).reshape(-1, 2)[::-1].ravel().tolist() if turned else second
    edges = trace_outlines([[first, second]], HEIGHT, WIDTH, map_to(HEIGHT, WIDTH, flip_x, flip_y)).edges
    num_first = len(first) // 2
    first_winding, second_winding = inside_pixels(edges[:num_first], 1), inside_pixels(edges[num_first:], 1)
    assert set(np.unique([first_winding, second_winding])) <= {0, 1}
    assert np.array_equal(inside_pixels(edges, 1), first_winding + second_winding)


def test_edges_of_a_polygon_follow_the_resize_and_the_flip():
    square = [[2.0, 3.0, 12.0, 3.0, 12.0, 13.0, 2.0, 13.0]]
    plain = trace_outlines([square], HEIGHT, WIDTH, map_to(40, 60, False, False)).edges
    assert plain.tolist() == [[4, 6, 24, 6], [24, 6, 24, 26], [24, 26, 4, 26], [4, 26, 4, 6]]
    mirrored = trace_outlines([square], HEIGHT, WIDTH, map_to(40, 60, True, False)).edges
    assert mirrored.tolist() == [[36, 6, 56, 6], [36, 26, 36, 6], [56, 26, 36, 26], [56, 6, 56, 26]]


def test_edges_along_pixels_are_of_maximal_length():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[4:9, 10:13] = True
    outlines = trace_outlines([rle_of(mask)], HEIGHT, WIDTH, map_to(HEIGHT, WIDTH, False, False))
    assert sorted(outlines.edges.tolist()) == [[10, 4, 13, 4], [10, 9, 10, 4], [13, 4, 13, 9], [13, 9, 10, 9]]


@pytest.mark.parametrize("read", [crop_bitmaps, trace_outlines])
def test_no_objects(read):
    masks = read([], HEIGHT, WIDTH, map_to(HEIGHT, WIDTH, False, False))
    assert [len(array) for array in masks] == [0] * len(masks)
