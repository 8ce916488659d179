"""Whatever is in the files of a data set: it is packed, or refused in one line, and nothing half-written stays."""

import tarfile
import zipfile

import pytest

from lightning_rcnn.cli import main
from lightning_rcnn.data.formats import layout
from lightning_rcnn.data.pack.any_format import find_data, read_data
from lightning_rcnn.data.pack.write_splits import write_splits
from lightning_rcnn.errors import InputError
from tests.data.formats.junk import IMAGES, SETS, damage


def write(write_files, name, texts):
    return write_files(texts, IMAGES.get(name, ["a.jpg", "b.png"]))


def pack(tmp_path, command, root):
    """Return the line with which the set is refused; "" if it was packed."""
    out = tmp_path / "out"
    before = {path.name for path in tmp_path.iterdir()} - {"out"}
    line = ""
    try:
        found = find_data(root) if command is None else read_data(command, root)
        write_splits(found.sources, out, max_loss=1, overwrite=True)
    except InputError as error:
        line = str(error)
    assert {path.name for path in tmp_path.iterdir()} - {"out"} == before
    assert "\n" not in line
    assert len(line) < 2000
    return line


@pytest.mark.parametrize("name", SETS)
def test_junk_is_packed_or_refused_in_one_line(write_files, tmp_path, name):
    command = name.partition(" ")[0]
    assert not pack(tmp_path, command, write(write_files, name, SETS[name]))
    for seed in range(20):
        texts = dict(SETS[name])
        file = sorted(texts)[seed % len(texts)]
        texts[file] = damage(texts[file], seed)
        root = write(write_files, name, texts)
        pack(tmp_path, command if seed % 4 else None, root)


def test_archives_are_refused_with_the_command_that_unpacks_them(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    with zipfile.ZipFile(tmp_path / "set" / "a.zip", "w") as archive:
        archive.writestr("../../escaped.txt", "0 .5 .5 .2 .2")
    with tarfile.open(tmp_path / "set" / "b.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "set" / "a.zip", "../escaped.txt")
    (tmp_path / "set" / "renamed").write_bytes((tmp_path / "set" / "a.zip").read_bytes())
    lines = {
        "a.zip": "a.zip: an archive; unpack it first (`unzip",
        "b.tar.gz": "b.tar.gz: an archive; unpack it first (`mkdir b && tar",
        "renamed": "renamed: an archive; unpack it first (`unzip",
        "": "no annotations of a known format, but archives (a.zip, b.tar.gz); unpack them first",
    }
    for path, words in lines.items():
        for command in ("auto", "yolo") if path else ("auto",):
            assert main(["pack", command, str(tmp_path / "set" / path), "--out", str(tmp_path / "out")]) == 1
            error = capsys.readouterr().err
            assert error.count("\n") == 1
            assert words in error
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "b.tar.gz", "renamed", "set"]


@pytest.mark.parametrize("name", ["coco", "lvis", "via", "createml", "labelstudio", "jsonl", "ndjson"])
def test_json_that_does_not_fit_into_memory_is_refused(write_files, tmp_path, monkeypatch, name):
    root = write(write_files, name, SETS[name])
    monkeypatch.setattr(layout, "MIN_CHECKED", 1)
    monkeypatch.setattr(layout, "free_memory", lambda: 100)
    assert "of JSON takes about" in pack(tmp_path, name, root)


def test_pack_coco_checks_the_memory_too(write_files, monkeypatch, capsys):
    root = write(write_files, "coco", SETS["coco"])
    monkeypatch.setattr(layout, "MIN_CHECKED", 1)
    monkeypatch.setattr(layout, "free_memory", lambda: 100)
    command = ["pack", "coco", "--images", str(root), "--annotations", str(root / "x.json"), "--out", str(root / "out")]
    assert main(command) == 1
    assert "of JSON takes about" in capsys.readouterr().err
