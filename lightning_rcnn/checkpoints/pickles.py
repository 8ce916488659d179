"""Reading pickles from elsewhere without running what they say.

A pickle is a program: it may name any function and have it called. detectron2's files are pickles of numpy arrays, for
which a handful of names is enough. Each of these is answered by a function of this file that checks what it is given;
every other name ends the reading before anything has been called.
"""

import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lightning_rcnn.errors import InputError

_NUMBER_TYPE = re.compile(r"[biuf][1-8]")


def read_pickle(path: Path) -> Any:
    """What a pickle of plain containers, numbers, strings and numpy arrays of numbers holds.

    Raises:
        InputError: the file asks for something else, or is damaged.
    """
    try:
        with path.open("rb") as file:
            return _bare(_ArrayUnpickler(file, encoding="latin1").load())
    except _ForbiddenError as error:
        raise InputError(
            f"{path}: a pickle that asks for {error}, which no file of weights needs; it was not read any further"
        ) from None
    except Exception as error:  # a damaged pickle can go wrong in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a whole pickle ({reason}); is it damaged, or downloaded in part?") from error


class _ForbiddenError(Exception):
    """A name that is not admitted."""


class _NumberType:
    """Stands for `numpy.dtype`, which a pickle makes from its name and tells the byte order afterwards."""

    def __init__(self, name: str) -> None:
        self.name, self.byte_order = name, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.byte_order = state[1]

    def numpy(self) -> np.dtype:
        return np.dtype(self.name).newbyteorder({"|": "="}.get(self.byte_order, self.byte_order))  # type: ignore[arg-type]


class _Array:
    """Stands for `numpy.ndarray`, which a pickle makes empty and fills afterwards."""

    value: np.ndarray

    def __setstate__(self, state: tuple[int, tuple[int, ...], _NumberType, bool, Any]) -> None:
        _, shape, number_type, is_fortran, raw = state
        self.fill(raw, number_type.numpy(), shape, "F" if is_fortran else "C")

    def fill(self, raw: Any, dtype: np.dtype, shape: tuple[int, ...], order: Literal["C", "F"]) -> None:
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        if not isinstance(raw, (bytes, bytearray)) or len(raw) != math.prod(shape) * dtype.itemsize:
            raise ValueError("an array's numbers do not fit its shape")
        self.value = np.frombuffer(raw, dtype).reshape(shape, order=order).astype(dtype.newbyteorder("="))


def _make_array(*_: Any) -> _Array:
    return _Array()


def _make_filled_array(raw: Any, number_type: _NumberType, shape: tuple[int, ...], order: Literal["C", "F"]) -> _Array:
    array = _Array()
    array.fill(raw, number_type.numpy(), shape, order)
    return array


def _make_number_type(name: str, *_: Any) -> _NumberType:
    if not (isinstance(name, str) and _NUMBER_TYPE.fullmatch(name)):
        raise _ForbiddenError(f"an array of {name!r}")
    return _NumberType(name)


def _make_number(number_type: _NumberType, raw: Any) -> float | int:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    return np.frombuffer(raw, number_type.numpy())[0].item()


def _to_bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise _ForbiddenError(f"the encoding {encoding!r}")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    return b""


_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _to_bytes,
    ("__builtin__", "bytes"): _empty_bytes,
    ("numpy", "ndarray"): _make_array,
    ("numpy", "dtype"): _make_number_type,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _make_array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _make_filled_array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _make_number for core in ("core", "_core")},
}
"""Name in a pickle -> what is called in its stead."""


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, file: BufferedReader, *, encoding: str) -> None:
        super().__init__(file, encoding=encoding)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise _ForbiddenError(f"{module}.{name}") from None


def _bare(value: Any) -> Any:
    """The same containers with arrays in the place of what stood for them."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_bare(item) for item in value]
    return value
