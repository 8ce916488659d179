"""Read numbers as programs write them in JSON: as numbers, as text, with a decimal point, as null."""

import ast
import json
import re
from math import inf, isfinite
from typing import Any

_WHOLE = re.compile(r"\s*([+-]?\d{1,400})(?:\.0*)?\s*", re.ASCII)
_WHOLE_WITH_EXPONENT = re.compile(r"\s*[+-]?\d\.?\d{0,14}e\+?\d{1,2}\s*", re.ASCII | re.IGNORECASE)
"""R writes 100000 as 1e+05. A float represents so few digits exactly."""
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
_NOT_FINITE = re.compile(r"\s*[+-]?(?:nan|inf|infinity)\s*", re.IGNORECASE)


def whole_number(value: Any) -> int | None:
    """Return the integer that `value` spells: 1, 1.0, "1", "1.0" and "1e+00" are 1; None otherwise, as for true."""
    if type(value) is int:  # the common case
        return value
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if isfinite(value) and value.is_integer() else None
    if not isinstance(value, str):
        return None
    if _WHOLE_WITH_EXPONENT.fullmatch(value):
        return whole_number(float(value))
    match = _WHOLE.fullmatch(value)
    return int(match[1]) if match else None


def number(value: Any) -> float | None:
    """Return the number that `value` spells, perhaps NaN or infinite; None otherwise, as for booleans and words."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _as_float(value)
    if isinstance(value, str) and (_NUMBER.fullmatch(value) or _NOT_FINITE.fullmatch(value)):
        return float(value)
    return None


def numbers(values: Any) -> list[float] | None:
    """Return the numbers that a list spells; None if it is not a list, or an element is not a number."""
    if not isinstance(values, list):
        return None
    if set(map(type, values)) <= {int, float}:  # the common case, several times faster
        return list(map(_as_float, values))
    parsed = [number(value) for value in values]
    return [value for value in parsed if value is not None] if None not in parsed else None


def listed(value: Any) -> list[Any]:
    """Return a list, empty if it is missing; what is no list is the only entry, which its reader names as malformed."""
    return value if isinstance(value, list) else [] if value is None else [value]


def flag(value: Any) -> bool:
    """Return whether `value` spells 1 or true; null, a missing key and anything else are false."""
    if value is None or type(value) is int:  # the common case
        return value == 1
    return value is True or whole_number(value) == 1 or (isinstance(value, str) and value.strip().lower() == "true")


def unquoted(value: Any) -> Any:
    """Return the list or object in a text in JSON's or Python's syntax; anything else unchanged."""
    if not isinstance(value, str) or not value.strip().startswith(("[", "{", "(")):
        return value
    for parse in (json.loads, ast.literal_eval):
        try:
            parsed = parse(value.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return list(parsed) if isinstance(parsed, tuple) else parsed
    return value


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer above 1e308
        return inf if value > 0 else -inf
