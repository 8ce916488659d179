"""Hyperparameters that are one of a few words.

The command line checks them by their types; this does it for Python and for conversions, where a word that nobody knows
("BGR" for "bgr") would be taken for the other one.
"""

import inspect
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from lightning_rcnn.errors import InputError


def check_choices(detector_class: type, hyperparameters: Mapping[str, Any]) -> None:
    """Refuse a word that is none of those in the type of its argument.

    Args:
        detector_class: whose constructor, and whose parents' constructors, say what there is to choose from.
        hyperparameters: arguments of these.

    Raises:
        InputError: names the key and its choices.
    """
    constructors = [vars(parent)["__init__"] for parent in detector_class.__mro__ if "__init__" in vars(parent)]
    parameters: dict[str, inspect.Parameter] = {}
    for constructor in reversed(constructors):  # so that a child's own choice rules
        parameters |= inspect.signature(constructor).parameters
    for key, parameter in parameters.items():
        words = _words(parameter.annotation)
        value = hyperparameters.get(key, parameter.default)
        if words and value is not None and value not in words:
            raise InputError(f"model.{key} {value!r} is none of {', '.join(map(str, words))}")


def _words(annotation: Any) -> tuple[Any, ...]:
    """Of a Literal, or of several, or None, to choose from."""
    kinds = [annotation] if get_origin(annotation) is Literal else get_args(annotation)
    return tuple(word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind))
