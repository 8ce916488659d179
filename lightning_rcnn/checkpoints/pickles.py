"""Reading of untrusted pickles without running their code.

A pickle is a program that can call any function by name. detectron2's files are pickles of numpy arrays, which need a
handful of names. A function of this file stands for each of them and checks its arguments; any other name stops the
reading before anything is called. A small file cannot fill the memory either.
"""

import math
import os
import pickle
import pickletools
import re
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lightning_rcnn.errors import InputError

_NUMBER_TYPE = re.compile(r"[biuf][1-8]")
_MEMORY_PER_BYTE = 4
"""Bytes of memory allowed per byte of the file: an array is held twice for a moment; more would be an attack."""
_BYTES_OF_A_PAIR = 64
"""Memory of an entry of a mapping, roughly."""


def read_pickle(path: Path) -> Any:
    """Return the content of a pickle of plain containers, numbers, strings and numpy arrays of numbers.

    Raises:
        InputError: the pickle names something else, or is damaged.
    """
    try:
        with path.open("rb") as file:
            _check_references(file)
            file.seek(0)
            return _bare(_ArrayUnpickler(file).load(), {})
    except _ForbiddenError as error:
        raise InputError(
            f"{path}: a pickle that asks for {error}, which no file of weights needs; it was not read any further"
        ) from None
    except Exception as error:  # a damaged pickle can go wrong in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a whole pickle ({reason}); is it damaged, or downloaded in part?") from error


class _ForbiddenError(Exception):
    """A pickle that names something forbidden."""


def _check_references(file: BufferedReader) -> None:
    """Refuse a pickle that gives an object a number beyond its count: Python allocates room for all below."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if "PUT" in opcode.name and isinstance(argument, int) and argument > count:
            raise _ForbiddenError(f"room for {argument} objects")


class _NumberType:
    """Stands for `numpy.dtype`; a pickle creates it by name and sets the byte order afterwards."""

    def __init__(self, name: str) -> None:
        self.name, self.byte_order = name, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.byte_order = state[1]

    def numpy(self) -> np.dtype:
        return np.dtype(self.name).newbyteorder({"|": "="}.get(self.byte_order, self.byte_order))  # type: ignore[arg-type]


class _Array:
    """Stands for `numpy.ndarray`; a pickle creates it empty and fills it afterwards."""

    value: np.ndarray

    def __init__(self, spend: Callable[[int], None]) -> None:
        self._spend = spend

    def __setstate__(self, state: tuple[int, tuple[int, ...], _NumberType, bool, Any]) -> None:
        _, shape, number_type, is_fortran, raw = state
        self.fill(raw, number_type.numpy(), shape, "F" if is_fortran else "C")

    def fill(self, raw: Any, dtype: np.dtype, shape: tuple[int, ...], order: Literal["C", "F"]) -> None:
        if not all(isinstance(side, int) and side >= 0 for side in shape):
            raise ValueError("an array's shape is not of whole numbers")
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        if not isinstance(raw, (bytes, bytearray)) or len(raw) != math.prod(shape) * dtype.itemsize:
            raise ValueError("an array's numbers do not fit its shape")
        self._spend(len(raw))
        self.value = np.frombuffer(raw, dtype).reshape(shape, order=order).astype(dtype.newbyteorder("="))


class _Mapping(dict[Any, Any]):
    """Stands for `collections.OrderedDict`; torch's attributes of the mapping are left out."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Admitted:
    """A function that a pickle may call but not change."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _ForbiddenError("another meaning of a name")


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that knows only a few names."""

    def __init__(self, file: BufferedReader) -> None:
        super().__init__(file, encoding="latin1")
        self._bytes_left = _MEMORY_PER_BYTE * os.fstat(file.fileno()).st_size
        self._admitted: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): self._make_mapping,
            ("_codecs", "encode"): self._to_bytes,
            ("__builtin__", "bytes"): _empty_bytes,
            ("numpy", "ndarray"): self._make_array,
            ("numpy", "dtype"): _make_number_type,
            **{(f"numpy.{core}.multiarray", "_reconstruct"): self._make_array for core in ("core", "_core")},
            **{(f"numpy.{core}.numeric", "_frombuffer"): self._make_filled_array for core in ("core", "_core")},
            **{(f"numpy.{core}.multiarray", "scalar"): _make_number for core in ("core", "_core")},
        }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _Admitted(self._admitted[module, name])
        except KeyError:
            raise _ForbiddenError(f"{module}.{name}") from None

    def _spend(self, number: int) -> None:
        self._bytes_left -= number
        if self._bytes_left < 0:
            raise _ForbiddenError("more numbers than it holds")

    def _make_mapping(self, pairs: Any = ()) -> _Mapping:
        self._spend(_BYTES_OF_A_PAIR * len(pairs))
        return _Mapping(pairs)

    def _make_array(self, *_: Any) -> _Array:
        return _Array(self._spend)

    def _make_filled_array(
        self, raw: Any, number_type: _NumberType, shape: tuple[int, ...], order: Literal["C", "F"]
    ) -> _Array:
        array = _Array(self._spend)
        array.fill(raw, number_type.numpy(), shape, order)
        return array

    def _to_bytes(self, text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise _ForbiddenError(f"the encoding {encoding!r}")
        self._spend(len(text))
        return text.encode("latin1")


def _empty_bytes() -> bytes:
    return b""


def _make_number_type(name: str, *_: Any) -> _NumberType:
    if not (isinstance(name, str) and _NUMBER_TYPE.fullmatch(name)):
        raise _ForbiddenError(f"an array of {name!r}")
    return _NumberType(name)


def _make_number(number_type: _NumberType, raw: Any) -> float | int:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    return np.frombuffer(raw, number_type.numpy())[0].item()


def _bare(value: Any, done: dict[int, Any]) -> Any:
    """Return the same containers with arrays in place of their stand-ins.

    Args:
        value: unpickled value.
        done: id of a container -> its result; a container may occur many times.
    """
    if isinstance(value, _Array):
        return value.value
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) not in done:
        if isinstance(value, dict):
            done[id(value)] = {key: _bare(item, done) for key, item in value.items()}
        else:
            done[id(value)] = [_bare(item, done) for item in value]
    return done[id(value)]
