import os
from pathlib import Path

import pytest

from lightning_rcnn.data.image_files import find_images, shown_path
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
    files = find_images([Path("a")]).images
    assert [str(file.path) for file in files] == ["a/1.PNG", "a/2.jpg", "a/deep/1.jpg", "a/out/2.jpg"]
    assert [file.name for file in files] == [file.path for file in files]


def test_results_are_no_input(tree):
    assert Path("a/out/2.jpg") not in [file.path for file in find_images([Path("a")], without=Path("a/out")).images]


def test_given_files_may_have_any_suffix(tree):
    assert [file.path for file in find_images([Path("c.xyz"), Path("b/2.jpg")]).images] == [
        Path("c.xyz"),
        Path("b/2.jpg"),
    ]


def test_a_file_that_is_named_twice_counts_once(tree):
    files = find_images([Path("a/2.jpg"), Path("a"), tree / "a"]).images
    assert len(files) == 4


def test_names_are_unique(tree):
    files = find_images([Path("a/2.jpg"), Path("b/2.jpg")]).images
    assert [str(file.name) for file in files] == ["2.jpg", "2-2.jpg"]


def test_what_is_left_out_of_a_folder_is_named(tree):
    (tree / "a" / "._2.jpg").touch()
    (tree / "a" / "plain").touch()
    found = find_images([Path("a"), Path("a/plain")])
    assert Path("a/plain") in [file.path for file in found.images]
    assert found.left_out == [Path("a/._2.jpg"), Path("a/notes.txt")]


def test_folders_of_the_same_name_keep_their_images_apart(tree):
    for folder in ("p/x", "q/x"):
        (tree / folder).mkdir(parents=True)
        (tree / folder / "1.jpg").touch()
    assert [str(file.name) for file in find_images([Path("p/x"), Path("q/x")]).images] == ["x/1.jpg", "x/1-2.jpg"]


def test_a_name_that_is_no_utf_8_can_be_shown():
    assert shown_path(Path(os.fsdecode(b"caf\xe9.jpg"))) == "caf\\xe9.jpg"


def test_what_is_not_there_is_named(tree):
    with pytest.raises(InputError, match=r"^nowhere: no such file or folder$"):
        find_images([Path("a"), Path("nowhere")])
    with pytest.raises(InputError, match=r"^empty: no image; the names of images match \*\.apng, \*\.avif"):
        find_images([Path("empty")])
