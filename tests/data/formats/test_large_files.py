"""JSON files that are too large to be parsed twice, beside small ones."""

import pytest

from lightning_rcnn.data.formats import layout

CAT = ("cat", 5, 6, 15, 26)
NAMES = [{"name": "dog"}, {"name": "cat"}]


def of_label_studio(image):
    value = {"x": 7.8125, "y": 12.5, "width": 15.625, "height": 41.66666667, "rectanglelabels": ["cat"]}
    result = {"type": "rectanglelabels", "value": value, "original_width": 64, "original_height": 48}
    return {"data": {"image": image}, "annotations": [{"result": [result]}]}


def of_via(image):
    shape = {"name": "rect", "x": 5, "y": 6, "width": 10, "height": 20}
    region = {"shape_attributes": shape, "region_attributes": {"class": "cat"}}
    return {"filename": image, "size": 1, "regions": [region], "file_attributes": {}}


def of_coco(images):
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [5, 6, 10, 20]} for n in range(len(images))]
    listed = [{"id": n, "file_name": image, "width": 64, "height": 48} for n, image in enumerate(images)]
    return {"images": listed, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}


def of_datumaro(images):
    shape = {"type": "bbox", "label_id": 1, "bbox": [5, 6, 10, 20]}
    items = [{"id": image, "annotations": [shape], "image": {"path": image}} for image in images]
    return {"info": {}, "categories": {"label": {"labels": NAMES}}, "items": items}


def of_createml(image):
    box = {"label": "cat", "coordinates": {"x": 10, "y": 16, "width": 10, "height": 20}}
    return {"image": image, "annotations": [box]}


def of_vott(image):
    region = {"type": "RECTANGLE", "tags": ["cat"], "boundingBox": {"height": 20, "width": 10, "left": 5, "top": 6}}
    return {"asset": {"name": image, "size": {"width": 64, "height": 48}}, "regions": [region]}


def of_bdd100k(image):
    return {"name": image, "labels": [{"category": "cat", "box2d": {"x1": 5, "y1": 6, "x2": 14, "y2": 25}}]}


ONE_OBJECT = {
    "createml": lambda images: list(map(of_createml, images)),
    "labelstudio": lambda images: list(map(of_label_studio, images)),
    "via": lambda images: {f"{image}1": of_via(image) for image in images},
    "datumaro": of_datumaro,
    "vott": lambda images: {"name": "p", "tags": NAMES, "assets": {image: of_vott(image) for image in images}},
    "coco": of_coco,
    "bdd100k": lambda images: list(map(of_bdd100k, images)),
}
"""Format -> function from names of images to its JSON, with CAT in each."""


@pytest.mark.parametrize("name", ONE_OBJECT)
def test_large_files_are_read_beside_small_ones(write_files, pack, monkeypatch, name):
    """A split of more than 64 MiB was another format's, or none's, and left out beside a small one."""
    monkeypatch.setattr(layout, "_MAX_PARSED", 1200)
    images = [f"{number}.jpg" for number in range(30)]
    texts = {"train.json": ONE_OBJECT[name](images), "val.json": ONE_OBJECT[name](["v.jpg"])}
    packed = pack(write_files(texts, [*(f"train/{image}" for image in images), "val/v.jpg"]))
    assert {split: len(packed.splits[split].objects) for split in packed.splits} == {"train": 30, "val": 1}
    assert set(map(tuple, packed.splits["train"].objects.values())) == {(CAT,)}
