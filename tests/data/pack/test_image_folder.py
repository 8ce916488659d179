"""Names in a COCO file against a folder on disk."""

import json

import pytest

from lightning_rcnn.data.folder_listing import list_files
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.image_folder import locate_images
from lightning_rcnn.data.pack.write import write_shards


@pytest.fixture
def folder(tmp_path):
    for name in (
        "data/train/a.jpg",
        "data/train/deep/b.jpg",
        "data/val/c.jpg",
        "data/val/a.jpg",
        "data/train/notes.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"?")
    return tmp_path / "data" / "train"


def located(folder, *names):
    images = locate_images(folder, names)
    return images.files, {finding.defect.label: finding.location for finding in images.findings}, images.unlisted


def test_exact_names_need_no_word(folder):
    names = ["a.jpg", "./deep//b.jpg", "deep/../a.jpg", str(folder / "a.jpg"), "notes.txt"]
    files, findings, unlisted = located(folder, *names)
    assert list(files.values()) == ["a.jpg", "deep/b.jpg", "a.jpg", "a.jpg", "notes.txt"]
    assert (findings, unlisted) == ({}, [])


@pytest.mark.parametrize("name", ["train/a.jpg", "./train/a.jpg", "data\\train\\a.jpg", "/elsewhere/train/a.jpg"])
def test_name_may_begin_with_the_folder(folder, name):
    files, findings, unlisted = located(folder, name)
    assert files == {name: "a.jpg"}
    assert findings == {"inexact_file_name": f"{name}: a.jpg"}
    assert unlisted == ["deep/b.jpg"]


@pytest.mark.parametrize("name", ["../val/c.jpg", "val/a.jpg", "..\\val\\a.jpg", "val\\a.jpg"])
def test_name_that_leads_out_of_the_folder_is_not_read_nor_taken_for_one_in_it(folder, name):
    assert located(folder, name)[:2] == ({}, {"file_outside_folder": name})


def test_absolute_path_of_a_file_elsewhere_is_read_and_noted(folder):
    name = str(folder.parent / "val" / "a.jpg")
    assert located(folder, name)[:2] == ({name: name}, {"absolute_file_name": name})


def test_path_that_leads_out_of_the_folder_and_to_nothing_is_read_from_its_end(folder):
    assert located(folder, "../../images/a.jpg")[0] == {"../../images/a.jpg": "a.jpg"}


@pytest.mark.parametrize("name", ["", ".", "deep", "a\0.jpg", "\ud800", "gone.jpg", "x" * 5000])
def test_impossible_names_are_missing_files(folder, name):
    files, findings, _ = located(folder, name)
    assert files == {}
    assert list(findings) == ["missing_image"]


def test_links_are_followed_once_and_hidden_files_left_out(folder, tmp_path):
    (folder / "loop").symlink_to(folder.parent)
    (folder / "same").symlink_to(folder / "deep")
    (folder / "linked").symlink_to(folder.parent / "val")
    (folder / "again").symlink_to(folder.parent / "val")
    (folder / ".hidden").mkdir()
    for name in (".hidden/a.jpg", "._a.jpg"):
        (folder / name).touch()
    listed = list_files(folder)
    assert [name for name in listed if name not in ("a.jpg", "deep/b.jpg", "notes.txt")] in (
        ["again/a.jpg", "again/c.jpg"],
        ["linked/a.jpg", "linked/c.jpg"],
    )
    names = ["again/c.jpg", "linked/a.jpg", "same/b.jpg", ".hidden/a.jpg"]
    assert located(folder, *names)[:2] == ({name: name for name in names}, {})


def test_resolved_image_has_the_annotations_of_its_name(make_coco, encode_image, read_packed, tmp_path):
    names = ["images\\cafe\u0301.jpg", "images\\deep\\b.PNG"]
    entries = [{"id": number, "file_name": name, "width": 64, "height": 48} for number, name in enumerate(names)]
    boxes = [{"id": n + 1, "image_id": n, "category_id": 1, "bbox": [n, 2, 10, 20]} for n in range(2)]
    files = {"caf\u00e9.jpg": encode_image(), "deep/b.jpg": encode_image()}
    write_shards(coco_source(*make_coco(files, entries, boxes)), tmp_path / "out")
    index, samples = read_packed(tmp_path / "out")
    assert index.report == {"inexact_file_name": 2}
    assert [(each.record["file_name"], each.record["annotations"][0]["bbox"]) for each in samples] == [
        ("caf\u00e9.jpg", [0, 2, 10, 22]),
        ("deep/b.jpg", [1, 2, 11, 22]),
    ]


def test_names_that_cannot_be_printed_stay_on_one_line(make_coco, encode_image, tmp_path):
    entry = {"id": 1, "file_name": "a\n\x1b\ud800.jpg"}
    source = coco_source(*make_coco({"a.jpg": encode_image()}, [entry]))
    (location,) = (location for defect, _, location in source.log.rows() if defect.label == "missing_image")
    assert location.startswith(r"a\n\x1b\ud800.jpg")
    assert json.dumps(location)
