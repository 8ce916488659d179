"""Checkpoints whose tensors lie in a folder beside them."""

import pytest
import torch
import torch.distributed.checkpoint as dcp

from lightning_rcnn.checkpoints.reading import checkpoint_files, read_content, read_weights
from lightning_rcnn.checkpoints.split import (
    change_tensors,
    files_of,
    is_split,
    joined,
    missing_files,
    next_folder,
    possible_folders,
    take_tensors,
)
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_save

CHECKPOINT = {
    "global_step": 3,
    "state_dict": {"weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(7)},
    "current_model_state": {"weight": torch.ones(2, 3), "count": torch.tensor(7)},
    "optimizer_states": [
        {
            "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.full((2, 3), 0.5)}},
            "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0]}],
        }
    ],
}


def flat(content):
    tensors = {}
    change_tensors(content, lambda name, tensor: tensors.setdefault(name, tensor))
    return tensors


@pytest.fixture
def saved(tmp_path):
    """A checkpoint as a strategy writes it."""
    path = tmp_path / "last.ckpt"
    content, tensors = take_tensors(CHECKPOINT, next_folder(path, None).name)
    dcp.save(tensors, checkpoint_id=tmp_path / content["tensors_in"], no_dist=True)
    atomic_save(content, path)
    return path


def test_the_file_has_shapes_and_the_folder_has_values(saved):
    content = read_content(saved)
    assert is_split(content)
    assert not is_split(CHECKPOINT)
    assert {name for name, tensor in flat(content).items() if tensor.is_meta} == {
        "state_dict/weight",
        "current_model_state/weight",
        "optimizer_states/0/state/0/exp_avg",
    }
    whole = joined(content, saved)
    assert whole.keys() == CHECKPOINT.keys()
    assert whole["optimizer_states"][0]["param_groups"] == CHECKPOINT["optimizer_states"][0]["param_groups"]
    expected = flat(CHECKPOINT)
    assert flat(whole).keys() == expected.keys()
    for name, tensor in flat(whole).items():
        assert tensor.equal(expected[name]), name


def test_weights_are_read_from_the_folder(saved):
    assert read_weights(saved).weights["weight"].equal(CHECKPOINT["state_dict"]["weight"])
    assert [file.name for file in files_of(saved, read_content(saved))] == ["last.ckpt", ".metadata", "__0_0.distcp"]
    assert files_of(saved, CHECKPOINT) == [saved]


def test_a_whole_checkpoint_is_not_read_for_its_files(saved, tmp_path):
    assert checkpoint_files(saved) == files_of(saved, read_content(saved))
    unreadable = tmp_path / "best.ckpt"
    unreadable.write_bytes(b"not read")
    assert checkpoint_files(unreadable) == [unreadable]


def test_files_that_are_missing_are_named(saved):
    folder, _ = possible_folders(saved)
    assert missing_files(folder) == []
    (folder / "__0_0.distcp").unlink()
    assert missing_files(folder) == ["__0_0.distcp"]


def test_two_folders_take_turns(saved):
    first, second = possible_folders(saved)
    assert next_folder(saved, None) == next_folder(saved, CHECKPOINT) == first
    assert next_folder(saved, read_content(saved)) == second
    assert next_folder(saved, {"tensors_in": second.name}) == first


@pytest.mark.parametrize("file", [".metadata", "__0_0.distcp", None])
def test_a_folder_that_is_missing_or_damaged_is_named(saved, file):
    folder, _ = possible_folders(saved)
    if file is None:
        folder.rename(saved.parent / "elsewhere")
    else:
        (folder / file).write_bytes((folder / file).read_bytes()[:20])
    with pytest.raises(InputError, match=f"^{folder}: (no such folder|the tensors of a checkpoint cannot be read)"):
        joined(read_content(saved), saved)


def test_the_file_holds_what_was_when_it_was_split():
    """Later steps run while the file is written."""
    history, average = [1], torch.zeros(2)
    checkpoint = {**CHECKPOINT, "callbacks": {"mine": {"history": history, "average": average}}}
    content, _ = take_tensors(checkpoint, "folder")
    history.append(2)
    average.add_(1)
    mine = content["callbacks"]["mine"]
    assert (mine["history"], mine["average"].tolist()) == ([1], [0, 0])


def test_two_tensors_of_one_name_are_refused():
    with pytest.raises(InputError, match="state_dict/a/b: two tensors of a checkpoint have this name"):
        take_tensors({"state_dict": {"a/b": torch.zeros(2), "a": {"b": torch.zeros(2)}}}, "folder")


def test_a_state_dict_keeps_the_versions_of_its_modules():
    state_dict = torch.nn.BatchNorm1d(2).state_dict()
    content, _ = take_tensors({"state_dict": state_dict}, "folder")
    assert content["state_dict"]._metadata == state_dict._metadata != {}
