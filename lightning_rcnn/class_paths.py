"""Classes by the paths that name them, the user's own modules among them."""

import importlib
import traceback
from types import ModuleType
from typing import Any

from lightning_rcnn.errors import InputError


def class_path(of_class: type) -> str:
    """Return the import path of a class."""
    return f"{of_class.__module__}.{of_class.__qualname__}"


def import_path(path: str, named_by: str = "class_path") -> Any:
    """Import what a path names; the user has to have named it, and not a file from elsewhere.

    Args:
        path: a module and what is in it, with dots.
        named_by: where the path stands, for the message.

    Raises:
        InputError: it cannot be imported.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{named_by} {path}: cannot be imported ({error})") from error


def import_module(name: str) -> ModuleType:
    """Import a module, whatever it does while it runs.

    Raises:
        ImportError: it is not there, or an error stopped it; one line names the error, its file and its line.
        ValueError: the name is empty.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise
    except Exception as error:
        if not name:
            raise
        what = " ".join(str(error).split())
        kind = type(error).__name__
        raise ImportError(f"{_place(error)}{kind}: {what}" if what else f"{_place(error)}{kind}") from error


def _place(error: BaseException) -> str:
    """File and line of the statement of a module, not of what it called, that an error stopped."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: "
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.name == "<module>"]
    return f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
