import base64
import io
import math

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from lightning_rcnn.cli import main
from tests.data.formats.conftest import image_bytes

POLYGON = [[10, 10], [30, 10], [30, 40], [10, 30]]


def shape(label="cat", points=POLYGON, kind="polygon", group=None, **more):
    return {"label": label, "points": points, "group_id": group, "shape_type": kind, "flags": {}, **more}


def labelme(*shapes, image="a.jpg", data=None, size=(64, 48)):
    """A file as LabelMe 5 writes it."""
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": image,
        "imageData": data,
        "imageHeight": size[1],
        "imageWidth": size[0],
    }


def png_mask(pixels):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def test_every_shape(write_files, pack):
    pixels = np.zeros((11, 21), np.uint8)
    pixels[2:9, 3:20] = 255
    shapes = [
        shape(),
        shape("dog", [[50, 40], [40, 20]], "rectangle"),
        shape("dog", [[32, 24], [32, 34]], "circle"),
        shape("cat", [[5, 6], [25, 16]], "mask", mask=png_mask(pixels)),
        shape("cat", [[20, 10], [30, 20], [20, 30], [10, 20]], "rotation"),
        shape("cat", [[20, 10]], "point"),
    ]
    packed = pack(write_files({"a.json": labelme(*shapes), "b.json": labelme(image="b.jpg")}, ["a.jpg", "b.jpg"]))
    assert packed.title == "found LabelMe (2 JSON files, 2 images)"
    one = packed.splits[""]
    assert one.classes == ["cat", "dog"]
    assert one.objects == {
        "a.jpg": [
            ("cat", 10, 10, 30, 40),
            ("dog", 40, 20, 50, 40),
            ("dog", 22, 14, 42, 34),
            ("cat", 8, 8, 25, 15),
            ("cat", 10, 10, 30, 30),
        ],
        "b.jpg": [],
    }
    assert one.report == {"empty_image": 1, "rotated_box": 1, "unsupported_shape": 1, "missing_mask": 2}
    annotations = one.records["a.jpg"]["annotations"]
    assert annotations[0]["segmentation"] == [[10, 10, 30, 10, 30, 40, 10, 30]]
    assert annotations[2]["area"] == pytest.approx(np.pi * 100, rel=0.02)
    decoded = coco_mask.decode({**annotations[3]["segmentation"], "counts": annotations[3]["segmentation"]["counts"]})
    expected = np.zeros((48, 64), np.uint8)
    expected[6:17, 5:26] = pixels // 255
    assert (decoded == expected).all()


def test_polygons_of_a_group_are_one_object(write_files, pack_one):
    other = [[40, 10], [50, 10], [50, 20]]
    shapes = [shape(group=1), shape("dog", group=1), shape(points=other, group=1), shape(points=other, group=2)]
    packed = pack_one(write_files({"a.json": labelme(*shapes)}, ["a.jpg"]))
    assert packed.objects["a.jpg"] == [("cat", 10, 10, 50, 40), ("dog", 10, 10, 30, 40), ("cat", 40, 10, 50, 20)]
    assert len(packed.records["a.jpg"]["annotations"][0]["segmentation"]) == 2


def test_labels_that_are_no_classes_are_left_out_and_counted(write_files, pack):
    """They are no loss, however many there are."""
    shapes = [shape("__ignore__"), shape(), shape("_background_", group=1), shape("__ignore__", [[1, 1]], "point")]
    texts = {"a.json": labelme(*shapes), "b.json": labelme(shape("__ignore__"), image="b.jpg")}
    packed = pack(write_files(texts, ["a.jpg", "b.jpg"]), strict=True).splits[""]
    assert packed.classes == ["cat"]
    assert packed.objects == {"a.jpg": [("cat", 10, 10, 30, 40)], "b.jpg": []}
    assert packed.report == {"no_class": 4, "empty_image": 1}


def test_an_image_inside_counts_where_there_is_no_file(write_files, pack_one):
    inside = base64.b64encode(image_bytes()).decode()
    texts = {"a.json": labelme(shape(), data=inside), "b.json": labelme(shape(), image="b.jpg", data="####")}
    packed = pack_one(write_files(texts, ["b.jpg"]))
    assert packed.objects.keys() == {"a.jpg", "b.jpg"}
    assert packed.report == {"embedded_image": 1}


@pytest.mark.parametrize(
    "stated", ["../images/a.jpg", "..\\images\\a.jpg", "C:\\work\\images\\a.jpg", "a.jpg", "", None]
)
def test_images_in_another_folder(write_files, pack_one, stated):
    packed = pack_one(write_files({"json/a.json": labelme(shape(), image=stated)}, ["images/a.jpg"]))
    assert packed.objects == {"images/a.jpg": [("cat", 10, 10, 30, 40)]}


def test_folders_of_splits(write_files, pack):
    texts = {"train/a.json": labelme(shape()), "val/b.json": labelme(shape("dog"), image="b.jpg")}
    packed = pack(write_files(texts, ["train/a.jpg", "val/b.jpg"]))
    assert {split: each.classes for split, each in packed.splits.items()} == {
        "train": ["cat", "dog"],
        "val": ["cat", "dog"],
    }


def test_bad_files(write_files, pack_one, refusal):
    texts = {
        "a.json": labelme(shape(points=[[1, 1], [9, 9]]), shape(points="x"), 3, shape("", kind="rectangle")),
        "b.json": labelme(shape(), image="../../secret.jpg"),
        "c.json": '{"shapes": [',
        "d.json": labelme(shape(), image="e.jpg"),
        "e.json": labelme(shape(), image="e.jpg"),
        "f.json": labelme(shape("cat", [[1, 1], [5, 5]], "mask", mask="####"), image="f.jpg"),
        "lost.json": labelme(shape(), image="lost.jpg"),
    }
    root = write_files(texts, ["a.jpg", "../secret.jpg", "e.jpg", "f.jpg"])
    assert "5 of 7 images would be left out" in refusal(root)
    packed = pack_one(root)
    assert packed.objects == {"a.jpg": [], "f.jpg": []}
    assert packed.report == {
        "missing_image": 2,
        "malformed_labels": 1,
        "two_annotation_files": 2,
        "malformed_object": 3,
        "missing_box": 1,
        "unknown_class": 1,
        "emptied_image": 2,
    }


def test_by_name(write_files, tmp_path, capsys):
    root = write_files({"a.json": labelme(shape())}, ["a.jpg"])
    assert main(["pack", "labelme", str(root), "--out", str(tmp_path / "out")]) == 0
    assert "found LabelMe (1 JSON file, 1 image)" in capsys.readouterr().out
    assert main(["pack", "labelme", str(write_files({"a.json": "{"})), "--out", str(tmp_path / "out2")]) == 1
    assert "no JSON file of LabelMe" in capsys.readouterr().err
    assert main(["pack", "auto", str(root), "--out", str(tmp_path / "out2")]) == 1
    assert "malformed JSON" in capsys.readouterr().err


def test_a_corner_that_is_no_number_does_not_make_a_smaller_box(write_files, pack_one):
    corners = [[20, 10], [30, 20], [math.nan, 30], [10, 20]]
    packed = pack_one(write_files({"a.json": labelme(shape(points=corners, kind="rotation"), shape())}, ["a.jpg"]))
    assert len(packed.objects["a.jpg"]) == 1
    assert packed.report["non_finite_box"] == 1
