from pathlib import Path

import pytest

from lightning_rcnn.data.image_files import find_images
from lightning_rcnn.errors import InputError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/2.jpg", "a/1.PNG", "a/deep/1.jpg", "a/notes.txt", "b/2.jpg", "c.xyz", "a/out/2.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_folders_give_their_images_sorted(tree):
    files = find_images([Path("a")])
    assert [str(file.path) for file in files] == ["a/1.PNG", "a/2.jpg", "a/deep/1.jpg", "a/out/2.jpg"]
    assert [file.name for file in files] == [file.path for file in files]


def test_results_are_no_input(tree):
    assert Path("a/out/2.jpg") not in [file.path for file in find_images([Path("a")], without=Path("a/out"))]


def test_files_are_taken_as_given_whatever_their_suffix(tree):
    assert [file.path for file in find_images([Path("c.xyz"), Path("b/2.jpg")])] == [Path("c.xyz"), Path("b/2.jpg")]


def test_a_file_that_is_named_twice_counts_once(tree):
    files = find_images([Path("a/2.jpg"), Path("a"), tree / "a"])
    assert len(files) == 4


def test_names_are_unique(tree):
    files = find_images([Path("a/2.jpg"), Path("b/2.jpg")])
    assert [str(file.name) for file in files] == ["2.jpg", "2-2.jpg"]


def test_what_is_not_there_is_named(tree):
    with pytest.raises(InputError, match=r"^nowhere: no such file or folder$"):
        find_images([Path("a"), Path("nowhere")])
    with pytest.raises(InputError, match=r"^no image in empty; looked for \*\.bmp"):
        find_images([Path("empty")])
