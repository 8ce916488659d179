import argparse
import os
import pickle

import numpy as np
import pytest
import torch

from lightning_rcnn.checkpoints.reading import read_weights
from lightning_rcnn.errors import InputError

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(7)}


def assert_is_read(path):
    read = read_weights(path)
    assert read.keys() == WEIGHTS.keys()
    for name, value in WEIGHTS.items():
        assert read[name].equal(value)


@pytest.mark.parametrize("wrapping", [None, "model", "state_dict"])
@pytest.mark.parametrize("is_new", [True, False], ids=["zip", "before torch 1.6"])
def test_files_of_torch(tmp_path, wrapping, is_new):
    content = {wrapping: WEIGHTS, "epoch": 3} if wrapping else WEIGHTS
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=is_new)
    assert_is_read(tmp_path / "a.pth")


@pytest.mark.parametrize("wrapping", [None, "model", "blobs"])
def test_pickles(tmp_path, wrapping):
    arrays = {name: value.numpy() for name, value in WEIGHTS.items()}
    content = {wrapping: arrays, "__author__": "someone"} if wrapping else arrays
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    assert_is_read(tmp_path / "a.pkl")


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def damaged(tmp_path, kind):
    path = tmp_path / "weights.pth"
    torch.save(WEIGHTS | {"c": torch.zeros(10_000)}, path, _use_new_zipfile_serialization=kind != "half an old file")
    whole = path.read_bytes()
    if kind.startswith("half"):
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "an error page":
        path.write_text("<html><body>404</body></html>")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "no weights":
        torch.save({"epoch": 3}, path)
    elif kind == "a call":
        torch.save({"model": WEIGHTS, "x": Touch(tmp_path / "was_here")}, path)
    elif kind == "a call in an old file":
        torch.save({"x": Touch(tmp_path / "was_here")}, path, _use_new_zipfile_serialization=False)
    elif kind == "other objects":
        torch.save({"model": WEIGHTS, "args": argparse.Namespace(lr=1)}, path)
    elif kind == "a list":
        path.write_bytes(pickle.dumps([np.zeros(3)]))
    return path


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("half", "the end of the file is missing"),
        ("half an old file", "not a readable torch file"),
        ("an error page", "neither a file of torch nor a pickle"),
        ("empty", "neither a file of torch nor a pickle"),
        ("no weights", "holds no weights"),
        ("a call", "holds more than weights and plain values"),
        ("a call in an old file", "holds more than weights and plain values"),
        ("other objects", "holds more than weights and plain values"),
        ("a list", "holds no weights"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(tmp_path, kind, problem):
    path = damaged(tmp_path, kind)
    with pytest.raises(InputError, match=problem) as caught:
        read_weights(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_weights(tmp_path / "none.pth")
