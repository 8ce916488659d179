"""Convert the ids of images and categories to integers.

An integer keeps its value in any spelling. Any other id (text, a negative number, a number above `MAX_ID`) gets the
next number after the largest id of the list, in the order of the list. So all readers of a file get the same numbers.
"""

from collections.abc import Iterable
from typing import Any

from lightning_rcnn.data.formats.coco.scalars import whole_number

MAX_ID = 2**62
"""Ids are stored in 64 bits, and the numbers for other ids follow this."""

Key = int | str


class IdTable:
    """The ids of a list of images or categories.

    Args:
        values: values of `id`, in the order of the list.

    Attributes:
        numbered: ids that got a number, as written in the file.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        self._texts: set[str] = set()
        keys: dict[Key, None] = {}
        first_spelling: dict[Key, str] = {}
        for value in values:
            key = _key(value)
            if isinstance(key, int) and isinstance(value, str) and first_spelling.setdefault(key, value) != value:
                self._texts.add(value)  # "01" next to "1" is another name, not the same number
                key = value
            if key is not None:
                keys[key] = None
        self.numbered = [key for key in keys if isinstance(key, str)]
        largest = max((key for key in keys if isinstance(key, int)), default=0)
        given = {key: largest + position for position, key in enumerate(self.numbered, start=1)}
        self._ids: dict[Key, int] = {key: key for key in [*keys, *given.values()] if isinstance(key, int)} | given

    def find(self, value: Any) -> int | None:
        """Return the id that `value` means: an id of the list in any spelling, or the number that replaced it."""
        key = value if isinstance(value, str) and value in self._texts else _key(value)
        return None if key is None else self._ids.get(key)


def _key(value: Any) -> Key | None:
    whole = whole_number(value)
    if whole is not None:
        return whole if 0 <= whole <= MAX_ID else str(whole)
    return value.strip() or None if isinstance(value, str) else None
