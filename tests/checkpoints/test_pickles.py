"""A pickle from elsewhere is read, but nothing in it is run."""

import os
import pickle
import subprocess
from collections import OrderedDict

import numpy as np
import pytest
import torch

from lightning_rcnn.checkpoints.pickles import read_pickle
from lightning_rcnn.errors import InputError

CONTENT = {
    "model": OrderedDict(
        weights=np.arange(6, dtype=np.float32).reshape(2, 3),
        columns_first=np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        big_endian=np.arange(3, dtype=">i4"),
        halves=np.float16([0.5, 2]),
        flags=np.array([True, False]),
        number=np.array(7, dtype=np.int64),
        nothing=np.zeros((0, 4), dtype=np.float32),
    ),
    "scalar": np.float32(1.5),
    "__author__": "someone",
    "nested": [1, (2.5, None), {"a": b"bytes"}],
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_containers_and_arrays_are_read(tmp_path, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(CONTENT, protocol=protocol))
    read = read_pickle(path)
    assert read["model"].keys() == CONTENT["model"].keys()
    for name, array in CONTENT["model"].items():
        assert read["model"][name].dtype == array.dtype.newbyteorder("="), name
        np.testing.assert_array_equal(read["model"][name], array)
    assert read["scalar"] == 1.5
    assert read["__author__"] == "someone"
    assert read["nested"] == [1, [2.5, None], {"a": b"bytes"}]


def test_arrays_of_python_2_are_read(tmp_path):
    """As in detectron2's oldest files: numbers in a string of the old kind, and numpy's old module."""
    path = tmp_path / "a.pkl"
    raw = np.float32([1, 2]).tobytes()
    path.write_bytes(
        b"\x80\x02}U\x01wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U\x08" + raw + b"tbs."
    )
    np.testing.assert_array_equal(read_pickle(path)["w"], [1, 2])


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda trace: Calls(os.system, f"touch {trace}"), "posix.system"),
        (lambda trace: Calls(subprocess.check_output, ["touch", trace]), "check_output"),
        (lambda trace: Calls(open, str(trace), "w"), "io.open"),
        (lambda trace: Calls(eval, f"open({str(trace)!r}, 'w')"), "eval"),
        (lambda trace: Calls(np.save, str(trace), np.zeros(1)), "numpy"),
    ],
)
def test_a_call_is_refused_and_not_made(tmp_path, make, name, protocol):
    trace = tmp_path / "was_here"
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"model": {"w": np.zeros(3)}, "x": make(trace)}, protocol=protocol))
    with pytest.raises(InputError, match=name) as caught:
        read_pickle(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def test_arrays_of_objects_are_refused(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(np.array([{}], dtype=object)))
    with pytest.raises(InputError, match="an array of 'O8'"):
        read_pickle(path)


def test_an_array_that_lies_about_its_size_is_refused(tmp_path):
    path = tmp_path / "a.pkl"
    whole = pickle.dumps(np.zeros(200, dtype=np.uint8), protocol=2)
    assert b"K\xc8\x85" in whole
    path.write_bytes(whole.replace(b"K\xc8\x85", b"K\xff\x85"))
    with pytest.raises(InputError, match="do not fit its shape"):
        read_pickle(path)


def nested(depth):
    """Two lists in each, which are one: 2 to the power of `depth` places in a file of a few bytes for each level."""
    value = [np.zeros(1)]
    for _ in range(depth):
        value = [value, value]
    return value


def test_what_stands_in_many_places_is_read_once(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(nested(100)))
    read = read_pickle(path)
    assert read[0] is read[1]


def reduced(function, arguments):
    """Opcodes that call what a name stands for."""
    return b"c" + function + b"\n" + arguments + b"R"


ZEROS = b"T\x00\x40\x00\x00" + bytes(16384)
ARRAY_OF_OBJECT_1 = (
    reduced(b"numpy.core.multiarray\n_reconstruct", b"(t")
    + (b"(K\x01M\x00\x40\x85" + reduced(b"numpy\ndtype", b"(U\x02u1t") + b"\x89h\x01tb")
    + b"0"
)
TRICKS = {
    "a high number": (b"\x80\x02}r\xff\xff\xff\x7f.", "room for 2147483647 objects"),
    "a high number in words": (b"}p4294967295\n.", "room for 4294967295 objects"),
    "one array often": (
        b"\x80\x02" + ZEROS + b"q\x010" + 99 * ARRAY_OF_OBJECT_1 + b"N.",
        "more numbers than it holds",
    ),
    "one mapping often": (
        b"\x80\x02]("
        + 200 * b"K\x00K\x01\x86"
        + b"eq\x010"
        + 999 * reduced(b"collections\nOrderedDict", b"h\x01\x85")
        + b".",
        "more numbers than it holds",
    ),
    "another function": (b"\x80\x02cnumpy\ndtype\n}U\x08__code__U\x01xsb.", "another meaning of a name"),
    "another class": (b"\x80\x02cnumpy\nndarray\nN}U\x08__call__U\x01xs\x86b.", "another meaning of a name"),
    "too few arguments": (reduced(b"_codecs\nencode", b")") + b".", "not a whole pickle"),
    "bytes by their number": (reduced(b"__builtin__\nbytes", b"J\xff\xff\xff\x7f\x85") + b".", "not a whole pickle"),
    "an object outside of the file": (b"\x80\x02U\x03abcQ.", "not a whole pickle"),
    "a list in itself": (b"\x80\x02]q\x00h\x00a.", "not a whole pickle"),
    "an instance": (b"(S'x'\nios\nsystem\n.", "os.system"),
    "an object of a class": (b"\x80\x02(cos\nsystem\nU\x01xo.", "os.system"),
    "a class": (b"\x80\x02cbuiltins\nint\n)\x81.", "builtins.int"),
    "an attribute": (b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.data\x93.", "numpy.ndarray.data"),
    "a registered extension": (b"\x80\x02\x82\x01.", "not a whole pickle"),
    "bytes without end": (b"\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00abc.", "not a whole pickle"),
    "a buffer outside of the file": (b"\x80\x05\x97.", "not a whole pickle"),
}
"""Pickles and what is said of them."""


@pytest.mark.parametrize(("content", "problem"), TRICKS.values(), ids=TRICKS.keys())
def test_tricks_are_refused(tmp_path, content, problem):
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=problem) as caught:
        read_pickle(path)
    assert "\n" not in str(caught.value)


def test_a_shape_of_something_else_than_numbers_is_refused(tmp_path):
    path = tmp_path / "a.pkl"
    whole = pickle.dumps(np.zeros(200, dtype=np.uint8), protocol=2)
    path.write_bytes(whole.replace(b"K\xc8\x85", b"U\x01aJ\xff\xff\xff\x7f\x86"))
    with pytest.raises(InputError, match="not of whole numbers"):
        read_pickle(path)


def test_what_torch_notes_on_a_mapping_is_left_out(tmp_path):
    """A state dict whose tensors became arrays one by one is still torch's mapping, with the versions of modules."""
    state = torch.nn.Linear(2, 1, bias=False).state_dict()
    state["weight"] = state["weight"].numpy()
    assert state._metadata
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(state))
    np.testing.assert_array_equal(read_pickle(path)["weight"], state["weight"])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_half_a_pickle_is_named(tmp_path, share):
    path = tmp_path / "half.pkl"
    whole = pickle.dumps({"model": {"w": np.zeros(1000)}})
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"half\.pkl: not a whole pickle") as caught:
        read_pickle(path)
    assert "\n" not in str(caught.value)
