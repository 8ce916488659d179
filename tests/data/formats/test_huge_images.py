"""Masks of images of more pixels than Pillow reads by default, without a canvas of the image."""

import json

import pytest

from lightning_rcnn.data.formats import rle_csv
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.outlines import even_odd_object, object_with_holes
from lightning_rcnn.data.formats.rle_csv import read_rle_csv
from lightning_rcnn.masks.run_length import MAX_PIXELS, decode_crop, edges_of_mask
from lightning_rcnn.masks.segmentation import checked_run_length

SIDE = 20_000
"""400 million pixels, 1.5 times 2^28."""


def square(left, top, side):
    return [left, top, left + side, top, left + side, top + side, left, top + side]


def test_holes_in_a_corner_of_a_huge_image():
    outline, hole = square(19_900, 19_950, 40), square(19_910, 19_960, 10)
    for labeled in (
        object_with_holes("cat", outline, [hole], SIDE, SIDE, ""),
        even_odd_object("cat", [outline, hole], SIDE, SIDE, ""),
    ):
        crop = decode_crop(labeled.segmentation)
        assert (crop.left, crop.top, crop.pixels.shape) == (19_900, 19_950, (40, 40))
        assert crop.pixels.sum() == 40 * 40 - 10 * 10


def test_outlines_over_all_of_it_are_named():
    whole = square(0, 0, SIDE)
    labeled = even_odd_object("cat", [whole, square(5, 5, 9)], SIDE, SIDE, "object 1")
    assert labeled.place == "object 1: its outlines with holes span 20000 x 20000 pixels, too many to fill"


@pytest.mark.parametrize("by_rows", [False, True])
def test_run_lengths_of_kaggle(write_files, monkeypatch, by_rows):
    """Three pixels of two lines, of columns or of rows, from the last but two on."""
    first = SIDE * (SIDE - 2) + 101
    runs = f"{first} 3 {first + SIDE} 3"
    text = f"id,annotation,width,height,cell_type\na,{runs},{SIDE},{SIDE},astro\n" if by_rows else ""
    root = write_files({"train.csv": text or f"ImageId,EncodedPixels\na.png,{runs}\n"}, ["a.png"])
    header = type("Header", (), {"size": (SIDE, SIDE)})
    monkeypatch.setattr(rle_csv, "open_image", lambda _: header)
    (split,) = read_rle_csv(Layout(root)).splits
    (labeled,) = split.images[0].labels().objects
    edges = (100, SIDE - 2, 103, SIDE) if by_rows else (SIDE - 2, 100, SIDE, 103)
    assert edges_of_mask(labeled.segmentation) == edges
    assert decode_crop(labeled.segmentation).pixels.all()


def test_more_pixels_than_a_mask_counts(write_files, pack_one):
    """The COCO API counts in 32 bits: packing ended with a stack."""
    side = 70_000
    assert side**2 > MAX_PIXELS
    with pytest.raises(ValueError, match="70000 x 70000 pixels are more than the COCO API counts"):
        checked_run_length([side**2 - 100, 50, 50], side, side)
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": {"size": [side, side], "counts": [side**2 - 9, 9]}},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [5, 6, 10, 20]},
    ]
    images = [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    packed = pack_one(write_files({"x.json": json.dumps(content)}, ["a.jpg"]))
    assert packed.objects == {"a.jpg": [("cat", 5, 6, 15, 26)]}
    assert packed.report == {"missing_box": 1}
