"""JSON of annotation tools and data sets, in the form in which they write it, packed by recognition."""

import base64
import io
import json
import math
import zlib

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

CAT, DOG = ("cat", 5, 6, 15, 26), ("dog", 10, 10, 30, 40)
NAMES = [{"name": "dog"}, {"name": "cat"}]
CORNERS = [[10, 10], [30, 10], [30, 40], [10, 40]]
"""Of DOG."""
HOLE = [[15, 15], [25, 15], [25, 35], [15, 35]]
POINTS = [{"x": x, "y": y} for x, y in CORNERS]


def flat(points):
    return [value for point in points for value in point]


def lines(*contents):
    return "".join(f"{json.dumps(content)}\n" for content in contents)


def area(record):
    mask = record["segmentation"]
    return int(coco_mask.area({**mask, "counts": mask["counts"].encode()}))


def rectangle(name="cat", exterior=((5, 6), (14, 25))):
    return {"classTitle": name, "geometryType": "rectangle", "points": {"exterior": exterior, "interior": []}}


def holed(name="dog", interior=()):
    return {"classTitle": name, "geometryType": "polygon", "points": {"exterior": CORNERS, "interior": interior}}


def bitmap(pixels, origin, name="cat"):
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    data = base64.b64encode(zlib.compress(png.getvalue())).decode()
    return {"classTitle": name, "geometryType": "bitmap", "bitmap": {"data": data, "origin": origin}}


def supervisely(*objects):
    return {"description": "", "tags": [], "size": {"height": 48, "width": 64}, "objects": objects}


META = {"classes": [{"title": "dog", "shape": "polygon"}, {"title": "cat", "shape": "rectangle"}], "tags": []}


def test_supervisely(write_files, pack):
    """Two data sets of a project, called like splits; the classes are in its order."""
    texts = {"meta.json": META, "train/ann/a.jpg.json": supervisely(rectangle(), holed())}
    texts["val/ann/b.jpg.json"] = supervisely()
    packed = pack(write_files(texts, ["train/img/a.jpg", "val/img/b.jpg"]))
    assert packed.title == "found Supervisely (2 JSON files, 2 splits: train 1, val 1)"
    assert packed.splits["train"].objects == {"train/img/a.jpg": [CAT, DOG]}
    assert packed.splits["val"].objects == {"val/img/b.jpg": []}
    assert packed.splits["val"].classes == ["dog", "cat"]


def test_whole_numbers_of_supervisely_are_pixels(write_files, pack_one):
    """The last pixel is inside, as in the SDK, which counts right - left + 1; fractions are as drawn."""
    corners = [((0, 0), (63, 47)), ((14, 25), (5, 6)), ((7, 8), (7, 8)), ((5.5, 6), (15, 26))]
    content = supervisely(*(rectangle(exterior=exterior) for exterior in corners))
    packed = pack_one(write_files({"ds/ann/a.jpg.json": content}, ["ds/img/a.jpg"]), strict=True)
    boxes = [edges for _, *edges in packed.objects["ds/img/a.jpg"]]
    assert boxes == [[0, 0, 64, 48], [5, 6, 15, 26], [7, 8, 8, 9], [5.5, 6, 15, 26]]


def test_a_hole_takes_away_and_never_adds(write_files, pack_one):
    """Holes that overlap each other, leave the outline, or have no area, as Supervisely and SuperAnnotate draw them."""
    right = [[20, 15], [40, 15], [40, 35], [20, 35]]
    holes = [HOLE, right, [[12, 12], [13, 12]]]
    polygon = {"type": "polygon", "className": "dog", "points": flat(CORNERS), "exclude": list(map(flat, holes))}
    vector = {"metadata": {"name": "b.jpg", "width": 64, "height": 48}, "instances": [polygon]}
    root = write_files({"s/ann/a.jpg.json": supervisely(holed(interior=holes))}, ["s/img/a.jpg"])
    assert area(pack_one(root).records["s/img/a.jpg"]["annotations"][0]) == 20 * 30 - 15 * 20
    root = write_files({"b.jpg.json": vector}, ["b.jpg"])
    (root / "s/ann/a.jpg.json").unlink()
    assert area(pack_one(root).records["b.jpg"]["annotations"][0]) == 20 * 30 - 15 * 20


@pytest.mark.parametrize("channels", [1, 4])
def test_holes_and_bitmaps_of_supervisely(write_files, pack_one, channels):
    mask = np.zeros((20, 10), np.uint8)
    mask[:, :5] = 255
    pixels = mask if channels == 1 else np.stack([np.full_like(mask, 9)] * 3 + [mask], axis=2)
    content = supervisely(holed(interior=[HOLE]), bitmap(pixels, [5, 6]), bitmap(mask, [60, 40]))
    packed = pack_one(write_files({"ds/ann/a.jpg.json": content}, ["ds/img/a.jpg"]))
    dog, cat, beyond = packed.records["ds/img/a.jpg"]["annotations"]
    assert dog["bbox"] == [10, 10, 30, 40]
    assert area(dog) == 20 * 30 - 10 * 20
    assert (cat["bbox"], area(cat)) == ([5, 6, 10, 26], 5 * 20)
    assert (beyond["bbox"], area(beyond)) == ([60, 40, 64, 48], 4 * 8)


def test_bad_objects_of_supervisely_are_counted(write_files, pack_one):
    damaged = bitmap(np.ones((2, 2), np.uint8), [0, 0])
    damaged["bitmap"]["data"] = "AAAA"
    bomb = bitmap(np.ones((2, 2), np.uint8), [0, 0])
    bomb["bitmap"]["data"] = base64.b64encode(zlib.compress(bytes(1 << 27))).decode()
    point = {"classTitle": "cat", "geometryType": "point", "points": {"exterior": [[1, 1]], "interior": []}}
    objects = [rectangle(), damaged, bomb, point, holed(interior=["x"]), holed(interior=-1), "x"]
    packed = pack_one(write_files({"ds/ann/a.json": supervisely(*objects)}, ["ds/img/a.png"]))
    assert packed.objects == {"ds/img/a.png": [CAT]}
    assert packed.report["malformed_object"] == 5
    assert packed.report["unsupported_shape"] == 1


def test_superannotate(write_files, pack_one):
    box = {"type": "bbox", "className": "cat", "points": {"x1": 5, "x2": 15, "y1": 6, "y2": 26}}
    polygon = {"type": "polygon", "className": "dog", "points": flat(CORNERS), "exclude": [flat(HOLE)]}
    others = [{"type": "tag", "className": "x"}, {"type": "polyline", "className": "cat", "points": [1, 1, 2, 2]}]
    content = {"metadata": {"name": "a.jpg", "width": 64, "height": 48}, "instances": [box, polygon, *others]}
    texts = {"a.jpg___objects.json": content, "classes/classes.json": [{"id": 1, "name": "cat"}]}
    packed = pack_one(write_files(texts, ["a.jpg"]))
    assert packed.objects == {"a.jpg": [CAT, DOG]}
    assert area(packed.records["a.jpg"]["annotations"][1]) == 20 * 30 - 10 * 20
    assert packed.report == {"unsupported_shape": 1, "missing_mask": 1}


@pytest.mark.parametrize("version", [1, 2])
def test_darwin(write_files, pack_one, version):
    box = {"name": "cat", "bounding_box": {"x": 5, "y": 6, "w": 10, "h": 20}}
    polygon = {"name": "dog", "bounding_box": {"x": 0, "y": 0, "w": 1, "h": 1}}
    if version == 2:
        polygon["polygon"] = {"paths": [POINTS]}
        slots = [{"slot_name": "0", "width": 64, "height": 48}]
        content = {"version": "2.0", "item": {"name": "a.jpg", "path": "/site", "slots": slots}}
    else:
        polygon["polygon"] = {"path": POINTS}
        content = {"dataset": "x", "image": {"filename": "a.jpg", "path": "/site", "width": 64, "height": 48}}
    content["annotations"] = [box, polygon, {"name": "good", "tag": {}}, {"name": "cat", "line": {"path": POINTS}}]
    packed = pack_one(write_files({"releases/latest/annotations/a.json": content}, ["images/site/a.jpg"]))
    assert packed.objects == {"images/site/a.jpg": [CAT, DOG]}
    assert packed.report == {"unsupported_shape": 1, "missing_mask": 1}


def test_annotations_of_another_slot_are_not_of_the_first_image(write_files, pack_one):
    box = {"name": "cat", "bounding_box": {"x": 5, "y": 6, "w": 10, "h": 20}}
    slots = [{"slot_name": name, "width": 64, "height": 48} for name in ("left", "right")]
    content = {"version": "2.0", "item": {"name": "a.jpg", "path": "/", "slots": slots}}
    content["annotations"] = [box, box | {"slot_names": ["left"]}, box | {"slot_names": ["right"]}]
    packed = pack_one(write_files({"a.json": content}, ["a.jpg"]))
    assert packed.objects == {"a.jpg": [CAT, CAT]}
    assert packed.report == {"unknown_image": 1}


def test_datumaro(write_files, pack):
    shapes = [
        {"type": "bbox", "label_id": 1, "group": 0, "bbox": [5, 6, 10, 20], "attributes": {"difficult": True}},
        {"type": "polygon", "label_id": 0, "group": 7, "points": flat([[10, 10], [30, 10], [30, 20], [10, 20]])},
        {"type": "polygon", "label_id": 0, "group": 7, "points": flat([[10, 30], [30, 30], [30, 40], [10, 40]])},
        {"type": "label", "label_id": 0},
        {"type": "points", "label_id": 0, "points": [1, 1]},
        {"type": "bbox", "label_id": 9, "bbox": [5, 6, 10, 20]},
    ]
    mask = {"type": "mask", "label_id": 0, "rle": {"size": [48, 64], "counts": [480, 30, 18, 30, 48 * 64 - 558]}}
    items = [{"id": "a", "annotations": shapes, "image": {"path": "a.jpg", "size": [48, 64]}}]
    texts = {
        "annotations/train.json": {"info": {}, "categories": {"label": {"labels": NAMES}}, "items": items},
        "annotations/val.json": {
            "categories": {"label": {"labels": NAMES}},
            "items": [{"id": "b", "annotations": [mask], "image": {"path": "b.jpg"}}],
        },
    }
    packed = pack(write_files(texts, ["images/train/a.jpg", "images/val/b.jpg"]))
    train = packed.splits["train"]
    assert train.classes == ["dog", "cat"]
    assert train.objects == {"images/train/a.jpg": [CAT, DOG]}
    assert train.records["images/train/a.jpg"]["annotations"][0]["difficult"] == 1
    assert train.report["unsupported_shape"] == train.report["unknown_class"] == 1
    assert packed.splits["val"].objects == {"images/val/b.jpg": [("dog", 10, 0, 12, 30)]}


def test_rotated_boxes_are_upright_boxes_around_them(write_files, pack_one):
    """Datumaro's own, those of CVAT, which has the angle among the attributes, and SuperAnnotate's."""
    shapes = [
        {"type": "bbox", "label_id": 1, "bbox": [5, 6, 10, 20], "attributes": {"rotation": 90.0}},
        {"type": "rotated_bbox", "label_id": 1, "bbox": [10, 16, 10, 20, 90]},
    ]
    items = [{"id": "a", "annotations": shapes, "image": {"path": "a.jpg"}}]
    root = write_files({"x.json": {"categories": {"label": {"labels": NAMES}}, "items": items}}, ["a.jpg"])
    packed = pack_one(root)
    assert packed.objects == {"a.jpg": 2 * [("cat", 0, 11, 20, 21)]}
    assert packed.report["rotated_box"] == 2
    corners = {"x1": 10, "y1": 6, "x2": 15, "y2": 16, "x3": 10, "y3": 26, "x4": 5, "y4": 16}
    vector = {"metadata": {"name": "a.jpg"}, "instances": [{"type": "rbbox", "className": "cat", "points": corners}]}
    packed = pack_one(write_files({"x.json": vector}))
    assert packed.objects == {"a.jpg": [CAT]}
    assert packed.report == {"rotated_box": 1, "size_missing": 1}


def test_a_size_that_no_image_has_is_none(write_files, pack_one):
    """It is that of the file, whose polygons with holes need one."""
    huge = supervisely(rectangle(), holed(interior=[HOLE])) | {"size": {"width": 10**39, "height": 48}}
    packed = pack_one(write_files({"ann/a.jpg.json": huge}, ["img/a.jpg"]))
    assert packed.objects == {"img/a.jpg": [CAT]}
    assert packed.report == {"malformed_object": 1, "size_missing": 1}


def test_a_damaged_size_of_datumaro_is_none(write_files, pack_one):
    shape = {"type": "bbox", "label_id": 1, "bbox": [5, 6, 10, 20]}
    sizes = ([math.nan, 64], [math.inf, -64], [1e400, 1], "48x64")
    items = [{"id": f"{n}.jpg", "annotations": [shape], "image": {"size": size}} for n, size in enumerate(sizes)]
    content = {"categories": {"label": {"labels": NAMES}}, "items": items}
    packed = pack_one(write_files({"a.json": content}, [item["id"] for item in items]))
    assert packed.objects == {item["id"]: [CAT] for item in items}


def test_vott(write_files, pack_one):
    box = {"height": 20, "width": 10, "left": 5, "top": 6}
    regions = [
        {"type": "RECTANGLE", "tags": ["cat"], "boundingBox": box, "points": POINTS},
        {"type": "POLYGON", "tags": ["dog"], "boundingBox": box, "points": POINTS},
        {"type": "RECTANGLE", "tags": ["cat", "dog"], "boundingBox": box},
    ]
    asset = {"name": "a%20b.jpg", "size": {"width": 64, "height": 48}}
    content = {"name": "p", "tags": NAMES, "assets": {"1": {"asset": asset, "regions": regions}}}
    packed = pack_one(write_files({"export/p-export.json": content}, ["export/a b.jpg"]))
    assert packed.classes == ["dog", "cat"]
    assert packed.objects == {"export/a b.jpg": [CAT, DOG]}
    assert packed.report["malformed_object"] == 1


def test_images_that_wait_in_vott_and_superannotate_are_left_out(write_files, pack):
    region = {"type": "POLYGON", "tags": ["dog"], "points": POINTS}
    assets = [({"name": "a.jpg", "state": 2}, [region]), ({"name": "b.jpg", "state": 0}, []), ({"name": "c.jpg"}, [])]
    content = {"tags": NAMES, "assets": {asset["name"]: {"asset": asset, "regions": each} for asset, each in assets}}
    packed = pack(write_files({"export.json": content}, ["a.jpg", "b.jpg", "c.jpg"]))
    assert packed.title.endswith("; 1 image that nobody opened, left out")
    assert packed.splits[""].objects == {"a.jpg": [DOG], "c.jpg": []}
    polygon = {"type": "polygon", "className": "dog", "points": flat(CORNERS)}
    states = {"a": ("Completed", [polygon]), "b": ("NotStarted", []), "c": ("Completed", [])}
    texts = {
        f"{name}.jpg.json": {"metadata": {"name": f"{name}.jpg", "status": status}, "instances": each}
        for name, (status, each) in states.items()
    }
    root = write_files(texts)
    (root / "export.json").unlink()
    packed = pack(root)
    assert packed.title.endswith("; 1 image that nobody began to annotate, left out")
    assert packed.splits[""].objects == {"a.jpg": [DOG], "c.jpg": []}


def test_an_entry_that_is_no_image_is_counted(write_files, refusal):
    labels = {"categories": {"label": {"labels": NAMES}}}
    for content, name in (
        ({"tags": NAMES, "assets": {"1": {"asset": None}}}, "asset 1 (its image)"),
        (labels | {"items": ["x"]}, "a.json, item 1 (its image)"),
        (labels | {"items": "x"}, "a.json, item 1 (its image)"),
    ):
        assert f"missing_image x 1 (first: {name})" in refusal(write_files({"a.json": content}, ["a.jpg"]))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.jpg.json", {"metadata": {"name": "a.jpg", "width": 64, "height": 48}, "instances": "none"}),
        ("ann/a.jpg.json", supervisely() | {"objects": "none"}),
        ("annotation_train.odgt", {"ID": "a", "gtboxes": "none"}),
        ("x.jsonl", {"imageGcsUri": "gs://bucket/a.jpg", "boundingBoxAnnotations": "none"}),
        ("x.manifest", {"source-ref": "s3://b/a.jpg", "job": {"annotations": "none"}}),
    ],
)
def test_what_is_no_list_of_objects_is_no_image_without_objects(write_files, refusal, file, content):
    assert "1: not an object: malformed_object" in refusal(write_files({file: lines(content)}, ["a.jpg"]))


@pytest.mark.parametrize(
    "content",
    [
        {"frames": [{"file_path": "a.jpg", "transform_matrix": []}]},
        {"frames": []},
        [{"name": "a", "labels": "x"}],
        {"metadata": "x", "instances": []},
        {"image": {"file": "a.jpg"}, "annotations": []},
    ],
)
def test_json_of_others_is_none_of_these(write_files, recognized, content):
    assert not recognized(write_files({"a.json": content}, ["a.jpg"]))
