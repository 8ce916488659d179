import shutil
from pathlib import Path

import pytest

from lightning_rcnn.data.index import Category
from lightning_rcnn.data.shards import read_index, read_shards, read_training_shards
from lightning_rcnn.errors import InputError


def names(source: str | list[str]) -> list[str]:
    shard_set = read_shards(source)
    assert [Path(address).name for address in shard_set.addresses] == [shard.name for shard in shard_set.index.shards]
    return [shard.name for shard in shard_set.index.shards]


@pytest.mark.parametrize("source", ["", "/index.json", "/*.tar", "/shard-{000000..000004}.tar", "/shard-00000?.tar"])
def test_ways_to_name_a_whole_folder(uneven_set: Path, source: str):
    assert names(f"{uneven_set}{source}") == [f"shard-{number:06d}.tar" for number in range(5)]


def test_some_shards_of_a_set(uneven_set: Path):
    assert names(f"{uneven_set}/shard-{{000003..000004}}.tar") == ["shard-000003.tar", "shard-000004.tar"]
    assert names([f"{uneven_set}/shard-000002.tar", f"{uneven_set}/shard-000000.tar"]) == [
        "shard-000000.tar",
        "shard-000002.tar",
    ]
    assert len(read_index(f"{uneven_set}/shard-000003.tar")) == 3


def test_a_part_has_a_fingerprint_of_its_own(uneven_set: Path):
    assert read_index(str(uneven_set)).fingerprint != read_index(f"{uneven_set}/shard-000003.tar").fingerprint


def test_the_home_folder_is_understood(uneven_set: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(uneven_set.parent))
    assert len(read_index("~/uneven")) == 43


def test_several_sets_become_one(uneven_set: Path, make_set, tmp_path: Path):
    make_set(tmp_path / "more", (4, 2), first_id=5000)
    shard_set = read_shards([str(uneven_set), str(tmp_path / "more")])
    assert len(shard_set.index) == 49
    assert shard_set.index.name == "uneven + more"
    assert shard_set.addresses[-1] == str(tmp_path / "more/shard-000001.tar")
    assert len(read_index(str(tmp_path / "*"))) == 6


def test_sets_that_share_an_image_id_are_refused(uneven_set: Path, make_set, tmp_path: Path):
    make_set(tmp_path / "more", (4, 2), first_id=1040)
    with pytest.raises(
        InputError, match=r"image id 1040 occurs in .*uneven/shard-000004.tar and in .*more/shard-000000"
    ):
        read_shards([str(uneven_set), str(tmp_path / "more")])
    assert len(read_training_shards([str(uneven_set), str(tmp_path / "more")]).index) == 49
    shutil.copytree(uneven_set, tmp_path / "copy")
    with pytest.raises(InputError, match=r"uneven/shard-000000.tar and .*copy/shard-000000.tar are copies of one"):
        read_training_shards([str(uneven_set), str(tmp_path / "copy")])


def test_sets_of_other_categories_are_refused(uneven_set: Path, make_set, tmp_path: Path):
    make_set(tmp_path / "more", (2,), first_id=5000, categories=[Category(1, "cat", 7), Category(2, "cow", 19)])
    with pytest.raises(InputError, match=r"label 2 is 'dog' \(id 19\) in uneven but 'cow' \(id 19\) in more"):
        read_shards([str(uneven_set), str(tmp_path / "more")])
    make_set(tmp_path / "fewer", (2,), first_id=5000, categories=[Category(1, "cat", 7)])
    with pytest.raises(InputError, match="uneven has 2 classes, fewer has 1 class;"):
        read_shards([str(uneven_set), str(tmp_path / "fewer")])


def test_sets_of_one_name_are_told_apart_by_their_folders(make_set, tmp_path: Path):
    """As two that were packed from files of one name."""
    first = make_set(tmp_path / "a" / "train", (1,), categories=[Category(1, "cat", 7), Category(2, "dog", 19)])
    same = make_set(tmp_path / "b" / "train", (1,), first_id=5000)
    assert read_index([str(first), str(same)]).name == f"train ({first}) + train ({same})"
    other = make_set(tmp_path / "c" / "train", (1,), categories=[Category(1, "cat", 7), Category(2, "cow", 19)])
    with pytest.raises(InputError) as caught:
        read_index([str(first), str(other)])
    assert f"label 2 is 'dog' (id 19) in train ({first}) but 'cow' (id 19) in train ({other});" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{set}-missing", "no such file or folder"),
        ("{set}/train", r"train: no such folder; .* is one packed set: give it, or pack again with --split 0\.8,0\.2"),
        ("{set}/shard-000009.tar", "shard-000009.tar: no such file"),
        ("{set}/other-*.tar", r"other-\*.tar: no file or folder matches"),
        ("{set}/shard-{{000003..000006}}.tar", "shard-000005.tar: no such file"),
        ("{set}/shard-{{0..3.tar", "unbalanced braces"),
        ("{set}/..", "has no index.json; give a packed set in it, such as .*/uneven"),
        ("what://bucket/train", "what:// is not supported"),
        ("pipe:cat {set}", "names no file; name a .tar file or index.json"),
    ],
)
def test_what_is_not_there_is_named(uneven_set: Path, source: str, message: str):
    with pytest.raises(InputError, match=message) as caught:
        read_shards(source.format(set=uneven_set))
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_packed_is_named_with_the_command(tmp_path: Path):
    with pytest.raises(InputError, match=f"has no index.json; make shards with `lightning-rcnn pack auto {tmp_path}`"):
        read_shards(str(tmp_path))


def test_an_empty_list_is_refused():
    with pytest.raises(InputError, match="the list of data sources is empty"):
        read_shards([])


def test_a_missing_or_cut_or_strange_shard_is_named(uneven_set: Path, tmp_path: Path):
    folder = tmp_path / "copy"
    shutil.copytree(uneven_set, folder)
    shutil.copy(folder / "shard-000001.tar", folder / "stranger.tar")
    with pytest.raises(InputError, match=r"stranger.tar: not in .*index.json"):
        read_shards(str(folder / "stranger.tar"))
    data = (folder / "shard-000001.tar").read_bytes()
    (folder / "shard-000001.tar").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"shard-000001.tar: has \d+ bytes, but its samples end at \d+"):
        read_shards(str(folder))
    (folder / "shard-000001.tar").unlink()
    with pytest.raises(InputError, match=r"shard-000001.tar: in the index, but missing"):
        read_shards(str(folder))
    assert len(read_index(str(folder / "shard-000002.tar"))) == 11  # what is not asked for need not be there


@pytest.mark.parametrize(
    "command", ["cat {set}/index.json", "cat {set}/shard-{{000000..000004}}.tar", "dd status=none if={set}/index.json"]
)
def test_commands(uneven_set: Path, command: str):
    shard_set = read_shards("pipe:" + command.format(set=uneven_set))
    assert len(shard_set.index) == 43
    assert shard_set.addresses[4].endswith(f"{uneven_set}/shard-000004.tar")
    assert shard_set.addresses[4].startswith("pipe:")


def test_part_of_a_set_by_command(uneven_set: Path):
    assert len(read_index(f"pipe:cat {uneven_set}/shard-{{000000..000001}}.tar")) == 20
