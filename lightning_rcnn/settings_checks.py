"""Checks of settings against the type hints of their fields, and types that bound numbers.

The command line checks types when it parses; these checks also cover Python and conversions.
"""

import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import Described


@dataclass(frozen=True)
class Bounds:
    """Range of a number, as metadata of `Annotated`; infinity and NaN are always outside.

    Args:
        low, high: limits of the range.
        excludes_low: whether `low` itself is outside.
    """

    low: float
    high: float = math.inf
    excludes_low: bool = False

    def __contains__(self, number: float) -> bool:
        lowest = self.low < number if self.excludes_low else self.low <= number
        return lowest and number <= min(self.high, sys.float_info.max)

    def __repr__(self) -> str:
        if self.high < math.inf:
            return f"above {self.low}, to {self.high}" if self.excludes_low else f"{self.low} to {self.high}"
        return f"above {self.low}" if self.excludes_low else f"{self.low} or more"


Fraction = Annotated[float, Bounds(0, 1)]
NonNegative = Annotated[float, Bounds(0)]
Positive = Annotated[float, Bounds(0, excludes_low=True)]
Count = Annotated[int, Bounds(0)]
PositiveCount = Annotated[int, Bounds(1)]


@cache
def hints_of(constructor: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the resolved type hints of a constructor's arguments, or of a dataclass's fields.

    A hint with a name that exists for type checkers only cannot be resolved, and allows anything.
    """
    try:
        return get_type_hints(constructor, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError):
        annotations = inspect.get_annotations(constructor)
        return {name: Any if isinstance(hint, str) else hint for name, hint in annotations.items()}


def check(owner: str, key: str, hint: Any, value: Any) -> None:
    """Refuse a value that its type hint does not allow.

    Args:
        owner: class of the settings.
        key: name of the field.
        hint: type of the field.
        value: given value, with parts and settings built.

    Raises:
        InputError: the value does not match; the message names class, field, problem and remedy.
    """
    if problem := _problem(hint, value):
        raise InputError(f"{owner}.{key}{problem}")


def _problem(hint: Any, value: Any) -> str | None:
    """Return the end of the message, after the name of the field; None if the value matches."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _problem(inner[0], value) or _outside(inner[1:], value)
    if origin in (Union, UnionType):
        return _problem_of_choices(inner, value)
    if origin in (tuple, list, Sequence):
        return _problem_of_items(origin, inner, value)
    if origin in (dict, Mapping):
        return _problem_of_entries(inner[1], value)
    if origin is Callable:
        problem = "is not a class with arguments; give its class_path and init_args"
        return None if callable(value) else f": {_shown(value)} {problem}"
    is_fine = _is_allowed(hint, value)
    return None if is_fine else f": {_shown(value)} is {_expected(hint)}"


def _is_allowed(hint: Any, value: Any) -> bool:
    if get_origin(hint) is Literal:
        return any(type(value) is type(word) and value == word for word in get_args(hint))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (None, NoneType):
        return value is None
    is_checked = hint in (bool, str) or (isinstance(hint, type) and issubclass(hint, Described))
    # Other types, such as custom classes, are not checked.
    return not is_checked or isinstance(value, hint)


def _outside(metadata: Sequence[Any], value: Any) -> str | None:
    bounds = next((entry for entry in metadata if isinstance(entry, Bounds) and value not in entry), None)
    return f": {_shown(value)} is out of range; give {bounds!r}" if bounds else None


def _problem_of_choices(hints: Sequence[Any], value: Any) -> str | None:
    problems = [_problem(hint, value) for hint in hints]
    if any(problem is None for problem in problems):
        return None
    # The problem of the closest type: a range or an item is more specific than a wrong type.
    told = [problem for hint, problem in zip(hints, problems, strict=True) if problem and hint is not NoneType]
    return next((problem for problem in told if not problem.startswith(f": {_shown(value)} is not ")), told[0])


def _problem_of_items(origin: type, hints: Sequence[Any], value: Any) -> str | None:
    is_any_length = origin is not tuple or hints[-1:] == (...,)
    if not isinstance(value, list | tuple):
        example = f"; give one, such as [{_shown(value)}]" if is_any_length else ""
        return f": {_shown(value)} is not a {_listed(hints, is_any_length)}{example}"
    if not is_any_length and len(value) != len(hints):
        return f": {_shown(value)} is not a {_listed(hints, is_any_length)}"
    for position, item in enumerate(value):
        if problem := _problem(hints[0 if is_any_length else position], item):
            return f"[{position}]{problem}"
    return None


def _problem_of_entries(hint: Any, value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return f": {_shown(value)} is not a dictionary"
    problems = ((key, _problem(hint, item)) for key, item in value.items())
    return next((f"[{key!r}]{problem}" for key, problem in problems if problem), None)


def _listed(hints: Sequence[Any], is_any_length: bool) -> str:
    return "list" if is_any_length else f"list of {len(hints)}"


def _expected(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"none of {', '.join(map(str, get_args(hint)))}"
    kinds = {float: "not a number", int: "not a whole number", str: "not a string", bool: "neither true nor false"}
    if hint in (None, NoneType):
        return "not null"
    if hint in kinds:
        return kinds[hint]
    return f"not of class {hint.__name__}; give one, or its class_path and init_args"


def _shown(value: Any) -> str:
    plain = value is None or isinstance(value, (bool, int, float, str))
    if plain or (isinstance(value, (list, tuple)) and len(value) < 10):
        return repr(list(value) if isinstance(value, tuple) else value)
    return type(value).__name__
