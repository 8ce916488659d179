import io

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from lightning_rcnn.cli import main


def mask_image(*boxes, size=(48, 64)):
    """A palette image as in VOC: object i has the index i, with a border of 255 around it."""
    pixels = np.zeros(size, np.uint8)
    for number, (x1, y1, x2, y2) in enumerate(boxes, 1):
        pixels[y1 - 1 : y2 + 1, x1 - 1 : x2 + 1] = 255
        pixels[y1:y2, x1:x2] = number
    image = Image.fromarray(pixels, mode="P")
    image.putpalette([value for index in range(256) for value in (index, 0, 255 - index)])
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def pack(make_voc, voc_xml, encode_image, read_packed, tmp_path):
    """`pack({"a": bytes}, split)`: a set of the images a and b with these masks; returns index and samples."""

    def run(masks, split="train", *words):
        xml = voc_xml(("dog", 6, 7, 20, 20), ("cat", 31, 11, 50, 40))
        root = make_voc({f"{name}.jpg": encode_image() for name in "ab"}, {"a": xml, "b": xml}, ["a", "b"])
        (root / "ImageSets" / "Segmentation").mkdir()
        (root / "ImageSets" / "Segmentation" / "train.txt").write_text("a\n")
        (root / "SegmentationObject").mkdir()
        for name, data in masks.items():
            (root / "SegmentationObject" / f"{name}.png").write_bytes(data)
        out = tmp_path / "out"
        assert main(["pack", "voc", "--root", str(root), "--out", str(out), "--split", split, *words]) == 0
        return read_packed(out)

    return run


BOXES = ((5, 6, 20, 20), (30, 10, 50, 40))


def test_masks_belong_to_the_objects_in_their_order(pack):
    index, (sample,) = pack({"a": mask_image(*BOXES)}, "Segmentation/train", "--classes", "cat,dog", "--strict")
    assert index.has_masks
    for annotation, (x1, y1, x2, y2), label in zip(sample.record["annotations"], BOXES, (2, 1), strict=True):
        assert annotation["label"] == label
        assert annotation["bbox"] == [x1, y1, x2, y2]
        pixels = coco_mask.decode(annotation["segmentation"])
        expected = np.zeros((48, 64), np.uint8)
        expected[y1:y2, x1:x2] = 1
        assert (pixels == expected).all()
        assert annotation["area"] == expected.sum()


def test_masks_of_a_part_of_the_images_are_not_used(pack):
    index, samples = pack({"a": mask_image(*BOXES)})
    assert not index.has_masks
    assert index.report["unused_masks"] == 1
    assert len(samples) == 2


def test_a_damaged_mask_costs_the_masks_of_its_image(pack):
    index, samples = pack({"a": mask_image(*BOXES), "b": b"no image"})
    assert index.report["bad_mask"] == 2
    assert index.report["missing_mask"] == 2
    assert ["segmentation" in each for each in samples[1].record["annotations"]] == [False, False]
