"""CSV files with the run lengths of a mask a line, in the form of Kaggle's competitions."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image
from pycocotools import mask as coco_mask

MASK = np.zeros((48, 64), np.uint8)
MASK[6:26, 5:15] = MASK[2:9, 12:40] = 1
"""An L, whose columns and rows have runs of different lengths."""
BOX = (5, 2, 40, 26)


def runs(mask, order="F"):
    """Encode as the competitions' pages describe it: a position from 1 and a length, in pairs."""
    flat = np.concatenate([[0], mask.flatten(order), [0]])
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return " ".join(f"{start} {end - start}" for start, end in changes.reshape(-1, 2).tolist())


def pixels(packed, name):
    (annotation,) = packed.records[name]["annotations"]
    mask = annotation["segmentation"]
    return coco_mask.decode({**mask, "counts": mask["counts"].encode()})


def test_airbus(write_files, pack):
    """An image without ships has a line without runs; the sample of a submission is of other images."""
    texts = {
        "train_ship_segmentations_v2.csv": "ImageId,EncodedPixels\n" + 30 * "b.jpg,\n" + f"a.jpg,{runs(MASK)}\n",
        "sample_submission_v2.csv": "ImageId,EncodedPixels\nc.jpg,1 2\n",
    }
    packed = pack(write_files(texts, ["train_v2/a.jpg", "train_v2/b.jpg", "test_v2/c.jpg"])).splits["train"]
    assert packed.objects == {"train_v2/a.jpg": [("object", *BOX)], "train_v2/b.jpg": []}
    assert (pixels(packed, "train_v2/a.jpg") == MASK).all()


def test_severstal_has_classes(write_files, pack):
    text = f"ImageId,ClassId,EncodedPixels\na.jpg,3,{runs(MASK)}\na.jpg,10,1 3\n"
    packed = pack(write_files({"train.csv": text}, ["train_images/a.jpg"]))
    assert packed.title.endswith("; a line is an object")
    train = packed.splits["train"]
    assert train.objects == {"train_images/a.jpg": [("3", *BOX), ("10", 0, 0, 1, 3)]}
    assert train.classes == ["3", "10"]


def test_sartorius_numbers_pixels_row_by_row(write_files, pack):
    text = f"id,annotation,width,height,cell_type\na,{runs(MASK, 'C')},64,48,astro\n"
    packed = pack(write_files({"train.csv": text}, ["train/a.png"])).splits["train"]
    assert packed.objects == {"train/a.png": [("astro", *BOX)]}
    assert (pixels(packed, "train/a.png") == MASK).all()


@pytest.mark.parametrize("text", ["1 5 3 2", "0 5", "3070 5", "1 " + 30 * "9", "1 0"])
def test_runs_that_no_mask_has_are_counted(write_files, pack_one, text):
    root = write_files({"a.csv": f"ImageId,EncodedPixels\na.jpg,{text}\na.jpg,1 3\n"}, ["a.jpg"])
    packed = pack_one(root)
    assert packed.objects == {"a.jpg": [("object", 0, 0, 1, 3)]}
    assert packed.report["malformed_object"] == 1


def test_an_image_that_is_not_there_is_named(write_files, refusal):
    root = write_files({"a.csv": "ImageId,EncodedPixels\nlost.jpg,1 3\na.jpg,1 3\n"}, ["a.jpg"])
    assert "missing_image x 1 (first: lost.jpg" in refusal(root)


def test_rows_that_are_too_short_are_counted(write_files, pack_one):
    text = f"ImageId,EncodedPixels\na.jpg,{runs(MASK)}\na.jpg\n\n,1 3\nb.jpg,\n"
    packed = pack_one(write_files({"a.csv": text}, ["a.jpg", "b.jpg"]))
    assert packed.objects == {"a.jpg": [("object", *BOX)], "b.jpg": []}
    assert packed.report["malformed_object"] == packed.report["missing_image"] == 1


def test_runs_of_a_turned_image_are_in_the_frame_of_its_file(write_files, pack_one):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = io.BytesIO()
    Image.new("RGB", (64, 48)).save(data, "JPEG", exif=exif)
    text = f"ImageId,EncodedPixels\na.jpg,{runs(MASK)}\n"
    packed = pack_one(write_files({"a.csv": text, "a.jpg": data.getvalue()}))
    assert packed.objects == {"a.jpg": [("object", *BOX)]}
    assert (pixels(packed, "a.jpg") == MASK).all()
    assert not packed.records["a.jpg"]["apply_exif"]
