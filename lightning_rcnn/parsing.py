"""What jsonargparse has to know of settings before it reads any."""

import numbers
from functools import cache
from typing import Any

from jsonargparse import set_parsing_settings
from jsonargparse.typing import register_type


@cache
def prepare_parsing() -> None:
    """Let settings of one's own stand where ours do, by their class path; jsonargparse takes that only once.

    Numbers of any kind, as some of torchvision's transforms ask for, are read and written as they are.
    """
    set_parsing_settings(subclasses_enabled=["is_pure_dataclass"])
    register_type(numbers.Number, serializer=_number, deserializer=_number)


def _number(value: Any) -> numbers.Number:
    if isinstance(value, bool) or not isinstance(value, numbers.Number):
        raise ValueError(f"{value!r} is no number")
    return value
