import argparse
import errno
import fractions
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from lightning_rcnn.checkpoints.reading import read_weights
from lightning_rcnn.errors import InputError

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(7)}


def assert_is_read(path):
    read = read_weights(path).weights
    assert read.keys() == WEIGHTS.keys()
    for name, value in WEIGHTS.items():
        assert read[name].equal(value)


@pytest.mark.parametrize("wrapping", [None, "model", "state_dict"])
@pytest.mark.parametrize("is_new", [True, False], ids=["zip", "before torch 1.6"])
def test_files_of_torch(tmp_path, wrapping, is_new):
    content = {wrapping: WEIGHTS, "epoch": 3} if wrapping else WEIGHTS
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=is_new)
    assert_is_read(tmp_path / "a.pth")


def test_names_that_a_parallel_training_put_something_before(tmp_path):
    torch.save({"model": {f"module.{name}": value for name, value in WEIGHTS.items()}}, tmp_path / "a.pth")
    assert_is_read(tmp_path / "a.pth")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "model._orig_mod.module."])
def test_names_of_what_was_around_the_detector(tmp_path, prefix):
    torch.save({"state_dict": {f"{prefix}{name}": value for name, value in WEIGHTS.items()}}, tmp_path / "a.pth")
    assert_is_read(tmp_path / "a.pth")


class HistoryBuffer:
    """Stands for mmengine's, which has arrays of numpy."""

    def __init__(self):
        self.log, self.last = np.arange(3.0), np.float32(2)


@pytest.mark.parametrize("is_new", [True, False], ids=["zip", "before torch 1.6"])
def test_logs_and_options_beside_the_weights_are_passed_over(tmp_path, is_new, monkeypatch):
    """As checkpoints of mmengine, and of torchvision's training script, have them; nothing of them is executed."""
    module = types.ModuleType("mmengine.logging.history_buffer")
    module.HistoryBuffer = HistoryBuffer
    monkeypatch.setitem(sys.modules, "mmengine", types.ModuleType("mmengine"))
    monkeypatch.setitem(sys.modules, "mmengine.logging", types.ModuleType("mmengine.logging"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(HistoryBuffer, "__module__", module.__name__)
    options = argparse.Namespace(lr=0.02, path="a")
    logs = {"log_scalars": OrderedDict(loss=HistoryBuffer()), "runtime_info": {"iter": 3}}
    content = {"state_dict": WEIGHTS, "meta": {"cfg": "a = 1"}, "message_hub": logs, "args": options}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=is_new)
    monkeypatch.delitem(sys.modules, module.__name__)
    assert_is_read(tmp_path / "a.pth")
    assert read_weights(tmp_path / "a.pth").meta == {"cfg": "a = 1"}


def test_an_array_of_numpy_among_tensors_is_named(tmp_path):
    torch.save({"model": WEIGHTS | {"c": np.zeros(3)}}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="'c' is an array of numpy in a file of torch; save tensors there"):
        read_weights(tmp_path / "a.pth")


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


ODD_WEIGHTS = {
    "a number shown a billion times": lambda: torch.zeros(1).expand(10**9),
    "a billion rows of nothing": lambda: torch.zeros(10**9, 0),
    "sparse weights": lambda: torch.eye(3).to_sparse(),
    "weights that are nowhere": lambda: torch.zeros(3, device="meta"),
}


def compress(path, enlarge):
    """Pack an archive again; with `enlarge` it is a thousand times as large when it is unpacked."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content + bytes(2**24 if enlarge else 0))


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
        torch.save({"model": WEIGHTS, "share": fractions.Fraction(1, 3)}, path)
    elif kind.startswith("compressed"):
        compress(path, enlarge=kind == "compressed and huge")
    elif kind == "an archive of something":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("weights.pth", whole)
    elif kind == "an archive with a damaged list":
        path.write_bytes(whole.replace(b"PK\x01\x02", b"PK\x00\x00"))
    elif kind == "weights in themselves":
        content = {"epoch": 3}
        torch.save(content | {"model": content, "state_dict": content}, path)
        content["model"] = content
        torch.save(content, path)
    elif kind in ODD_WEIGHTS:
        torch.save(WEIGHTS | {"odd.weight": ODD_WEIGHTS[kind]()}, path)
    elif kind == "a list":
        path.write_bytes(pickle.dumps([np.zeros(3)]))
    return path


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("half", "the end of the file is missing"),
        ("half an old file", "not a readable torch file"),
        ("an error page", r"neither a file of torch nor a pickle; give a checkpoint \(.ckpt, .pth, .pkl\)"),
        ("empty", r"neither a file of torch nor a pickle; give a checkpoint \(.ckpt, .pth, .pkl\)"),
        ("no weights", "holds no weights"),
        ("a call", "holds more than weights and plain values"),
        ("a call in an old file", "holds more than weights and plain values"),
        ("other objects", r"holds more than weights and plain values \(fractions.Fraction\).*save the weights alone"),
        ("compressed", "a compressed archive, which torch does not write; unpack it first"),
        ("compressed and huge", "a compressed archive"),
        ("an archive of something", "not a readable torch file"),
        ("an archive with a damaged list", "not a readable torch file"),
        ("weights in themselves", "holds no weights"),
        *((kind, "'odd.weight' is no array with all of its numbers in the file") for kind in ODD_WEIGHTS),
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


@pytest.mark.parametrize("place", ["pathlib.Path.is_file", "torch.load", "zipfile.ZipFile", "zipfile._EndRecData"])
def test_a_file_that_was_replaced_on_a_network_file_system_is_opened_again(tmp_path, monkeypatch, place):
    torch.save(WEIGHTS, tmp_path / "last.ckpt")
    monkeypatch.setattr("time.sleep", lambda seconds: monkeypatch.undo())

    def fail(*_, **__):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(place, fail)
    assert_is_read(tmp_path / "last.ckpt")
