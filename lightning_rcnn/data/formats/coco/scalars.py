"""Numbers as programs write them into JSON: as such, as text, with a decimal point, as null."""

import ast
import json
import re
from math import inf, isfinite
from typing import Any

_WHOLE = re.compile(r"\s*([+-]?\d{1,400})(?:\.0*)?\s*", re.ASCII)
_WHOLE_WITH_EXPONENT = re.compile(r"\s*[+-]?\d\.?\d{0,14}e\+?\d{1,2}\s*", re.ASCII | re.IGNORECASE)
"""As R writes 100000: 1e+05. Few enough digits that a float holds them all."""
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
_NOT_FINITE = re.compile(r"\s*[+-]?(?:nan|inf|infinity)\s*", re.IGNORECASE)


def whole_number(value: Any) -> int | None:
    """The whole number that `value` spells: 1, 1.0, "1", "1.0" and "1e+00" are 1; None for all else, true too."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if isfinite(value) and value.is_integer() else None
    if not isinstance(value, str):
        return None
    if _WHOLE_WITH_EXPONENT.fullmatch(value):
        return whole_number(float(value))
    match = _WHOLE.fullmatch(value)
    return int(match[1]) if match else None


def number(value: Any) -> float | None:
    """The number that `value` spells, perhaps NaN or infinite; None for all else, true, false and words too."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _as_float(value)
    if isinstance(value, str) and (_NUMBER.fullmatch(value) or _NOT_FINITE.fullmatch(value)):
        return float(value)
    return None


def numbers(values: Any) -> list[float] | None:
    """The numbers that a list spells; None if it is no list, or one of them is no number."""
    if not isinstance(values, list):
        return None
    if set(map(type, values)) <= {int, float}:  # the common case, several times as quick
        return list(map(_as_float, values))
    spelled = [number(value) for value in values]
    return [value for value in spelled if value is not None] if None not in spelled else None


def flag(value: Any) -> bool:
    """Whether `value` spells 1 or true; null, an absent key and all else are no."""
    return value is True or whole_number(value) == 1 or (isinstance(value, str) and value.strip().lower() == "true")


def unquoted(value: Any) -> Any:
    """The list or object that a text holds, in JSON's or Python's spelling; anything else as it is."""
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
    except OverflowError:  # a whole number beyond 1e308
        return inf if value > 0 else -inf
