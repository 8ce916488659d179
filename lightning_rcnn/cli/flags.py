"""Values of options on a command line, before it is parsed."""

from itertools import zip_longest
from pathlib import Path


def flag_value(arguments: list[str], key: str) -> str | None:
    """Return the last value given to `--key`, as `--key value` or `--key=value`."""
    last_value = None
    for argument, following in zip_longest(arguments, arguments[1:]):
        flag, separator, value = argument.partition("=")
        if flag == f"--{key}":
            last_value = value if separator else following
    return last_value


def given_class(arguments: list[str], key: str) -> str | None:
    """Return the class that flags name for a key."""
    return flag_value(arguments, key) or flag_value(arguments, f"{key}.class_path")


def sets_several_keys(value: str | None) -> bool:
    """Tell whether the value of an option sets several keys: JSON, or a file."""
    return value is not None and (value.lstrip().startswith("{") or Path(value).is_file())
