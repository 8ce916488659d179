import pytest

from lightning_rcnn.cli.output_paths import require_file, require_folder
from lightning_rcnn.errors import InputError


def test_a_path_that_can_be_written_is_left_as_it_was(tmp_path):
    (tmp_path / "empty").mkdir()
    require_folder(tmp_path / "a" / "b", "--out")
    require_folder(tmp_path / "empty", "--out")
    require_file(tmp_path / "c" / "file.json", "--json")
    require_file(tmp_path / "empty" / "d" / "file.json", "--json")
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_in_the_way_is_named(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=rf"^--out .*{place}: cannot be written \(.*\); choose another folder$"):
        require_folder(tmp_path / place, "--out")
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


def test_a_command_that_finds_nothing_leaves_no_folder(error_line, tmp_path):
    words = ("evaluate", "--annotations", tmp_path / "none.json", "--results", tmp_path / "none.json")
    written = tmp_path / "written"
    assert "none.json" in error_line(*words, "--report", written / "report", "--json", written / "figures" / "a.json")
    assert "none" in error_line("inspect", tmp_path / "none", "--out", written / "page" / "a.html")
    assert not written.exists()


def test_a_file_is_neither_a_folder_nor_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--json .*: is a folder"):
        require_file(tmp_path, "--json")
    with pytest.raises(InputError, match=r"--json .*: cannot be written"):
        require_file(tmp_path / "file" / "figures.json", "--json")


def test_urls_where_files_are_written(error_line, tmp_path):
    message = ": is a URL, and a path on this machine is due; copy files there or from there"
    assert (
        error_line("pack", "shapes", "--num", "1", "--out", "s3://bucket/shapes")
        == f"--out s3://bucket/shapes{message}"
    )
    words = ("detect", "--checkpoint", "a.ckpt", "--images", "photos", "--out", "gs://bucket/found")
    assert error_line(*words) == f"--out gs://bucket/found{message}"
    words = ("show", "--model", "FasterRCNN", "--data.train", "shards", "--out", "s3://bucket/sheets")
    assert error_line(*words) == f"--out s3://bucket/sheets{message}"
