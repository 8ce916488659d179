"""Help on the settings of a part: `--model.rpn.help` alone; jsonargparse wants the class of the model before it."""

from collections.abc import Mapping
from typing import Any

from lightning_rcnn.cli.flags import given_class
from lightning_rcnn.errors import InputError


def with_model_of_help(flags: list[str], content: Mapping[str, Any]) -> list[str]:
    """Return the flags, with the model's class before a flag that asks for help on a part of it.

    Args:
        flags: of the command line.
        content: of the configuration files, which may say the class of the model.

    Raises:
        InputError: nothing says what the model is.
    """
    names = [flag.partition("=")[0] for flag in flags]
    asked = next((index for index, name in enumerate(names) if _asks_for_help_on_a_part(name)), None)
    if asked is None or "--model.help" in names[:asked]:
        return flags
    model = content.get("model")
    named = model.get("class_path") if isinstance(model, Mapping) else model
    class_path = given_class(flags, "model") or named
    if not class_path:
        raise InputError(
            f"{names[asked]}: of which model? Put its class before it: --model.help FasterRCNN {names[asked]}"
        )
    return ["--model.help", class_path, *flags[asked:]]


def _asks_for_help_on_a_part(name: str) -> bool:
    return name.startswith("--model.") and name.endswith(".help") and name != "--model.help"
