import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_rcnn.data.pack.voc import voc_source
from lightning_rcnn.data.pack.voc_xml import read_xml
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.errors import InputError


@pytest.fixture
def pack_voc(make_voc, read_packed, tmp_path):
    """Pack a set; returns its index and its samples by file name."""

    def pack(images, xmls, split_lines, **options):
        source = voc_source(make_voc(images, xmls, split_lines), "train", **options)
        write_shards(source, tmp_path / "out", max_loss=1)
        index, samples = read_packed(tmp_path / "out")
        return index, {sample.record["file_name"]: sample for sample in samples}

    return pack


def boxes(sample):
    return [annotation["bbox"] for annotation in sample.record["annotations"]]


def test_sound_set(pack_voc, voc_xml, encode_image):
    xmls = {"b": voc_xml(("dog", 1, 1, 64, 48), ("cat", 11, 21, 30, 40)), "a": voc_xml(("cat", 5, 6, 7, 8))}
    index, samples = pack_voc({"a.jpg": encode_image(), "b.jpg": encode_image()}, xmls, ["b", "a"])
    assert index.name == "VOC2007/train"
    assert [(category.label, category.name, category.id) for category in index.categories] == [
        (1, "cat", 1),
        (2, "dog", 2),
    ]
    assert index.report == {"one_based_box": 3}
    assert not index.has_masks
    assert list(samples) == ["b.jpg", "a.jpg"], "the order of the split"
    assert boxes(samples["b.jpg"]) == [[0, 0, 64, 48], [10, 20, 30, 40]]
    assert [annotation["label"] for annotation in samples["b.jpg"].record["annotations"]] == [2, 1]
    assert boxes(samples["a.jpg"]) == [[4, 5, 7, 8]]


@given(st.data())
def test_one_based_box_holds_exactly_the_pixels_that_voc_names(tmp_path_factory, data):
    xmin, xmax = sorted(data.draw(st.lists(st.integers(1, 64), min_size=2, max_size=2, unique=True)))
    ymin, ymax = sorted(data.draw(st.lists(st.integers(1, 48), min_size=2, max_size=2, unique=True)))
    path = tmp_path_factory.getbasetemp() / "one.xml"
    box = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    path.write_text(f"<annotation><object><name>a</name><bndbox>{box}</bndbox></object></annotation>")
    _, (annotated,), _ = read_xml(path, 1, {"a": 1}, "one_based")
    pixels = np.zeros((48, 64), dtype=bool)
    for row in range(ymin, ymax + 1):  # VOC: rows ymin..ymax, columns xmin..xmax, counted from 1
        pixels[row - 1, xmin - 1 : xmax] = True
    rows, columns = np.nonzero(pixels)
    assert annotated.edges == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_zero_based_boxes_are_taken_as_written(pack_voc, voc_xml, encode_image):
    index, samples = pack_voc(
        {"a.jpg": encode_image()}, {"a": voc_xml(("cat", 0, 0, 64, 48))}, ["a"], coordinates="zero_based"
    )
    assert index.report == {}
    assert boxes(samples["a.jpg"]) == [[0, 0, 64, 48]]


@pytest.mark.parametrize(
    ("box", "kept", "defects"),
    [
        ((10, 10, 10, 30), None, {"zero_area_box"}),
        ((10, 10, 10, 10), None, {"zero_area_box"}),
        ((30, 10, 20, 40), None, {"inverted_box"}),
        ((11, 10, 10, 40), None, {"inverted_box"}),
        (("nan", 1, 20, 40), None, {"non_finite_box", "one_based_box"}),
        ((1, 1, "inf", 40), None, {"non_finite_box", "one_based_box"}),
        (("", 1, 20, 40), None, {"missing_box"}),
        (("left", 1, 20, 40), None, {"missing_box"}),
        ((70, 10, 90, 40), None, {"box_outside", "one_based_box"}),
        ((50, 10, 90, 40), [49, 9, 64, 40], {"box_partly_outside", "one_based_box"}),
        ((-9, 10, 20, 40), [0, 9, 20, 40], {"box_partly_outside", "one_based_box"}),
        ((0, 5, 20, 40), [0, 4, 20, 40], {"zero_coordinate", "one_based_box"}),
        (("5.5", 1, "20.25", 40), [4.5, 0, 20.25, 40], {"one_based_box"}),
    ],
)
def test_bad_boxes(pack_voc, voc_xml, encode_image, box, kept, defects):
    sound = ("cat", 1, 1, 2, 2)
    index, samples = pack_voc({"a.jpg": encode_image()}, {"a": voc_xml(("cat", *box), sound)}, ["a"])
    assert boxes(samples["a.jpg"]) == ([kept] if kept else []) + [[0, 0, 2, 2]]
    assert index.report.keys() == defects | {"one_based_box"}


def test_image_whose_objects_were_all_skipped_is_told_from_an_empty_one(pack_voc, voc_xml, encode_image):
    xmls = {"empty": voc_xml(), "emptied": voc_xml(("cat", 5, 5, 5, 5))}
    images = {"empty.jpg": encode_image(), "emptied.jpg": encode_image()}
    index, samples = pack_voc(images, xmls, ["empty", "emptied"])
    assert index.report == {"empty_image": 1, "emptied_image": 1, "zero_area_box": 1}
    assert all(not sample.record["annotations"] for sample in samples.values())


def test_missing_files_are_skipped_each_by_its_name(pack_voc, voc_xml, encode_image):
    xmls = {"whole": voc_xml(("cat", 1, 1, 9, 9)), "no image": voc_xml(("cat", 1, 1, 9, 9)), "broken": "<annotation"}
    images = {"whole.jpg": encode_image(), "no xml.jpg": encode_image(), "broken.jpg": encode_image()}
    index, samples = pack_voc(images, xmls, ["no image", "no xml", "broken", "neither", "whole"])
    assert list(samples) == ["whole.jpg"]
    assert index.report == {
        "missing_image": 2,
        "image_without_annotation": 1,
        "malformed_xml": 1,
        "one_based_box": 1,
    }


def test_xml_size_of_0_by_0_is_taken_from_the_file(pack_voc, voc_xml, encode_image):
    xml = voc_xml(("cat", 1, 1, 64, 48), size=(0, 0))
    index, samples = pack_voc({"a.jpg": encode_image()}, {"a": xml}, ["a"])
    assert index.report == {"size_missing": 1, "one_based_box": 1}
    assert (samples["a.jpg"].record["width"], samples["a.jpg"].record["height"]) == (64, 48)
    assert index.shards[0].widths == [64]


def test_names_with_dots_spaces_flags_and_endings(pack_voc, voc_xml, encode_image):
    names = ["v1.0 final", "two words", "flagged", "with ending", "odd 1"]
    lines = ["v1.0 final", "", "two words  1", "flagged -1", "with ending.jpg", "odd 1"]
    xmls = {name: voc_xml(("cat", 1, 1, 9, 9)) for name in names}
    _, samples = pack_voc({f"{name}.jpg": encode_image() for name in names}, xmls, lines)
    assert list(samples) == [f"{name}.jpg" for name in names]
    assert [sample.key for sample in samples.values()] == [f"{number:09d}" for number in range(5)]


def test_image_that_is_no_jpg_is_found_and_a_name_listed_twice_is_skipped(pack_voc, voc_xml, encode_image):
    xmls = {"a": voc_xml(("cat", 1, 1, 9, 9))}
    index, samples = pack_voc({"a.png": encode_image(kind="PNG")}, xmls, ["a", "a"])
    assert list(samples) == ["a.png"]
    assert index.report == {"duplicate_image": 1, "one_based_box": 1}


def test_classes_fix_order_and_subset(pack_voc, voc_xml, encode_image):
    xmls = {"a": voc_xml(("cat", 1, 1, 9, 9), ("emu", 1, 1, 9, 9), ("dog", 1, 1, 9, 9))}
    index, samples = pack_voc({"a.jpg": encode_image()}, xmls, ["a"], classes=["dog", "cat"])
    assert [category.name for category in index.categories] == ["dog", "cat"]
    assert [annotation["label"] for annotation in samples["a.jpg"].record["annotations"]] == [2, 1]
    assert index.report == {"one_based_box": 2, "other_class": 1}


def test_labels_come_from_all_xml_files_and_not_from_parts(pack_voc, voc_xml, encode_image):
    part = "<object><name>person</name><part><name>head</name></part></object></annotation>"
    xmls = {"a": voc_xml(("cat", 1, 1, 9, 9)), "elsewhere": voc_xml().replace("</annotation>", part)}
    index, _ = pack_voc({"a.jpg": encode_image()}, xmls, ["a"])
    assert [category.name for category in index.categories] == ["cat", "person"]


def test_difficult_is_kept(pack_voc, voc_xml, encode_image):
    xml = voc_xml(("cat", 1, 1, 9, 9)).replace("<difficult>0", "<difficult>1")
    _, samples = pack_voc({"a.jpg": encode_image()}, {"a": xml}, ["a"])
    assert samples["a.jpg"].record["annotations"][0]["difficult"] == 1


def test_wrong_folders_and_splits_are_named_with_the_right_ones(make_voc, voc_xml, encode_image):
    root = make_voc({"a.jpg": encode_image()}, {"a": voc_xml(("cat", 1, 1, 9, 9))}, ["a"])
    with pytest.raises(InputError, match=r"val\.txt: no such split; choose one of: train"):
        voc_source(root, "val")
    with pytest.raises(InputError, match=r"no Annotations.*did you mean .*VOC2007\?"):
        voc_source(root.parent, "train")


def test_set_without_any_object_needs_classes(make_voc, voc_xml, encode_image):
    root = make_voc({"a.jpg": encode_image()}, {"a": voc_xml()}, ["a"])
    with pytest.raises(InputError, match="no XML file has an object; name the classes with --classes"):
        voc_source(root, "train")
    assert len(voc_source(root, "train", classes=["cat"]).items) == 1
    with pytest.raises(InputError, match="twice"):
        voc_source(root, "train", classes=["cat", "cat"])


def declared(encoding, xml):
    return f'<?xml version="1.0" encoding="{encoding}"?>{xml}'


@pytest.mark.parametrize(
    "encode",
    [
        lambda xml: b"\xef\xbb\xbf" + xml.encode(),
        lambda xml: b"\xef\xbb\xbf" + declared("utf-8", xml).encode(),
        lambda xml: b"\n " + declared("UTF-8", xml).encode(),
        lambda xml: declared("utf-16", xml).encode("utf-16"),
        lambda xml: declared("utf-16", xml).encode("utf-16-be"),
        lambda xml: xml.encode("utf-16-le"),
        lambda xml: declared("utf-16", xml).encode(),
        lambda xml: declared("gbk", xml).encode("gbk"),
        lambda xml: declared("GB2312", xml.replace("\u732b", "\u9f98")).encode("gbk"),
        lambda xml: declared("Shift_JIS", xml).encode("shift_jis"),
    ],
)
def test_xml_in_every_encoding_that_it_shows(make_voc, voc_xml, encode_image, read_packed, tmp_path, encode):
    root = make_voc({"a.jpg": encode_image()}, {}, ["a"])
    (root / "Annotations" / "a.XML").write_bytes(encode(voc_xml(("\u732b", 1, 2, 20, 30))))
    write_shards(voc_source(root, "train"), tmp_path / "out")
    index, (sample,) = read_packed(tmp_path / "out")
    assert index.categories[0].name in ("\u732b", "\u9f98")
    assert boxes(sample) == [[0, 1, 20, 30]]


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (
            "<annotation><name>\u72d7".encode("gbk"),
            "is not UTF-8 (byte 0xb9 at 18), but perhaps in a regional encoding, ",
        ),
        (declared("utf-8", "\u00fc").encode("latin-1"), "is not UTF-8 (byte 0xfc at 38), but perhaps"),
        (declared("klingon", "").encode(), "has the unknown encoding 'klingon'; save it as UTF-8"),
        (declared("hex", "").encode(), "has the unknown encoding 'hex'; save it as UTF-8"),
        (b"<annotation>\0</annotation>", "not well-formed"),
        (b"", "no element found"),
        (b"<html><body/></html>", "its root is <html>, not <annotation>"),
    ],
)
def test_xml_that_cannot_be_decoded_is_named_with_its_byte(make_voc, voc_xml, encode_image, tmp_path, xml, reason):
    root = make_voc({name: encode_image() for name in ("a.jpg", "b.jpg")}, {"b": voc_xml(("x", 1, 1, 9, 9))}, "ab")
    (root / "Annotations" / "a.xml").write_bytes(xml)
    with pytest.raises(InputError, match=rf"malformed_xml x 1 \(first: a.xml: {re.escape(reason)}") as caught:
        write_shards(voc_source(root, "train"), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_xml_and_images_in_folders(make_voc, voc_xml, encode_image, read_packed, tmp_path):
    root = make_voc({}, {}, ["north/a", "south/a", "b", "a", "JPEGImages\\south\\c.JPG"])
    for number, name in enumerate(("north/a", "south/a", "south/b", "south/c"), start=1):
        for folder, suffix, data in (
            ("Annotations", ".xml", voc_xml(("x", number, 1, 20, 30)).encode()),
            ("JPEGImages", ".jpg", encode_image()),
        ):
            (root / folder / name).parent.mkdir(exist_ok=True)
            (root / folder / name).with_suffix(suffix).write_bytes(data)
    index = write_shards(voc_source(root, "train"), tmp_path / "out", max_loss=0.2)
    _, samples = read_packed(tmp_path / "out")
    assert [(each.record["file_name"], boxes(each)[0][0]) for each in samples] == [
        ("north/a.jpg", 0),
        ("south/a.jpg", 1),
        ("south/b.jpg", 2),
        ("south/c.jpg", 3),
    ]
    assert index.report == {"one_based_box": 4, "inexact_file_name": 2, "ambiguous_file_name": 1}


def test_xml_alone_in_a_folder_is_named(make_voc, voc_xml, encode_image, tmp_path):
    root = make_voc({"a.jpg": encode_image()}, {}, ["a"])
    (root / "Annotations" / "deep").mkdir()
    (root / "Annotations" / "deep" / "a.xml").write_text(voc_xml(("x", 1, 1, 20, 30)))
    index = write_shards(voc_source(root, "train"), tmp_path / "out")
    assert index.report == {"one_based_box": 1, "inexact_file_name": 1}


def test_the_xml_names_its_image_where_none_or_several_are_called_like_it(
    make_voc, voc_xml, encode_image, read_packed, tmp_path
):
    stated = {
        "one": "stale.jpg",  # its own name counts
        "two": "two.png",
        "three": "IMG_7",
        "four": "C:\\photos\\other.JPG",
        "five": "one.jpg",  # which is the image of another file
        "six": "",
    }
    xmls = {
        name: voc_xml(("x", 1, 1, 9, 9)).replace("<size>", f"<filename>{file}</filename><size>")
        for name, file in stated.items()
    }
    files = ["one.jpg", "two.jpg", "two.png", "IMG_7.jpg", "other.jpg", "stale.jpg", "six.jpg", "six.png"]
    images = {file: encode_image(kind="PNG" if file.endswith("png") else "JPEG") for file in files}
    index = write_shards(voc_source(make_voc(images, xmls, list(stated)), "train"), tmp_path / "out", max_loss=1)
    _, samples = read_packed(tmp_path / "out")
    assert [each.record["file_name"] for each in samples] == ["one.jpg", "two.png", "IMG_7.jpg", "other.jpg"]
    assert index.report == {
        "one_based_box": 4,
        "inexact_file_name": 2,
        "missing_image": 1,
        "ambiguous_file_name": 1,
    }


def test_split_in_another_encoding(make_voc, voc_xml, encode_image):
    root = make_voc({"\u732b.jpg": encode_image()}, {"\u732b": voc_xml(("x", 1, 1, 9, 9))}, [])
    path = root / "ImageSets" / "Main" / "train.txt"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_text("\u732b\n", encoding=encoding)
        assert [item.file_name for item in voc_source(root, "train").items] == ["\u732b.jpg"]
    path.write_text("a\n\u72d7\n", encoding="gbk")
    with pytest.raises(InputError, match=r"train\.txt: is not UTF-8 \(byte 0x[0-9a-f]{2} at 2\), .* save it as UTF-8"):
        voc_source(root, "train")


def test_missing_image_sets_are_named_with_the_way_out(make_voc, voc_xml, encode_image):
    root = make_voc({"a.jpg": encode_image()}, {"a": voc_xml(("cat", 1, 1, 9, 9))}, ["a"])
    shutil.rmtree(root / "ImageSets")
    with pytest.raises(InputError, match=r"it has no ImageSets/Main; write the names .* ImageSets/Main/train.txt"):
        voc_source(root, "train")
