"""CVAT, Create ML and Label Studio."""

import base64

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tests.data.formats.conftest import image_bytes

CAT, DOG = ("cat", 5, 6, 15, 26), ("dog", 10, 10, 30, 40)


def pixels(annotation):
    rle = annotation["segmentation"]
    return coco_mask.decode({**rle, "counts": rle["counts"].encode()})


# CVAT

BOX = '<box label="cat" source="manual" occluded="0" xtl="5.00" ytl="6.00" xbr="15.00" ybr="26.00" z_order="0"></box>'
SHAPES = (
    BOX,
    '<polygon label="dog" occluded="0" points="10.00,10.00;30.00,10.00;30.00,40.00;10.00,30.00" z_order="0"></polygon>',
    '<mask label="dog" occluded="0" rle="2, 3, 1, 6" left="20" top="5" width="4" height="3" z_order="0"></mask>',
    '<ellipse label="cat" occluded="0" cx="32.00" cy="24.00" rx="20.00" ry="10.00" z_order="0"></ellipse>',
    '<box label="cat" xtl="22" ytl="19" xbr="42" ybr="29" rotation="90.00" z_order="0"></box>',
    '<points label="cat" points="1.00,2.00" z_order="0"></points>',
)


def cvat(*images):
    labels = "".join(f"<label><name>{name}</name><color>#fff</color></label>" for name in ("dog", "cat"))
    meta = f"<meta><job><id>1</id><labels>{labels}</labels></job><dumped>2024</dumped></meta>"
    begin = "<?xml version='1.0' encoding='utf-8'?>\n<annotations>\n  <version>1.1</version>\n"
    return f"{begin}{meta}{''.join(images)}</annotations>"


def image(name, *shapes, number=0, **more):
    others = "".join(f' {key}="{value}"' for key, value in more.items())
    return f'<image id="{number}" name="{name}"{others} width="64" height="48">{"".join(shapes)}</image>'


def test_cvat(write_files, pack):
    packed = pack(
        write_files(
            {"annotations.xml": cvat(image("a.jpg", *SHAPES), image("b.jpg"))}, ["images/a.jpg", "images/b.jpg"]
        )
    )
    assert packed.title == "found CVAT for images (annotations.xml, 2 images)"
    one = packed.splits[""]
    assert one.classes == ["dog", "cat"], "the order of the project"
    expected = [CAT, DOG, ("dog", 20, 5, 24, 8), ("cat", 12, 14, 52, 34), ("cat", 27, 14, 37, 34)]
    assert one.objects == {"images/a.jpg": expected, "images/b.jpg": []}
    assert one.report == {"unsupported_shape": 1, "rotated_box": 1, "missing_mask": 2, "empty_image": 1}
    mask = pixels(one.records["images/a.jpg"]["annotations"][2])
    assert mask[5:8, 20:24].tolist() == [[0, 0, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1]]
    assert mask.sum() == 9


def test_subsets_and_tasks_of_cvat_are_splits(write_files, pack):
    texts = {"annotations.xml": cvat(image("a.jpg", BOX, subset="Train"), image("b.jpg", BOX, subset="Validation"))}
    packed = pack(write_files(texts, ["images/Train/a.jpg", "images/Validation/b.jpg"]), strict=True)
    assert packed.splits["train"].objects == {"images/Train/a.jpg": [CAT]}
    assert packed.splits["val"].objects == {"images/Validation/b.jpg": [CAT]}


def test_polygons_of_a_group_in_cvat_are_one_object(write_files, pack_one):
    shape = SHAPES[1].replace("<polygon", '<polygon group_id="3"')
    other = shape.replace("30.00,", "50.00,")
    packed = pack_one(write_files({"a.xml": cvat(image("a.jpg", shape, other))}, ["a.jpg"]))
    assert packed.objects == {"a.jpg": [("dog", 10, 10, 50, 40)]}


def test_bad_files_of_cvat(write_files, refusal, pack_one):
    shapes = (
        '<box label="cat" xtl="x"/>',
        '<polygon label="cat" points="1,2;3,4"/>',
        '<polygon label="cat" points="1,2;3"/>',
    )
    shapes += ('<mask label="cat" rle="2, 3" left="0" top="0" width="9" height="9"/>', BOX.replace("cat", ""))
    shapes += (f'<mask label="cat" rle="{10**18}" left="0" top="0" width="{10**9}" height="{10**9}"/>',)
    root = write_files(
        {"a.xml": cvat(image("a.jpg", *shapes), image("lost.jpg"), image("../b.jpg"))}, ["a.jpg", "../b.jpg"]
    )
    assert "2 of 3 images" in refusal(root)
    report = {"missing_image": 1, "file_outside_folder": 1, "malformed_object": 4, "missing_box": 1, "unknown_class": 1}
    assert pack_one(root, classes=["cat"]).report == report | {"emptied_image": 1}


def test_videos_and_entity_bombs_of_cvat_are_refused(write_files, refusal):
    video = "<annotations><version>1.1</version><track id='0' label='car'><box frame='0'/></track></annotations>"
    assert "is of a video (CVAT for video 1.1); export it as CVAT for images 1.1" in refusal(
        write_files({"a.xml": video})
    )
    bomb = cvat(image("a.jpg")).replace("<annotations>", '<!DOCTYPE x [<!ENTITY a "aaaa">]><annotations>')
    assert "a.xml: malformed XML: declares entities" in refusal(write_files({"a.xml": bomb}, ["a.jpg"]))


# Create ML


def createml(name, *boxes):
    """A box is (label, center x, center y, width, height)."""
    keys = ("x", "y", "width", "height")
    listed = [{"label": label, "coordinates": dict(zip(keys, box, strict=True))} for label, *box in boxes]
    return {"image": name, "annotations": listed}


def test_createml(write_files, pack):
    texts = {
        "train/_annotations.createml.json": [createml("a.jpg", ("cat", 10, 16, 10, 20), ("dog", 20, 25, 20, 30))],
        "valid/_annotations.createml.json": [createml("a.jpg", ("dog", 20, 25, 20, 30)), createml("b.jpg")],
    }
    packed = pack(write_files(texts, ["train/a.jpg", "valid/a.jpg", "valid/b.jpg"]), strict=True)
    assert packed.title.startswith("found Create ML (train/_annotations.createml.json, ")
    assert packed.splits["train"].objects == {"train/a.jpg": [CAT, DOG]}
    assert packed.splits["val"].objects == {"valid/a.jpg": [DOG], "valid/b.jpg": []}


def test_shares_and_bad_entries_of_createml(write_files, pack_one):
    content = [
        createml("a.jpg", ("cat", 0.5, 0.5, 0.25, 0.5)),
        {"image": "b.jpg", "annotations": [{"label": "cat"}, 3]},
    ]
    content += [createml("c.jpg", ("cat", 0.5, 0.5, "x", 1)), 7]
    packed = pack_one(write_files({"x.json": content}, ["a.jpg", "b.jpg", "c.jpg"]))
    assert packed.objects == {"a.jpg": [("cat", 24, 12, 40, 36)], "b.jpg": [], "c.jpg": []}
    assert packed.report == {"malformed_object": 3, "emptied_image": 2}


# Label Studio


def result(kind, number, **value):
    labels = {kind: [value.pop("label")]} if "label" in value else {}
    return {
        "id": number,
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": 64,
        "original_height": 48,
        "image_rotation": 0,
        "value": {**value, **labels},
    }


def percent(x, y, width, height):
    return {"x": x / 0.64, "y": y / 0.48, "width": width / 0.64, "height": height / 0.48, "rotation": 0}


def brush(mask):
    """The tool's encoding: runs of up to 2^16 values, words of 8 bits, the mask in all four channels."""
    values = np.repeat(mask.ravel() * 255, 4)
    ends = [*(np.flatnonzero(np.diff(values.astype(int))) + 1), len(values)]
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    start = 0
    for end in ends:
        bits += "1" + "11" + f"{end - start - 1:016b}" + f"{values[start]:08b}"
        start = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[index : index + 8], 2) for index in range(0, len(bits), 8)]


MASK = np.zeros((48, 64), np.uint8)
MASK[10:20, 30:50] = 1
RESULTS = [
    result("rectanglelabels", "r1", label="cat", **percent(5, 6, 10, 20)),
    result(
        "polygonlabels",
        "r2",
        label="dog",
        points=[[10 / 0.64, 10 / 0.48], [30 / 0.64, 10 / 0.48], [30 / 0.64, 40 / 0.48]],
    ),
    result("ellipselabels", "r3", label="cat", x=50, y=50, radiusX=20 / 0.64, radiusY=10 / 0.48, rotation=0),
    result("brushlabels", "r4", label="dog", format="rle", rle=brush(MASK)),
    result("rectangle", "r5", **percent(5, 6, 10, 20)),
    result("labels", "r5", label="dog"),
    result("keypointlabels", "r6", label="cat", x=1, y=1, width=0.5),
    {"id": "c1", "type": "choices", "from_name": "weather", "to_name": "image", "value": {"choices": ["sunny"]}},
]


def task(name, *annotations, number=1):
    return {"id": number, "data": {"image": name}, "annotations": list(annotations), "predictions": []}


def annotation(*results, **more):
    return {"id": 1, "completed_by": 1, "result": list(results), "was_cancelled": False, "ground_truth": False, **more}


def test_label_studio(write_files, pack):
    """Names of uploads have a prefix; other names are addresses in a store or in a query."""
    tasks = [
        task("/data/upload/1/8f3c2b1a-a.jpg", annotation(*RESULTS)),
        task("/data/local-files/?d=pictures/b.jpg", annotation(), annotation(RESULTS[0])),
        task("s3://bucket/c.jpg", annotation(RESULTS[0], was_cancelled=True), annotation(RESULTS[0])),
        task("/data/upload/1/open.jpg"),
        task("data:image/jpeg;base64," + base64.b64encode(image_bytes()).decode(), annotation(RESULTS[0]), number=5),
    ]
    packed = pack(write_files({"project-1.json": tasks}, ["a.jpg", "b.jpg", "c.jpg"]))
    assert packed.title == "found Label Studio (project-1.json, 4 images); 1 tasks without annotations, left out"
    one = packed.splits[""]
    expected = [CAT, ("dog", 10, 10, 30, 40), ("cat", 12, 14, 52, 34), ("dog", 30, 10, 50, 20), ("dog", *CAT[1:])]
    assert one.objects == {"a.jpg": expected, "b.jpg": [], "c.jpg": [CAT], "task-5.png": [CAT]}
    assert (pixels(one.records["a.jpg"]["annotations"][3]) == MASK).all()
    assert one.report["several_annotations"] == one.report["unsupported_shape"] == one.report["embedded_image"] == 1


def test_label_studios_small_json(write_files, pack_one):
    shape = RESULTS[0]["value"] | {"original_width": 64, "original_height": 48}
    tasks = [{"id": 1, "image": "/data/upload/1/8f3c2b1a-a.jpg", "label": [shape], "annotator": 1, "annotation_id": 1}]
    assert pack_one(write_files({"min.json": tasks}, ["8f3c2b1a-a.jpg"])).objects == {"8f3c2b1a-a.jpg": [CAT]}


def test_a_rotated_rectangle_turns_around_its_corner(write_files, pack_one):
    shape = result("rectanglelabels", "r1", label="cat", **(percent(30, 10, 10, 20) | {"rotation": 90}))
    packed = pack_one(write_files({"x.json": [task("a.jpg", annotation(shape))]}, ["a.jpg"]))
    assert packed.objects == {"a.jpg": [("cat", 10, 10, 30, 20)]}
    assert packed.report == {"rotated_box": 1}


def test_a_set_of_bad_results_names_the_first(write_files, refusal):
    """Label Studio allows several labels for one rectangle."""
    value = {"x": 25, "y": 25, "width": 25, "height": 50, "rotation": 0, "rectanglelabels": ["cat", "big"]}
    result = {"id": "r1", "original_width": 64, "original_height": 48, "value": value, "type": "rectanglelabels"}
    tasks = [{"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"id": 1, "result": [result]}]}]
    message = refusal(write_files({"p.json": tasks}, ["a.jpg"]))
    assert "no object can be read (first: a.jpg, result r1: several labels, no original size, or a rotated" in message


def test_bad_results_of_label_studio(write_files, pack_one):
    results = [
        result("rectanglelabels", "1", label="cat", x=1),
        result("polygonlabels", "2", label="cat", points=[[1, 1], [5, 5]]),
        result("brushlabels", "3", label="cat", rle=[1, 2, 3]),
        result("rectanglelabels", "4", **percent(1, 1, 9, 9)),
        result("rectanglelabels", "5", label="cat", **percent(1, 1, 9, 9)) | {"image_rotation": 90},
    ]
    tasks = [task("a.jpg", annotation(*results)), task("lost.jpg", annotation()), task("../b.jpg", annotation())]
    packed = pack_one(write_files({"x.json": tasks}, ["a.jpg", "../b.jpg"]), classes=["cat"])
    report = {"missing_image": 1, "file_outside_folder": 1, "unsupported_shape": 1, "missing_box": 1}
    assert packed.report == report | {"malformed_object": 2, "unknown_class": 1, "emptied_image": 1}


@pytest.mark.parametrize("name", ["cvat", "createml", "labelstudio"])
def test_a_folder_without_such_files(write_files, name, capsys):
    from lightning_rcnn.cli import main

    assert main(["pack", name, str(write_files({}, ["a.jpg"]))]) == 1
    assert capsys.readouterr().err.count("\n") == 1
