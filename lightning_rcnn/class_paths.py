"""Import of classes by their paths, also from modules of the user."""

import importlib
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from lightning_rcnn.errors import InputError


def class_path(of_class: type) -> str:
    """Return the import path of a class."""
    return f"{of_class.__module__}.{of_class.__qualname__}"


def is_newest(of_class: type, name: str, than: Sequence[str]) -> bool:
    """Tell whether no subclass overrides one of the methods `than` without overriding the method `name`, too."""

    def age(method: str) -> int:
        return next(age for age, ancestor in enumerate(of_class.__mro__) if method in vars(ancestor))

    return all(age(name) <= age(other) for other in than)


def import_path(path: str, named_by: str = "class_path") -> Any:
    """Import the object at a path. Only the user may name it, never an untrusted file.

    Args:
        path: dotted path of a module and a name in it.
        named_by: source of the path, for the message.

    Raises:
        InputError: it cannot be imported.
    """
    module, _, name = path.rpartition(".")
    if not module:
        raise InputError(f"{named_by} {path}: is no path; name the module as well, such as package.module.{path}")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{named_by} {path}: cannot be imported ({error})") from error


def import_module(name: str) -> ModuleType:
    """Import a module, and report any error that it raises as an ImportError.

    Raises:
        ImportError: it does not exist, or raises an error; the message names the error, its file and its line.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise
    except Exception as error:
        message = " ".join(str(error).split())
        kind = type(error).__name__
        raise ImportError(f"{_location(error)}{kind}: {message}" if message else f"{_location(error)}{kind}") from error


def _location(error: BaseException) -> str:
    """Return file and line of the module-level statement that raised an error."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: "
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.name == "<module>"]
    return f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
