"""Reading pickles from elsewhere without running what they say.

A pickle is a program: it may name any function and have it called. detectron2's files are pickles of numpy arrays, for
which a handful of names is enough. Each of these is answered by a method of this file that checks what it is given;
every other name ends the reading before anything has been called. Nor may a small file fill the memory.
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
_MOST_BYTES_OF_ONE = 4
"""What may be made of each byte of the file: an array's numbers are held twice for a while, more would be a trick."""
_BYTES_OF_A_PAIR = 64
"""In a mapping, about."""


def read_pickle(path: Path) -> Any:
    """What a pickle of plain containers, numbers, strings and numpy arrays of numbers holds.

    Raises:
        InputError: the file asks for something else, or is damaged.
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
    """Something that is not admitted."""


def _check_references(file: BufferedReader) -> None:
    """Refuse a pickle that numbers an object higher than there are any: Python would make room for all below."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if "PUT" in opcode.name and isinstance(argument, int) and argument > count:
            raise _ForbiddenError(f"room for {argument} objects")


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
    """Stands for `collections.OrderedDict`; what torch notes on the mapping beside its items is left out."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Admitted:
    """What a pickle gets for a name: something to call, and not to change."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _ForbiddenError("another meaning of a name")


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler for which no names have a meaning but these few."""

    def __init__(self, file: BufferedReader) -> None:
        super().__init__(file, encoding="latin1")
        self._bytes_left = _MOST_BYTES_OF_ONE * os.fstat(file.fileno()).st_size
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
    """The same containers with arrays in the place of what stood for them.

    Args:
        value: as unpickled.
        done: what was made of each container so far, by its identity; one may stand in many places.
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
