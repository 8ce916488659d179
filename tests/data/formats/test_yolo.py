import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lightning_rcnn.cli import main
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.yolo import read_yolo
from lightning_rcnn.data.pack.any_format import found_data

CAT = "0 0.5 0.5 0.25 0.5\n"  # of 64 x 48: 24..40, 12..36
DOG = "1 0.25 0.25 0.5 0.5\n"
CAT_BOX, DOG_BOX = ("cat", 24, 12, 40, 36), ("dog", 0, 0, 32, 24)


def roboflow(**yaml):
    """Roboflow's export: paths that begin with ../ although the folders are beside the file, and no test images."""
    keys = {"train": "../train/images", "val": "../valid/images", "test": "../test/images", "nc": 2}
    keys |= {"names": "['cat', 'dog']"} | yaml
    files = {"data.yaml": "".join(f"{key}: {value}\n" for key, value in keys.items() if value is not None)}
    files |= {"train/labels/a.txt": CAT + DOG, "train/labels/b.txt": "", "valid/labels/c.txt": DOG}
    return files | {"README.roboflow.txt": "0 images"}, [
        "train/images/a.jpg",
        "train/images/b.jpg",
        "valid/images/c.jpg",
    ]


def test_roboflow(write_files, pack):
    packed = pack(write_files(*roboflow()))
    assert packed.title == "found YOLO (data.yaml, 2 splits: train 2, val 1); test: no ../test/images, left out"
    train, val = packed.splits["train"], packed.splits["val"]
    assert train.classes == val.classes == ["cat", "dog"]
    assert train.objects == {"train/images/a.jpg": [CAT_BOX, DOG_BOX], "train/images/b.jpg": []}
    assert val.objects == {"valid/images/c.jpg": [DOG_BOX]}
    assert train.report == {"empty_image": 1}


LAYOUTS = {
    "ultralytics": (
        {
            "coco8.yaml": "path: ../data/set\ntrain: images/train\nval: images/val\ntest:\nnames:\n  0: cat\n  1: dog",
            "labels/train/a.txt": CAT,
            "labels/val/b.txt": DOG,
        },
        ["images/train/a.jpg", "images/val/b.jpg"],
        {"train": {"images/train/a.jpg": [CAT_BOX]}, "val": {"images/val/b.jpg": [DOG_BOX]}},
    ),
    "lists": (
        {
            "data.yaml": "path: .\ntrain: train.txt\nval: val.txt\nnames: [cat, dog]\n",
            "train.txt": "./images/a.jpg\n",
            "val.txt": "/content/set/images/b.jpg\n",
            "labels/a.txt": CAT,
            "labels/b.txt": DOG,
        },
        ["images/a.jpg", "images/b.jpg"],
        {"train": {"images/a.jpg": [CAT_BOX]}, "val": {"images/b.jpg": [DOG_BOX]}},
    ),
    "darknet": (
        {
            "obj.data": "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n",
            "obj.names": "cat\ndog\n",
            "train.txt": "data/obj_train_data/a.jpg\ndata/obj_train_data/b.jpg\n",
            "obj_train_data/a.txt": CAT,
            "obj_train_data/b.txt": DOG,
        },
        ["obj_train_data/a.jpg", "obj_train_data/b.jpg"],
        {"train": {"obj_train_data/a.jpg": [CAT_BOX], "obj_train_data/b.jpg": [DOG_BOX]}},
    ),
    "labelimg": (
        {"classes.txt": "cat\ndog\n", "a.txt": CAT, "b.txt": DOG},
        ["a.jpg", "b.JPG"],
        {"": {"a.jpg": [CAT_BOX], "b.JPG": [DOG_BOX]}},
    ),
    "label studio": (
        {"classes.txt": "cat\ndog\n", "notes.json": {"categories": []}, "labels/a.txt": CAT, "labels/b.txt": DOG},
        ["images/a.jpg", "images/b.jpg"],
        {"": {"images/a.jpg": [CAT_BOX], "images/b.jpg": [DOG_BOX]}},
    ),
    "folders of other names": (
        {"obj.names": "cat\ndog\n", "txt/a.txt": CAT, "txt/b.txt": DOG},
        ["imgs/a.jpg", "imgs/b.jpg"],
        {"": {"imgs/a.jpg": [CAT_BOX], "imgs/b.jpg": [DOG_BOX]}},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(write_files, pack, name):
    texts, images, expected = LAYOUTS[name]
    packed = pack(write_files(texts, images), strict=True)
    assert {split: each.objects for split, each in packed.splits.items()} == expected
    assert all(each.classes == ["cat", "dog"] for each in packed.splits.values())


def test_empty_labels_beside_a_list_of_classes_are_negatives(write_files, pack_one, recognized):
    root = write_files({"classes.txt": "cat\ndog", "labels/a.txt": "", "notes.txt": "made in May"}, ["images/a.jpg"])
    packed = pack_one(root)
    assert (packed.classes, packed.objects) == (["cat", "dog"], {"images/a.jpg": []})
    assert recognized(write_files({"labels/a.txt": "a caption"})) == []


COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 6, 10, 20], "area": 200, "iscrowd": 0}],
    "categories": [{"id": 1, "name": "cat"}],
}
VOC = "<annotation><filename>a.jpg</filename><size><width>64</width><height>48</height></size></annotation>"


@pytest.mark.parametrize(("file", "content", "name"), [("instances.json", COCO, "coco"), ("a.xml", VOC, "voc")])
@pytest.mark.parametrize("classes", ["labels.txt", "classes.txt"])
def test_an_empty_text_file_beside_other_annotations_is_no_label_file(
    write_files, recognized, file, content, name, classes
):
    """Such as a caption that nobody wrote; with an object in it there are two formats, of which one is chosen."""
    root = write_files({file: content, classes: "cat\n", "a.txt": ""}, ["a.jpg"])
    assert recognized(root) == [name]
    assert set(recognized(write_files({"a.txt": CAT}))) == {"yolo", name}


def test_polygons_are_masks(write_files, pack_one):
    polygon = np.array([0.25, 0.25, 0.75, 0.25, 0.75, 0.75, 0.25, 0.75, 0.125, 0.5])
    line = "1 " + " ".join(map(str, polygon))
    packed = pack_one(write_files({"classes.txt": "cat\ndog", "a.txt": f"{line}\n{CAT}"}, ["a.jpg"]))
    mask = packed.records["a.jpg"]["annotations"][0]["segmentation"]
    expected = (polygon.reshape(-1, 2) * (64, 48)).ravel().tolist()
    assert mask == [expected]
    assert packed.objects["a.jpg"] == [("dog", 8, 12, 48, 36), CAT_BOX]
    assert packed.records["a.jpg"]["annotations"][0]["area"] == coco_mask.area(
        coco_mask.merge(coco_mask.frPyObjects([expected], 48, 64))
    )


QUADRILATERAL = "0 .2 .3 .6 .2 .7 .6 .3 .7\n"
UPRIGHT, TRAPEZOID = "0 .2 .2 .6 .2 .6 .6 .2 .6\n", "0 .2 .2 .6 .2 .5 .6 .3 .6\n"


def test_oriented_boxes_are_refused_by_name_and_can_be_polygons(write_files, pack, refusal):
    root = write_files({"classes.txt": "cat", "a.txt": QUADRILATERAL, "b.txt": QUADRILATERAL}, ["a.jpg", "b.jpg"])
    message = refusal(root)
    assert "oriented boxes (YOLO OBB)" in message
    assert "--quadrilaterals polygons" in message
    found = found_data("yolo", root, read_yolo(Layout(root), quadrilaterals="polygons"))
    assert pack(root, found).splits[""].has_masks
    upright = write_files({"a.txt": UPRIGHT, "b.txt": UPRIGHT + TRAPEZOID})
    assert pack(upright).splits[""].has_masks, "upright boxes are the same as polygons"
    mixed = write_files({"a.txt": QUADRILATERAL} | {"b.txt": "0 .2 .3 .6 .2 .7 .6\n"}, [])
    assert pack(mixed).splits[""].has_masks


@pytest.mark.parametrize(
    ("line", "defect", "place"),
    [
        ("7 .5 .5 .2 .2", "unknown_class", "line 1: class 7, the classes are 0 to 1"),
        ("0 .5 .5 .2 .2 .9", "malformed_object", "line 1: 6 columns, a box has 5"),
        ("0 .5 .5 .2", "malformed_object", "line 1: 4 columns"),
        ("0 320 240 64 48", "beyond_relative", "line 1"),
        ("0 .5 .5 nan .2", "non_finite_box", ""),
        ("cat .5 .5 .2 .2", "malformed_object", "line 1: not numbers"),
        ("0 .5 .5 0 .2", "zero_area_box", ""),
        ("0 .5 .5 -.2 .2", "inverted_box", ""),
    ],
)
def test_bad_lines_are_skipped_by_their_rules_and_refused_where_they_are_many(
    write_files, pack_one, refusal, line, defect, place
):
    root = write_files({"classes.txt": "cat\ndog", "a.txt": line, "b.txt": CAT}, ["a.jpg", "b.jpg"])
    message = refusal(root)
    assert f"{defect} x 1 (first: a.jpg, " in message
    assert place in message
    packed = pack_one(root)
    assert packed.objects == {"a.jpg": [], "b.jpg": [CAT_BOX]}
    assert packed.report[defect] == packed.report["emptied_image"] == 1


def test_boxes_a_little_outside_are_clipped(write_files, pack_one):
    packed = pack_one(write_files({"classes.txt": "cat", "a.txt": "0 1 .5 .5 .5"}, ["a.jpg"]))
    assert packed.objects == {"a.jpg": [("cat", 48, 12, 64, 36)]}
    assert packed.report == {"box_partly_outside": 1}


def test_image_and_labels_without_each_other(write_files, pack, refusal):
    texts, images = roboflow()
    del texts["train/labels/b.txt"]
    texts["train/labels/lost.txt"] = CAT
    root = write_files(texts, images)
    assert "missing_image x 1 (first: train/labels/lost.txt" in refusal(root)
    assert pack(root).splits["train"].report == {"missing_image": 1, "empty_image": 1}


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ({"names": None}, "no file names them; add `names` to data.yaml"),
        ({"names": "[cat]"}, "nc is 2, but names has 1 class"),
        ({"names": "[cat"}, "malformed YAML"),
        ({"names": "cat"}, "names must be a list"),
        ({"train": 3}, "train must be a folder"),
        ({"train": "nowhere", "val": "neither", "test": None}, "none of its splits is there (train: no nowhere"),
    ],
)
def test_bad_yaml(write_files, refusal, yaml, words):
    assert words in refusal(write_files(*roboflow(**yaml)))


@pytest.mark.parametrize("file", ["data.yaml", "obj.data"])
def test_splits_are_called_as_cvat_calls_its_subsets(write_files, pack, file):
    """Images of no split are reported."""
    texts = {
        "data.yaml": "names: {0: cat, 1: dog}\npath: .\nTrain: Train.txt\nvalidation: validation.txt\n",
        "obj.data": "classes = 2\nTrain = data/Train.txt\nvalidation = data/validation.txt\nnames = data/obj.names\n",
    }
    texts = {file: texts[file], "obj.names": "cat\ndog\n", "Train.txt": "data/images/Train/a.jpg\n"}
    texts |= {
        "validation.txt": "data/images/validation/b.jpg\n",
        "labels/Train/a.txt": CAT,
        "labels/validation/b.txt": DOG,
    }
    images = ["images/Train/a.jpg", "images/validation/b.jpg", "images/Test/c.jpg"]
    packed = pack(write_files(texts, images))
    assert packed.splits["train"].objects == {"images/Train/a.jpg": [CAT_BOX]}
    assert packed.splits["val"].objects == {"images/validation/b.jpg": [DOG_BOX]}
    assert packed.splits["train"].report == {"unlisted_file": 1}


def test_other_keys_that_sound_like_splits_are_passed_over(write_files, pack):
    yaml = roboflow(training="{epochs: 3}", validation="true")
    assert list(pack(write_files(*yaml)).splits) == ["train", "val"]


@pytest.mark.parametrize(
    ("names", "classes", "note"),
    [
        ("[yes, no]", ["yes", "no"], ""),
        ("{0: on, 1: 007}", ["on", "007"], ""),
        ("[cat, cat]", ["cat"], "; names has cat more than once: one class"),
    ],
)
def test_names_of_classes_are_taken_as_written(write_files, pack, names, classes, note):
    packed = pack(write_files(*roboflow(names=names, test=None)))
    assert packed.splits["train"].classes == classes
    assert packed.title == f"found YOLO (data.yaml, 2 splits: train 2, val 1){note}"


def test_without_a_list_of_classes(write_files, refusal, pack):
    root = write_files({"a.txt": CAT}, ["a.jpg"])
    assert f"in their order, as in `lightning-rcnn pack yolo {root} --class_names cat,dog`" in refusal(root)
    found = found_data("yolo", root, read_yolo(Layout(root), ["cat"]))
    assert pack(root, found).splits[""].objects == {"a.jpg": [CAT_BOX]}


def test_a_name_in_a_list_that_leads_out_of_the_set_is_not_read(write_files, refusal):
    lists = "data.yaml", "train: train.txt\nnames: [cat]\n"
    root = write_files(
        dict([lists]) | {"train.txt": "a.jpg\n../secret.jpg\n", "a.txt": CAT}, ["a.jpg", "../secret.jpg"]
    )
    assert "file_outside_folder x 1 (first: ../secret.jpg)" in refusal(root)


def test_the_command_says_what_it_found_and_packs_every_split(write_files, tmp_path, capsys, monkeypatch):
    root = write_files(*roboflow())
    assert main(["pack", "auto", str(root), "--out", str(tmp_path / "shards")]) == 0
    output = capsys.readouterr().out
    assert output.startswith("found YOLO (data.yaml, 2 splits: train 2, val 1)")
    assert {path.name for path in (tmp_path / "shards").iterdir()} == {"train", "val"}
    assert main(["pack", "yolo", str(root), "--out", str(tmp_path / "shards"), "--overwrite", "--classes", "dog"]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["pack", "auto", str(root / "data.yaml")]) == 0
    assert (tmp_path / "shards" / "data" / "val" / "index.json").is_file()


def test_one_bad_split_leaves_nothing_of_the_others(write_files, refusal):
    texts, images = roboflow()
    assert "set/val: 1 of 1 objects would be left out" in refusal(
        write_files(texts | {"valid/labels/c.txt": "9 .5 .5 .1 .1"}, images)
    )


def test_an_unknown_folder(write_files, refusal):
    assert "no annotations of a known format" in refusal(write_files({"notes.md": "none"}, ["a.jpg"]))
    assert "no such file or folder" in refusal(write_files({}) / "nowhere")
