"""Global settings of jsonargparse, made before it parses anything."""

import numbers
from functools import cache
from typing import Any

from jsonargparse import set_parsing_settings
from jsonargparse.typing import register_type


@cache
def prepare_parsing() -> None:
    """Allow subclasses of our settings by class path; jsonargparse accepts this setting only once.

    Also register `numbers.Number`, the type of some arguments of torchvision's transforms.
    """
    set_parsing_settings(subclasses_enabled=["is_pure_dataclass"])
    register_type(numbers.Number, serializer=_number, deserializer=_number)


def _number(value: Any) -> numbers.Number:
    if isinstance(value, bool) or not isinstance(value, numbers.Number):
        raise ValueError(f"{value!r} is not a number")
    return value
