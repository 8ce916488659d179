"""COCO's panoptic segmentation, as its archive has it: things become objects, stuff is left out."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lightning_rcnn.data.formats import layout

CATEGORIES = [
    {"id": 17, "name": "cat", "supercategory": "animal", "isthing": 1, "color": [255, 179, 240]},
    {"id": 1, "name": "person", "supercategory": "person", "isthing": 1, "color": [220, 20, 60]},
    {"id": 187, "name": "sky", "supercategory": "sky", "isthing": 0, "color": [70, 130, 180]},
]
CAT_ID, PERSON_ID, SKY_ID = 3226956, 70000, 255
"""The first, 76 + 61 * 256 + 49 * 65536, is the color (76, 61, 49)."""


def ids():
    """The sky above a person and a cat, which hides a part of it; the rest is no segment."""
    numbers = np.zeros((48, 64), int)
    numbers[:10] = SKY_ID
    numbers[10:40, 20:30] = PERSON_ID
    numbers[30:46, 25:45] = CAT_ID
    return numbers


def png(numbers):
    return np.dstack([numbers % 256, numbers // 256 % 256, numbers // 65536]).astype(np.uint8)


def segment(number, category, **more):
    return {"id": number, "category_id": category, "iscrowd": 0, "bbox": [0, 0, 1, 1], "area": 1} | more


SEGMENTS = [segment(SKY_ID, 187), segment(PERSON_ID, 1), segment(CAT_ID, 17, iscrowd=1)]


def panoptic(*names, segments=SEGMENTS, categories=CATEGORIES):
    images = [{"id": n, "file_name": f"{name}.jpg", "width": 64, "height": 48} for n, name in enumerate(names, 1)]
    listed = [{"image_id": n, "file_name": f"{name}.png", "segments_info": segments} for n, name in enumerate(names, 1)]
    return {"images": images, "annotations": listed, "categories": categories}


def coco_layout(**contents):
    texts = {f"annotations/panoptic_{split}.json": content for split, content in contents.items()}
    for split, content in contents.items():
        texts |= {f"annotations/panoptic_{split}/{each['file_name']}": png(ids()) for each in content["annotations"]}
    return texts


def test_things_of_both_splits(write_files, pack):
    assert png(np.array([[CAT_ID]])).tolist() == [[[76, 61, 49]]]
    texts = coco_layout(train2017=panoptic("a", "b"), val2017=panoptic("a"))
    packed = pack(write_files(texts, ["train2017/a.jpg", "train2017/b.jpg", "val2017/a.jpg"]), strict=True)
    assert packed.title == (
        "found COCO panoptic (annotations/panoptic_train2017.json, annotations/panoptic_val2017.json, "
        "2 splits: train 2, val 1)"
    )
    train = packed.splits["train"]
    assert train.classes == ["person", "cat"], "things in the order of their ids"
    assert train.objects["train2017/a.jpg"] == [("person", 20, 10, 30, 40), ("cat", 25, 30, 45, 46)]
    assert train.report == {"no_class": 2, "crowd": 2}
    person, cat = train.records["train2017/a.jpg"]["annotations"]
    assert (person["iscrowd"], cat["iscrowd"]) == (0, 1)
    rle = person["segmentation"]
    mask = coco_mask.decode({**rle, "counts": rle["counts"].encode()})
    assert (mask == (ids() == PERSON_ID)).all()
    assert mask.sum() == 30 * 10 - 10 * 5
    assert list(packed.splits["val"].objects) == ["val2017/a.jpg"]


def test_beside_instances_these_count(write_files, recognized):
    instances = {"images": panoptic("a")["images"], "annotations": [], "categories": CATEGORIES}
    instances["annotations"] = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]
    root = write_files(
        coco_layout(val2017=panoptic("a")) | {"annotations/instances_val2017.json": instances}, ["a.jpg"]
    )
    assert recognized(root) == ["coco"]
    assert recognized(root / "annotations/panoptic_val2017.json") == ["panoptic"]


def test_a_large_file_is_known_by_its_end(write_files, recognized, monkeypatch):
    content = {"info": {}} | panoptic("a")
    root = write_files({"panoptic.json": json.dumps(content), "panoptic/a.png": png(ids())}, ["images/a.jpg"])
    monkeypatch.setattr(layout, "_MAX_PARSED", 1)
    assert recognized(root) == ["panoptic"]


def test_images_in_png_beside_masks_of_the_same_names(write_files, pack_one):
    content = panoptic("a")
    content["images"][0]["file_name"] = "a.png"
    root = write_files({"x.json": content, "x/a.png": png(ids())}, ["images/a.png", "images/c.png"])
    packed = pack_one(root)
    assert list(packed.objects) == ["images/a.png"]
    assert packed.report == {"no_class": 1, "crowd": 1, "unlisted_file": 1}


def test_bad_entries_are_counted(write_files, pack_one):
    """A category that nobody knows, an id twice, one without pixels, no segment, and a color of no segment."""
    bad = [segment(PERSON_ID, 99), segment(CAT_ID, 17), segment(CAT_ID, 17), segment(5, 17), 3]
    content = panoptic("a", "b", "c", "d")
    content["annotations"][0]["segments_info"] = bad
    content["annotations"][1]["file_name"] = "lost.png"
    content["annotations"].append({"image_id": 9, "file_name": "a.png", "segments_info": []})
    content["annotations"].append(content["annotations"][2] | {"file_name": "a.png"})
    del content["annotations"][3]
    content["images"].append({"id": "x", "file_name": ""})
    texts = {"x.json": content, "x/a.png": png(ids()), "x/b.png": ids().astype(np.uint8), "x/c.png": png(ids())}
    packed = pack_one(write_files(texts, [f"{name}.jpg" for name in "abcd"]))
    assert packed.objects == {"a.jpg": [("cat", 25, 30, 45, 46)]}
    assert packed.report == {
        "unknown_class": 1,
        "malformed_object": 3,
        "empty_mask": 1,
        "malformed_labels": 1,
        "unknown_image": 1,
        "two_annotation_files": 2,
        "image_without_annotation": 1,
        "invalid_image_entry": 1,
        "unlisted_file": 1,
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (panoptic("a", categories=[{"id": 1, "name": "cat"}]), "lacks id, name or isthing, which says whether"),
        (panoptic("a") | {"categories": {}}, "'categories' is no list of objects"),
        (
            panoptic("a", categories=[*CATEGORIES, {"id": 17, "name": "dog", "isthing": 1}]),
            "the category id 17 is both 'cat' and 'dog'",
        ),
    ],
)
def test_bad_files_are_refused(write_files, refusal, content, words):
    assert words in refusal(write_files({"x.json": content, "x/a.png": png(ids())}, ["a.jpg"]))


def test_two_files_of_one_split_are_refused(write_files, refusal):
    texts = coco_layout(val2017=panoptic("a"), val_small=panoptic("a"))
    assert "several panoptic files of one split; choose one: `lightning-rcnn pack" in refusal(
        write_files(texts, ["a.jpg"])
    )
