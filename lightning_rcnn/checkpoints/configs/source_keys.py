"""Settings of another program's configuration, and which of them were translated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


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

    def __getitem__(self, key: str) -> Any:
        """Return a setting, which then counts as translated; None if neither the file nor the defaults have it."""
        self._read.add(key)
        return self._given.get(key, self._defaults.get(key))

    def is_given(self, key: str) -> bool:
        """Tell whether the configuration has a setting."""
        return key in self._given

    def name_left(self, key: str) -> None:
        """List a setting among those that are left, though it was read: its value has no counterpart."""
        self._unfit.add(key)

    def left(self) -> list[str]:
        """Return settings, with their values, that nobody read and that differ from their defaults."""
        return [
            f"{key} {value}"
            for key, value in self._given.items()
            if key in self._unfit
            or (key not in self._read and not (key in self._defaults and value == self._defaults[key]))
        ]


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
