"""Settings of another program's configuration, and which of them were translated."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_rcnn.errors import InputError


class SourceKeys:
    """Settings by dotted key, completed by the defaults of their program.

    Args:
        path: the configuration, for messages.
        given: settings of the configuration.
        defaults: values of settings that a configuration may leave out.
    """

    def __init__(self, path: Path, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self.path = path
        self._given, self._defaults = given, defaults
        self._read: set[str] = set()
        self._unfit: set[str] = set()
        self._last = ""

    def __getitem__(self, key: str) -> Any:
        """Return a setting, which then counts as translated; None if neither the file nor the defaults have it."""
        self._read.add(key)
        self._last = key
        return self._given.get(key, self._defaults.get(key))

    @property
    def last(self) -> tuple[str, Any]:
        """The setting that was read last, and its value."""
        return self._last, self._given.get(self._last, self._defaults.get(self._last))

    def is_given(self, key: str) -> bool:
        """Tell whether the configuration has a setting."""
        return key in self._given

    def names_below(self, key: str) -> list[str]:
        """Return the keys below a key, which do not count as translated by it."""
        return [name for name in self._given if name.startswith(f"{key}.")]

    def section(self, key: str) -> dict[str, Any]:
        """Return the settings below a key, by the rest of their keys, which then count as translated."""
        return {name.removeprefix(f"{key}."): self[name] for name in self.names_below(key)}

    def items_of(self, key: str) -> list[dict[str, Any]]:
        """Return the mappings in a list, which then count as translated; nothing if the key has no such list."""
        items: list[dict[str, Any]] = []
        while found := self.section(f"{key}.{len(items)}"):
            items.append(found)
        return items

    def name_left(self, key: str) -> None:
        """List a setting, or a part of one, among those that are left: its value has no counterpart."""
        self._unfit.add(key)

    def name_left_value(self, key: str, default: Any) -> None:
        """List a setting that may have been left out among those that are left, by the value that it then has."""
        self.name_left(key if self.is_given(key) else f"{key} {default}")

    def left(self, is_told_otherwise: Callable[[str], bool] = lambda _: False) -> list[str]:
        """Return settings, with their values, that nobody read and that differ from their defaults.

        Args:
            is_told_otherwise: tells of a key that nobody has to read it.
        """
        unknown = [key for key in self._unfit if key not in self._given]
        return unknown + [
            f"{key} {value}"
            for key, value in self._given.items()
            if key in self._unfit
            or not (
                key in self._read or (key in self._defaults and value == self._defaults[key]) or is_told_otherwise(key)
            )
        ]


class LastRead(dict[str, Any]):
    """Settings by dotted key that remember which one was read last."""

    last: tuple[str, Any] = ("", None)

    def __getitem__(self, key: str) -> Any:
        self.last = key, super().get(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a setting."""
        self.last = key, super().get(key, default)
        return self.last[1]


@contextmanager
def one_line_for_other_kinds(path: Path, keys: SourceKeys | LastRead) -> Iterator[None]:
    """Turn an error on a value of another kind, such as a number for a list, into one line that names the key.

    Args:
        path: the configuration.
        keys: its settings, of which the last one that was read is of another kind.

    Raises:
        InputError: see above.
    """
    try:
        yield
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError) as error:
        key, value = keys.last
        raise InputError(
            f"{path}: {key} {value}: not of the kind that this setting has there; mend the file"
        ) from error


def flat(tree: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """Return the leaves of nested settings by dotted key; a list is a leaf unless it holds mappings."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            value = {str(number): item for number, item in enumerate(value)}
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{start}{name}.")
        else:
            leaves[f"{start}{name}"] = value
    return leaves
