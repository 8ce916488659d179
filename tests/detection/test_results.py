"""The file of lines: what a killed run leaves, other settings, and the files in COCO's form."""

import json
import os
import subprocess
import sys

import pytest

from lightning_rcnn.detection.results import ResultsFile, read_lines, write_coco
from lightning_rcnn.errors import InputError

SETTINGS = {"threshold": 0.5, "views": [(1.0, False)]}


def entry(name, **more):
    found = {"category_id": 18, "class": "dog", "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.7}
    return {"image": name, **more, "width": 20, "height": 10, "objects": [found]}


@pytest.mark.parametrize("torn", [b"", b'{"image": "c.jpg", "wid', b"x" * 200_000])
def test_a_run_continues_after_the_last_whole_line(tmp_path, torn):
    first = ResultsFile(tmp_path, SETTINGS)
    for one in (entry("a.jpg"), entry("clip.mp4", frame=3)):
        first.append(one)
    with first.path.open("ab") as file:
        file.write(torn)
    second = ResultsFile(tmp_path, SETTINGS)
    assert second.done == {"a.jpg", "clip.mp4#3"}
    second.append(entry("c.jpg"))
    second.close()
    assert [one["image"] for one in read_lines(second.path)] == ["a.jpg", "clip.mp4", "c.jpg"]
    write_coco(second.path, [17, 18], ["cat", "dog"])
    result = {"image_id": 2, "category_id": 18, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.7}
    assert json.loads((tmp_path / "results.json").read_text())[1] == result
    assert json.loads((tmp_path / "images.json").read_text()) == {
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 20, "height": 10},
            {"id": 2, "file_name": "clip.mp4#3", "width": 20, "height": 10},
            {"id": 3, "file_name": "c.jpg", "width": 20, "height": 10},
        ],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
    }


def test_results_of_other_settings_are_not_mixed(tmp_path):
    ResultsFile(tmp_path, SETTINGS).append(entry("a.jpg"))
    with pytest.raises(InputError, match=r"holds results with threshold 0\.5, not 0\.3; give another folder"):
        ResultsFile(tmp_path, {**SETTINGS, "threshold": 0.3})


@pytest.mark.parametrize("name", ["results.jsonl", "results.json", "images.json"])
def test_files_of_another_origin_are_left_alone(tmp_path, name):
    (tmp_path / name).write_text("not ours, and without a newline")
    with pytest.raises(InputError, match=f"its {name} is of another origin, since it has no detect.json"):
        ResultsFile(tmp_path, SETTINGS)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["not ours, and without a newline"]


@pytest.mark.parametrize(
    "line", ["garbage", "", "[]", "3", '{"image": "a.jpg"}', '{"image": "a", "width": 1, "height": 1, "objects": [1]}']
)
def test_a_line_that_is_no_result_is_named(tmp_path, line):
    ResultsFile(tmp_path, SETTINGS).append(entry("a.jpg"))
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(InputError, match=r"results\.jsonl: line 2 is no result of an image; give another --out"):
        ResultsFile(tmp_path, SETTINGS)


def test_settings_that_cannot_be_read_are_named(tmp_path):
    ResultsFile(tmp_path, SETTINGS).append(entry("a.jpg"))
    for content in ("[1]", "3", "{"):
        (tmp_path / "detect.json").write_text(content)
        with pytest.raises(InputError, match=r"detect\.json: cannot be read .*; give another --out, or remove"):
            ResultsFile(tmp_path, SETTINGS)


def test_a_full_disk_is_one_line_and_leaves_whole_lines(tmp_path, monkeypatch):
    results = ResultsFile(tmp_path, SETTINGS)
    results.append(entry("a.jpg"))

    class FullDisk:
        def __init__(self, file):
            self._file = file

        def write(self, data):
            self._file.write(data[:5])
            raise OSError(28, os.strerror(28))

        def __getattr__(self, name):
            return getattr(self._file, name)

    results._file = FullDisk(results._file)
    with pytest.raises(InputError, match=r"results\.jsonl: cannot be written \(No space left on device\); make room"):
        results.append(entry("b.jpg"))
    assert [one["image"] for one in read_lines(results.path)] == ["a.jpg"]


def test_one_call_at_a_time_writes_into_a_folder(tmp_path):
    hold = "import fcntl, sys; lock = open(sys.argv[1], 'ab'); fcntl.lockf(lock, fcntl.LOCK_EX); print(1); input()"
    command = [sys.executable, "-u", "-c", hold, tmp_path / ".lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(InputError, match="another `detect` writes there; wait for its end, or give another folder"):
            ResultsFile(tmp_path, SETTINGS)
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock"]
        other.kill()
    results = ResultsFile(tmp_path, SETTINGS)
    results.append(entry("a.jpg"))
    results.close()
