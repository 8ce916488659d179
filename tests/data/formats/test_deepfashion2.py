"""DeepFashion2, in the form in which it is published: a JSON file for each image."""

import numpy as np
from pycocotools import mask as coco_mask

CAT, DOG = ("cat", 5, 6, 15, 26), ("dog", 10, 10, 30, 40)


def item(name, number, edges, **more):
    return {"category_name": name, "category_id": number, "bounding_box": list(edges), "style": 1} | more


CORNERS = [10, 10, 30, 10, 30, 40, 10, 40]


def test_deepfashion2(write_files, pack):
    """Files of both splits have the same names; landmarks are left out."""
    shown = {
        "source": "user",
        "pair_id": 1,
        "item1": item("trousers", 8, DOG[1:], segmentation=[CORNERS], landmarks=[12, 12, 2]),
        "item2": item("vest", 5, CAT[1:], segmentation=[[5, 6, 15, 6, 15, 26]]),
    }
    texts = {"train/annos/000001.json": shown, "validation/annos/000001.json": {**shown, "source": "shop"}}
    images = ["train/image/000001.jpg", "validation/image/000001.jpg"]
    packed = pack(write_files(texts, images))
    assert packed.title == "found DeepFashion2 (2 JSON files, 2 splits: train 1, val 1)"
    assert packed.splits["val"].objects == {images[1]: [("trousers", *DOG[1:]), ("vest", *CAT[1:])]}
    train = packed.splits["train"]
    assert train.report == {"keypoints": 1}
    assert len(train.classes) == 13
    mask = train.records[images[0]]["annotations"][0]["segmentation"]
    pixels = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(mask, 48, 64)))
    expected = np.zeros((48, 64), np.uint8)
    expected[10:40, 10:30] = 1
    assert (pixels == expected).all()


def test_bad_items_of_deepfashion2_are_counted(write_files, pack_one):
    content = {"source": "user", "pair_id": 1, "item1": item("vest", 5, CAT[1:], segmentation=[[1, 2, 3, 4]])}
    content |= {"item2": item("hat", 14, CAT[1:]), "item3": 3, "item4": item("vest", 5, [1, 2, 3])}
    content |= {"item5": {"category_id": 8, "bounding_box": list(DOG[1:])}}
    texts = {"annos/1.json": content, "annos/2.json": "{", "annos/lost.json": content}
    packed = pack_one(write_files(texts, ["image/1.jpg", "image/2.jpg"]))
    assert packed.objects == {"image/1.jpg": [("vest", *CAT[1:]), ("trousers", *DOG[1:])]}
    assert packed.report == {
        "bad_polygon": 1,
        "unknown_class": 1,
        "malformed_object": 2,
        "missing_image": 1,
        "malformed_labels": 1,
        "unlisted_file": 1,
    }


def test_it_is_taken_for_itself_alone(write_files, recognized):
    assert recognized(
        write_files(
            {"annos/1.json": {"source": "user", "pair_id": 1, "item1": item("vest", 5, CAT[1:])}}, ["image/1.jpg"]
        )
    ) == ["deepfashion2"]
