"""Settings in one level, under the names they have on the command line, for loggers that know no nesting."""

import json
from collections.abc import Mapping
from typing import Any


def flat_settings(settings: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Return nested settings as {"model.init_args.box.width": 16, ...}; what is no number or text is JSON."""
    flat: dict[str, bool | int | float | str] = {}
    for key, value in settings.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            value = {str(number): item for number, item in enumerate(value)}
        if isinstance(value, Mapping) and value:
            flat |= {f"{key}.{inner}": item for inner, item in flat_settings(value).items()}
        else:
            flat[str(key)] = value if isinstance(value, bool | int | float | str) else json.dumps(value, default=str)
    return flat
