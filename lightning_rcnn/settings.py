"""Base class of settings, which are checked on construction and convert to plain data."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from lightning_rcnn.plain_data import Described, from_plain, to_plain
from lightning_rcnn.settings_checks import check, hints_of


@dataclass(frozen=True)
class Settings(Described):
    """Base of the settings of a part, a frozen dataclass. Subclasses add fields and a method `build`.

    Types bound numbers, for example `Fraction` of `settings_checks.py`.

    Attributes:
        conventions: names of the fields that must match those the weights were trained with.

    Raises:
        InputError: a field does not match its type, or is out of its range.
    """

    conventions: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        hints = hints_of(type(self))  # type: ignore[arg-type]  # a class is always hashable
        for field in fields(self):
            value = _frozen(from_plain(getattr(self, field.name), getattr(type(self), field.name, None)))
            object.__setattr__(self, field.name, value)
            check(type(self).__name__, field.name, hints.get(field.name, Any), value)

    def plain_arguments(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return {field.name: to_plain(getattr(self, field.name)) for field in fields(self)}


def _frozen(value: Any) -> Any:
    """Convert lists to tuples, so that settings stay unchanged, and numpy scalars to Python's."""
    return tuple(_frozen(from_plain(item)) for item in value) if isinstance(value, (list, tuple)) else value
