import csv
import io
import json

import pytest

from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.via import read_via
from lightning_rcnn.data.pack.any_format import found_data

POLYGON = {"name": "polygon", "all_points_x": [10, 30, 30, 10], "all_points_y": [10, 10, 40, 30]}
RECT = {"name": "rect", "x": 5, "y": 6, "width": 10, "height": 20}
CIRCLE = {"name": "circle", "cx": 32, "cy": 24, "r": 10}
ELLIPSE = {"name": "ellipse", "cx": 32, "cy": 24, "rx": 20, "ry": 10, "theta": 0}
POINT = {"name": "point", "cx": 3, "cy": 4}
ROWS = [(RECT, "cat"), (POLYGON, "dog"), (CIRCLE, "cat"), (ELLIPSE, "cat"), (POINT, "cat")]
OBJECTS = [
    ("cat", 5, 6, 15, 26),
    ("dog", 10, 10, 30, 40),
    ("cat", 22, 14, 42, 34),
    ("cat", 12, 14, 52, 34),
]


def region(shape, **attributes):
    return {"shape_attributes": shape, "region_attributes": attributes}


def entry(name, *regions):
    return {"filename": name, "size": 999, "regions": list(regions), "file_attributes": {}}


def export(*entries):
    return {f"{each['filename']}{each['size']}": each for each in entries}


TWO = [entry("a.jpg", *(region(shape, type=name) for shape, name in ROWS)), entry("b.png")]


def project():
    settings = {"_via_settings": {"core": {"default_filepath": ""}}, "_via_attributes": {"region": {}, "file": {}}}
    return settings | {"_via_img_metadata": export(*TWO), "_via_data_format_version": "2.0.10"}


def table():
    """VIA 2's CSV: JSON in its cells, and a row with a count of zero for an image without regions."""
    header = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    text = io.StringIO()
    writer = csv.writer(text)
    for number, (shape, name) in enumerate(ROWS):
        writer.writerow(["a.jpg", 999, "{}", len(ROWS), number, json.dumps(shape), json.dumps({"type": name})])
    writer.writerow(["b.png", 999, "{}", 0, 0, "{}", "{}"])
    return f"{header}\n{text.getvalue()}"


COORDINATES = [
    ([2, 5, 6, 10, 20], "1"),
    ([7, 10, 10, 30, 10, 30, 40, 10, 30], "2"),
    ([3, 32, 24, 10], "1"),
    ([4, 32, 24, 20, 10], "1"),
    ([1, 3, 4], "1"),
]
ATTRIBUTE = {"1": {"aname": "kind", "anchor_id": "FILE1_Z0_XY1", "type": 4, "options": {"1": "cat", "2": "dog"}}}


def third():
    metadata = {
        f"1_{number}": {"vid": "1", "flg": 0, "z": [], "xy": xy, "av": {"1": value}}
        for number, (xy, value) in enumerate(COORDINATES)
    }
    metadata["1_whole"] = {"vid": "1", "flg": 0, "z": [], "xy": [], "av": {"2": "sunny"}}
    files = {
        key: {"fid": key, "fname": name, "type": 2, "loc": 1, "src": name}
        for key, name in (("1", "a.jpg"), ("2", "b.png"))
    }
    return {
        "project": {"pid": "__VIA_PROJECT_ID__", "vid_list": ["1", "2"], "data_format_version": "3.1.1"},
        "config": {},
        "attribute": ATTRIBUTE,
        "file": files,
        "metadata": metadata,
        "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}},
    }


def third_table():
    header = "metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata"
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    for number, (xy, value) in enumerate(COORDINATES):
        writer.writerow([f"1_{number}", '["a.jpg"]', "0", "[]", json.dumps(xy), json.dumps({"1": value})])
    writer.writerow(["2_x", '["b.png"]', "0", "[]", "[]", "{}"])
    comments = f"# Exported using VGG Image Annotator\n# ATTRIBUTE = {json.dumps(ATTRIBUTE)}\n# CSV_HEADER = {header}\n"
    return comments + text.getvalue()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("via_region_data.json", export(*TWO)),
        ("via_project.json", project()),
        ("via.csv", table()),
        ("via3.json", third()),
        ("via3.csv", third_table()),
    ],
)
def test_versions_and_kinds_of_file(write_files, pack, file, content):
    packed = pack(write_files({file: content}, ["a.jpg", "b.png"]))
    assert packed.title == f"found VIA ({file}, 2 images)"
    one = packed.splits[""]
    assert one.objects == {"a.jpg": OBJECTS, "b.png": []}
    assert one.classes == ["cat", "dog"]
    assert one.report == {"unsupported_shape": 1, "missing_mask": 1, "empty_image": 1}


def test_the_balloons_have_folders_of_splits_and_no_attributes(write_files, pack):
    """Version 1 numbers the regions in a dictionary."""
    train = export(entry("a.jpg") | {"regions": {"0": region(POLYGON), "1": region(RECT)}})
    texts = {"train/via_region_data.json": train, "val/via_region_data.json": export(entry("a.jpg", region(RECT)))}
    packed = pack(write_files(texts, ["train/a.jpg", "val/a.jpg"]))
    assert packed.title.endswith("2 splits: train 1, val 1); no attributes, so all regions have the class object")
    assert packed.splits["val"].objects == {"val/a.jpg": [("object", 5, 6, 15, 26)]}
    assert packed.splits["train"].objects == {"train/a.jpg": [("object", 10, 10, 30, 40), ("object", 5, 6, 15, 26)]}


def test_which_attribute_is_the_class(write_files, pack, refusal):
    regions = [region(RECT, color="red", state="open"), region(RECT, color="blue", state="closed")]
    root = write_files({"via.json": export(entry("a.jpg", *regions))}, ["a.jpg"])
    message = refusal(root)
    assert (
        f"attributes color, state; say which is the class: `lightning-rcnn pack via {root} --class_attribute color`"
        in message
    )
    found = found_data("via", root, read_via(Layout(root), "color"))
    assert pack(root, found).splits[""].classes == ["blue", "red"]
    checked = [region(RECT, label={"cat": True, "dog": False}, state=1), region(RECT, label={}, state=1)]
    one = pack(write_files({"via.json": export(entry("a.jpg", *checked))})).splits[""]
    assert one.objects["a.jpg"] == [("cat", 5, 6, 15, 26)]
    assert one.report == {"unknown_class": 1}


def test_bad_files(write_files, pack_one, refusal):
    line = {"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]}
    uneven = {"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]}
    regions = [region(shape, type="cat") for shape in (RECT, line, uneven, {}, {"name": "rect", "x": 1})]
    entries = [entry("a.jpg", *regions, 7), entry("lost.jpg", region(RECT, type="cat")), entry("../b.jpg")]
    root = write_files({"via.json": export(*entries)}, ["a.jpg", "../b.jpg", "alone.jpg"])
    message = refusal(root)
    assert "missing_image x 1 (first: lost.jpg" in message
    assert "file_outside_folder x 1 (first: ../b.jpg)" in message
    assert pack_one(root).report == {
        "missing_image": 1,
        "file_outside_folder": 1,
        "unlisted_file": 1,
        "malformed_object": 4,
        "missing_box": 1,
    }


def test_two_files_for_one_image(write_files, refusal):
    texts = {name: export(entry("a.jpg", region(RECT, type="cat"))) for name in ("one.json", "two.json")}
    message = refusal(write_files(texts, ["a.jpg"]))
    assert "two_annotation_files x 2 (first: a.jpg: one.json and two.json)" in message
