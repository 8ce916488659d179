"""Classes that a configuration names: by import path, or by a short name among the subclasses of a base."""

import inspect
from functools import cache
from typing import Any, NamedTuple, get_args

from jsonargparse import ArgumentParser
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_rcnn.class_paths import class_path as class_path_of
from lightning_rcnn.class_paths import import_module
from lightning_rcnn.cli.known_classes import BACKBONES, DETECTORS, SCHEDULES
from lightning_rcnn.detectors.optimization import LRSchedulerCallable, OptimizerCallable
from lightning_rcnn.parts import Part
from lightning_rcnn.settings import Settings
from lightning_rcnn.suggestions import did_you_mean

CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")
"""Keys of a class in a configuration."""

Bases = tuple[type, ...]


def find_class(class_path: str, bases: Bases) -> type | None:
    """Find a class by its import path, or by its short name among the imported subclasses of `bases`, in order."""
    module, _, name = class_path.rpartition(".")
    if not module:
        return next((subclasses(base)[name] for base in bases if name in subclasses(base)), None)
    try:
        imported = getattr(import_module(module), name, None)
    except ImportError:
        return None
    return imported if isinstance(imported, type) else None


def subclasses(base: type) -> dict[str, type]:
    """Return all imported subclasses of `base` by short name."""
    classes: dict[str, type] = {base.__name__: base}
    children: list[type] = base.__subclasses__()
    for child in children:
        classes |= subclasses(child)
    return classes


@cache
def class_arguments(of_class: type) -> frozenset[str]:
    """Return the names of the arguments that a class takes, including those of its bases."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(of_class, fail_untyped=False)
    return frozenset(action.dest for action in parser._actions) - {"help"}


class PartKind(NamedTuple):
    """Type of a part or of settings: a subclass of `base`; `default` if no class is named."""

    base: type
    default: type | None


@cache
def part_of(of_class: type, name: str) -> PartKind | None:
    """Return the type of part that an argument of a class is; None if it is not a part."""
    parameter = inspect.signature(of_class).parameters.get(name)
    if parameter is None:
        return None
    if parameter.annotation in (OptimizerCallable, LRSchedulerCallable):
        return PartKind(Optimizer if parameter.annotation == OptimizerCallable else LRScheduler, None)
    for kind in (parameter.annotation, *get_args(parameter.annotation)):
        if isinstance(kind, type) and issubclass(kind, (Part, Settings)):
            return PartKind(kind, type(parameter.default) if isinstance(parameter.default, Settings) else None)
    return None


def class_problem(name: str, bases: Bases) -> str | None:
    """Return why a name is not that of a class that can be used; None if it is."""
    known_class = find_class(name, bases)
    if known_class is None:
        if reason := why_not_imported(name):
            return reason
        module, _, last_part = name.rpartition(".")
        if module:
            names = dir(import_module(module))
            near = did_you_mean(last_part, names)
            return f"{name} is not a class" if last_part in names else f"{module} has no {last_part}{near}"
        known = [short for base in bases for short in subclasses(base)]
        return f"no {bases[0].__name__} is called {name}{did_you_mean(name, known) or _listed(bases)}"
    is_strict = len(bases) == 1 and issubclass(bases[0], Part | Settings)  # transforms may be any callable
    if is_strict and not issubclass(known_class, bases):
        return f"{name} is not a {bases[0].__name__}; derive it from {class_path_of(bases[0])}"
    if inspect.isabstract(known_class):
        derived = sorted(short for short, each in subclasses(known_class).items() if not inspect.isabstract(each))
        return f"{name} is a base of others; give one of {', '.join(derived)}"
    return None


def _listed(bases: Bases) -> str:
    """Return the end of a message that lists our detectors, backbones or schedules; empty for other classes."""
    ours = [each.__name__ for each in (*DETECTORS, *BACKBONES, *SCHEDULES) if issubclass(each, bases)]
    return f"; there are {', '.join(ours)}, or give the class path of yours" if ours else ""


def why_not_imported(name: str) -> str | None:
    """Return why the module of a class cannot be imported; None if it can."""
    try:
        import_module(name.rpartition(".")[0] or __name__)
    except ImportError as error:
        return f"{name} cannot be imported ({error})"
    return None


def with_import_path(item: Any, bases: Bases) -> Any:
    """Return an item of a list of classes, `{class_path: ...}` or a name alone, with its import path."""
    given = item.get("class_path") if isinstance(item, dict) else item
    known_class = find_class(given, bases) if isinstance(given, str) else None
    if known_class is None:
        return item
    path = f"{known_class.__module__}.{known_class.__qualname__}"
    return {**item, "class_path": path} if isinstance(item, dict) else {"class_path": path}
