"""JSON Lines with an image a line: Hugging Face's metadata.jsonl, as its documentation shows it, and others."""

import json

import pytest

from lightning_rcnn.cli import main
from lightning_rcnn.data.pack.any_format import read_data

CAT, DOG = ("cat", 5, 6, 15, 26), ("dog", 10, 10, 30, 40)
BOXES = {"bbox": [[5.0, 6.0, 10.0, 20.0], [10.0, 10.0, 20.0, 30.0]], "categories": [0, 1]}
"""CAT and DOG as x, y, width and height."""
README = """---
license: cc-by-4.0
dataset_info:
  features:
  - name: image
    dtype: image
  - name: objects
    struct:
    - name: bbox
      sequence:
        sequence: float64
    - name: categories
      sequence:
        class_label:
          names:
            '0': cat
            '1': dog
---
# Animals
"""


def lines(*contents):
    return "".join(f"{json.dumps(content)}\n" for content in contents)


def test_metadata_of_hugging_face_with_the_names_of_its_readme(write_files, pack):
    texts = {
        "README.md": README,
        "train/metadata.jsonl": lines({"file_name": "a.jpg", "objects": BOXES}),
        "test/metadata.jsonl": lines({"file_name": "a.jpg", "objects": {"bbox": [], "categories": []}}),
    }
    packed = pack(write_files(texts, ["train/a.jpg", "test/a.jpg"]), strict=True)
    assert packed.title == (
        "found JSON Lines (test/metadata.jsonl, train/metadata.jsonl, 2 splits: train 1, test 1); "
        "boxes in objects.bbox as xywh"
    )
    assert packed.splits["train"].objects == {"train/a.jpg": [CAT, DOG]}
    assert packed.splits["train"].classes == packed.splits["test"].classes == ["cat", "dog"]
    assert packed.splits["test"].objects == {"test/a.jpg": []}


def test_a_long_first_line_is_read_to_its_end(write_files, pack):
    """Masks of many objects are more than the beginning of a file by which other formats are recognized."""
    number = 6000
    content = {"image": "a.jpg", "boxes": [[35.0, 26.0, 55.0, 46.0]] * number, "labels": ["cat"] * number}
    text = lines(content)
    assert len(text) > 1 << 17
    assert len(pack(write_files({"x.jsonl": text}, ["a.jpg"])).splits[""].objects["a.jpg"]) == number


def test_numbers_without_names_are_classes_in_their_order(write_files, pack):
    objects = {"bbox": [[5, 6, 10, 20], [10, 10, 20, 30]], "category": [10, 2]}
    packed = pack(write_files({"metadata.jsonl": lines({"file_name": "a.jpg", "objects": objects})}, ["a.jpg"]))
    assert packed.title.endswith("its classes are numbers: --class_names 0=cat,1=dog of `pack jsonl` names them")
    assert packed.splits[""].classes == ["2", "10"]


@pytest.mark.parametrize(
    "content",
    [
        {"file_name": "train/a.jpg", "objects": [{"bbox": [5, 6, 10, 20], "label": "cat"}]},
        {"image": "train/a.jpg", "width": 64, "height": 48, "bbox": [[5, 6, 10, 20]], "labels": ["cat"]},
        {"file_name": "train/a.jpg", "objects": {"bbox": [[5 / 64, 6 / 48, 10 / 64, 20 / 48]], "category": ["cat"]}},
    ],
    ids=["a dictionary an object", "lists beside the name", "shares of the size"],
)
def test_other_spellings(write_files, pack, content):
    packed = pack(write_files({"metadata.jsonl": lines(content)}, ["train/a.jpg"]))
    assert packed.splits["train"].objects == {"train/a.jpg": [CAT]}


def test_corners_are_recognized_where_no_other_form_fits(write_files, pack):
    """As in the files of Grounding DINO's trainers."""
    instances = [{"bbox": [5, 6, 15, 26], "category": "cat"}, {"bbox": [40, 10, 60, 40], "category": "dog"}]
    content = {"filename": "a.jpg", "height": 48, "width": 64, "detection": {"instances": instances}}
    packed = pack(write_files({"odvg.jsonl": lines(content)}, ["a.jpg"]))
    assert "boxes in detection.instances.bbox as xyxy" in packed.title
    assert packed.splits[""].objects == {"a.jpg": [CAT, ("dog", 40, 10, 60, 40)]}


def test_boxes_of_unclear_form_are_refused_in_files_of_others(write_files, refusal):
    content = {"file_name": "a.jpg", "boxes": [[1, 2, 3, 4]], "labels": ["cat"]}
    root = write_files({"boxes.jsonl": lines(content)}, ["a.jpg"])
    words = "(`lightning-rcnn pack jsonl`), boxes: its boxes may be xyxy or xywh or cxcywh; say which with --boxes xyxy"
    assert words in refusal(root)


def test_fields_and_names_are_given(write_files, tmp_path, capsys, read_set):
    content = {"img": "a.jpg", "things": [{"place": [5, 6, 15, 26], "kind": 1}]}
    root = write_files({"x.jsonl": lines(content)}, ["a.jpg"])
    assert main(["pack", "auto", str(root), "--out", str(tmp_path / "no")]) == 1
    message = capsys.readouterr().err
    assert "x.jsonl has lines with the keys img, things; if a line is an image, name them, for example" in message
    options = ["--map", "file_name=img,boxes=things.place,labels=things.kind", "--boxes", "xyxy"]
    out = tmp_path / "packed"
    assert main(["pack", "jsonl", str(root), *options, "--class_names", "1=cat", "--out", str(out)]) == 0
    assert read_set(out).objects == {"a.jpg": [CAT]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (lines({"file_name": "a.jpg", "objects": BOXES}) + "{", "line 2: malformed JSON"),
        (lines({"file_name": "a.jpg", "objects": BOXES}, {"objects": BOXES}), "line 2: names no image"),
        (lines({"file_name": "a.jpg", "objects": BOXES}, []), "line 2: is list, not a dictionary"),
    ],
)
def test_a_bad_line_is_named(write_files, refusal, text, words):
    root = write_files({"metadata.jsonl": text}, ["a.jpg"])
    assert f"metadata.jsonl, {words}" in refusal(root)


def test_bad_objects_are_counted(write_files, pack):
    contents = [
        {"file_name": "a.jpg", "objects": {"bbox": [[5, 6, 10, 20], [1, 2]], "category": ["cat", "cat"]}},
        {"file_name": "b.jpg", "objects": {"bbox": [[5, 6, 10, 20]], "category": ["cat", "cat"]}},
        {"file_name": "../c.jpg", "objects": {"bbox": [], "category": []}},
        {"file_name": "d.jpg"},
    ]
    root = write_files({"metadata.jsonl": lines(*contents)}, ["a.jpg", "b.jpg", "d.jpg", "e.jpg"])
    packed = pack(root).splits[""]
    assert packed.objects == {"a.jpg": [CAT]}
    assert packed.report == {"missing_box": 1, "malformed_labels": 2, "missing_image": 1, "unlisted_file": 1}


def test_results_of_detect_are_no_annotations(write_files, refusal):
    found = {"image": "a.jpg", "objects": [{"box": [1, 2, 3, 4], "class": "cat", "score": 1}]}
    assert "results.jsonl has lines with the keys" in refusal(write_files({"results.jsonl": lines(found)}, ["a.jpg"]))


# Ultralytics' NDJSON

HEADER = {"type": "dataset", "task": "detect", "name": "animals", "class_names": {"0": "cat", "1": "dog"}}
CAT_ROW, DOG_ROW = [0, 10 / 64, 16 / 48, 10 / 64, 20 / 48], [1, 20 / 64, 25 / 48, 20 / 64, 30 / 48]


def entry(file, split, annotations=None, **others):
    stated = {} if annotations is None else {"annotations": annotations}
    return {"type": "image", "file": file, "width": 64, "height": 48, "split": split, **others} | stated


def test_ndjson_with_images_where_ultralytics_puts_them(write_files, pack):
    content = lines(
        HEADER, entry("a.jpg", "train", {"boxes": [CAT_ROW, DOG_ROW]}), entry("a.jpg", "val", url="http://x")
    )
    packed = pack(write_files({"animals.ndjson": content}, ["images/train/a.jpg", "images/val/a.jpg"]), strict=True)
    assert packed.title == "found Ultralytics' NDJSON (animals.ndjson, 2 splits: train 1, val 1)"
    assert packed.splits["train"].objects == {"images/train/a.jpg": [CAT, DOG]}
    assert packed.splits["val"].objects == {"images/val/a.jpg": []}


def test_polygons_and_keypoints_of_ndjson(write_files, pack):
    polygon = [0, 5 / 64, 6 / 48, 15 / 64, 6 / 48, 15 / 64, 26 / 48, 5 / 64, 26 / 48]
    content = lines(HEADER | {"task": "segment"}, entry("a.jpg", "train", {"segments": [polygon]}))
    (record,) = pack(write_files({"a.ndjson": content}, ["a.jpg"])).splits["train"].records.values()
    assert record["annotations"][0]["bbox"] == [5, 6, 15, 26]
    assert record["annotations"][0]["segmentation"] == [[5, 6, 15, 6, 15, 26, 5, 26]]
    pose = HEADER | {"task": "pose", "kpt_shape": [2, 3], "kpt_names": {"0": ["nose", "tail"], "1": ["nose", "tail"]}}
    content = lines(pose, entry("a.jpg", "train", {"pose": [[*CAT_ROW, 0.125, 0.25, 2, 0, 0, 0]]}))
    (record,) = pack(write_files({"a.ndjson": content}, ["a.jpg"])).splits["train"].records.values()
    assert record["annotations"][0]["keypoints"] == [8, 12, 2, 0, 0, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (lines(HEADER | {"task": "obb"}, entry("a.jpg", "train")), "line 1: oriented boxes (YOLO OBB)"),
        (lines(HEADER | {"task": "classify"}, entry("a.jpg", "train")), "line 1: has the task classify"),
        (lines({"type": "dataset"}, entry("a.jpg", "train")), "line 1: names no classes"),
        (lines(HEADER), "describes no images"),
        (lines(HEADER, {"type": "image"}), "line 2: names no image"),
        (lines(HEADER) + "{", "line 2: malformed JSON"),
        (lines(HEADER) + "[]", "line 2: is list, not a dictionary"),
        (lines(HEADER, entry("lost.jpg", "train", url="http://x")), "its images are not here, only their addresses"),
    ],
)
def test_ndjson_that_cannot_be_packed_is_refused_in_one_line(write_files, refusal, text, words):
    assert words in refusal(write_files({"a.ndjson": text}, ["a.jpg"]))


def test_bad_rows_of_ndjson_are_counted(write_files, pack):
    rows = [CAT_ROW, [7, 0.5, 0.5, 0.1, 0.1], [0, 0.5], ["x", 0.5, 0.5, 0.1, 0.1], 3]
    root = write_files({"a.ndjson": lines(HEADER, entry("a.jpg", "train", {"boxes": rows}))}, ["a.jpg"])
    packed = pack(root, read_data("ndjson", root)).splits["train"]
    assert packed.objects == {"a.jpg": [CAT]}
    assert packed.report == {"unknown_class": 1, "malformed_object": 3}
