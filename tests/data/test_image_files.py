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


def test_what_is_left_out_of_a_folder_is_named(tree):
    (tree / "a" / "plain").touch()
    os.mkfifo(tree / "a" / "pipe")
    (tree / "a" / "pipe.jpg").symlink_to(tree / "a" / "pipe")
    found = find_images([Path("a"), Path("a/plain")])
    paths = [file.path for file in found.images]
    assert Path("a/plain") in paths
    assert Path("a/pipe.jpg") not in paths
    assert found.left_out == [Path("a/notes.txt")]


def test_links_to_folders_are_followed_and_hidden_files_are_not_listed(tree):
    for name in ("elsewhere/deep/3.jpg", "a/.hidden/4.jpg", "a/._2.jpg", "a/lost+found/5.jpg"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    (tree / "a" / "linked").symlink_to(tree / "elsewhere")
    (tree / "elsewhere" / "circle").symlink_to(tree / "a")
    (tree / "a" / "again").symlink_to(tree / "a" / "deep")
    (tree / "a" / "self.jpg").symlink_to(tree / "a" / "self.jpg")
    (tree / "a" / "gone.jpg").symlink_to(tree / "nowhere.jpg")
    files = [str(file.path) for file in find_images([Path("a")], without=Path("a/out")).images]
    # A link that leads nowhere is named when it is read.
    assert files == ["a/1.PNG", "a/2.jpg", "a/deep/1.jpg", "a/gone.jpg", "a/linked/deep/3.jpg", "a/self.jpg"]


def test_a_folder_that_cannot_be_listed_is_named(tree, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"^a: cannot be listed \(Permission denied\); check its permissions$"):
        find_images([Path("a")])


def test_a_file_that_may_not_be_looked_at_is_named_where_it_is_read(tree, monkeypatch):
    """Folders may be listed whose files may not be looked at."""
    look = os.stat

    def refuse(path, **options):
        if str(path).endswith("2.jpg"):
            raise PermissionError(13, "Permission denied", path)
        return look(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    assert Path("a/2.jpg") in [file.path for file in find_images([Path("a")]).images]


def test_a_name_that_is_no_utf_8_can_be_shown():
    assert shown_path(Path(os.fsdecode(b"caf\xe9.jpg"))) == "caf\\xe9.jpg"


def test_what_is_not_there_is_named(tree):
    with pytest.raises(InputError, match=r"^nowhere: no such file or folder$"):
        find_images([Path("a"), Path("nowhere")])
    with pytest.raises(InputError, match=r"^empty: no image; the names of images match \*\.apng, \*\.avif"):
        find_images([Path("empty")])
