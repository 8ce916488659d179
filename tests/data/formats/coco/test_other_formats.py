"""Small files of other formats, as their programs write them, are called by their names."""

import json

import pytest

from lightning_rcnn.data.formats.coco.json_files import load_annotations
from lightning_rcnn.errors import InputError

IMAGES = [{"id": 1, "file_name": "a.jpg"}]
NAMES = [{"id": 1, "name": "cat"}]
FILES = {
    "LabelMe": {"version": "5.0", "shapes": [{"label": "cat", "points": [[1, 1], [5, 5]]}], "imagePath": "a.jpg"},
    "VIA": {"a.jpg1": {"filename": "a.jpg", "size": 1, "regions": [], "file_attributes": {}}},
    "VIA;": {"_via_settings": {}, "_via_img_metadata": {}, "_via_attributes": {}},
    "VIA 3": {"project": {}, "config": {}, "attribute": {}, "file": {}, "metadata": {}, "view": {}},
    "CreateML": [{"image": "a.jpg", "annotations": [{"label": "cat", "coordinates": {"x": 1}}]}],
    "COCO panoptic": {
        "images": IMAGES,
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": []}],
        "categories": NAMES,
    },
    "COCO captions": {"images": IMAGES, "annotations": [{"id": 1, "image_id": 1, "caption": "a cat"}]},
    "COCO keypoints": {
        "images": IMAGES,
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 1, 2]}],
        "categories": NAMES,
    },
    "COCO results": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "score": 0.5}],
    "Label Studio": [{"id": 1, "data": {"image": "a.jpg"}, "annotations": []}],
    "Supervisely": {"description": "", "tags": [], "size": {"height": 1, "width": 1}, "objects": []},
    "Cityscapes": {"imgHeight": 1, "imgWidth": 1, "objects": []},
    "BDD100K": [{"name": "a.jpg", "labels": []}],
    "MMDetection": {"metainfo": {}, "data_list": []},
    "Datumaro": {"info": {}, "categories": {}, "items": []},
    "GeoJSON": {"type": "FeatureCollection", "features": []},
}
TEXTS = {
    "Pascal VOC; use `lightning-rcnn pack voc`": "\ufeff<?xml version='1.0'?><annotation><size/></annotation>",
    "VIA;": "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes\na.jpg,1,{},1,0,{}\n",
    "YOLO's text": "0 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.1 0.1\n",
    "JSON Lines": '{"a": 1}\n{"a": 2}\n',
    "CSV": "image,x,y,width,height\na.jpg,1,1,1,1\n",
    "a YOLO data set": "names: [cat]\ntrain: images\n",
}


@pytest.mark.parametrize(
    ("name", "text"),
    [*((name, json.dumps(content)) for name, content in FILES.items()), *TEXTS.items()],
    ids=[*FILES, *TEXTS],
)
def test_the_format_is_named_in_one_line(tmp_path, name, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_annotations(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: not COCO annotations, this is ")
    assert name in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("LabelMe", "labelme"),
        ("VIA", "via"),
        ("VIA 3", "via"),
        ("CreateML", "createml"),
        ("Label Studio", "labelstudio"),
        ("Supervisely", "supervisely"),
        ("BDD100K", "bdd100k"),
        ("Datumaro", "datumaro"),
        ("YOLO's text", "yolo"),
        ("CSV", "csv"),
    ],
)
def test_formats_with_a_reader_of_their_own_are_sent_there(tmp_path, name, command):
    path = tmp_path / "x.json"
    path.write_text(TEXTS[name] if name in TEXTS else json.dumps(FILES[name]))
    with pytest.raises(InputError, match=f"use `lightning-rcnn pack {command}`"):
        load_annotations(path)


@pytest.mark.parametrize(
    "text", ['{"images": [{"id": 1, "width": 2, "height": 3', "{'images': [], 'annotations': [], 'x': 1}"]
)
def test_damaged_json_is_no_other_format(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"malformed JSON \(.*; check that the file is complete"):
        load_annotations(tmp_path / "x.json")


def test_folders_and_packed_files(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .1 .1")
    (tmp_path / "x.json.gz").write_bytes(b"\x1f\x8b...")
    (tmp_path / "gbk.json").write_bytes(json.dumps({"名": 1}, ensure_ascii=False).encode("gbk"))
    for name, words in (
        ("labels", "is a folder.*YOLO"),
        ("x.json.gz", "gzip.*unpack"),
        ("gbk.json", "save it as UTF-8"),
    ):
        with pytest.raises(InputError, match=words):
            load_annotations(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
def test_encodings(tmp_path, encoding):
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "猫"}]}
    path = tmp_path / "x.json"
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert load_annotations(path) == content
