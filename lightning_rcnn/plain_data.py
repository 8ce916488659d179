"""Conversion of parts, settings, optimizers and schedules to plain data and back.

The plain data are `{class_path: ..., init_args: {...}}`, as in Lightning's files. A checkpoint with plain data only can
be read without running code from it.
"""

import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from lightning_rcnn.class_paths import class_path, import_path
from lightning_rcnn.errors import InputError
from lightning_rcnn.suggestions import did_you_mean

CLASS_PATH, INIT_ARGS, DICT_KWARGS = "class_path", "init_args", "dict_kwargs"


class Described:
    """Base of objects that their class and arguments describe: parts and settings."""

    def plain_arguments(self) -> dict[str, Any]:
        """Return the arguments of the constructor, defaults included, as plain data."""
        raise NotImplementedError


def to_plain(value: Any) -> Any:
    """Convert an argument to plain data.

    Args:
        value: a number, string, list or dictionary; a part or settings; or an optimizer or schedule, as a class or a
            `functools.partial` of it, whose defaults are recorded, too.

    Raises:
        InputError: it is anything else, which a checkpoint could not hold.
    """
    value = _python_scalar(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Described):
        return {CLASS_PATH: class_path(type(value)), INIT_ARGS: value.plain_arguments()}
    if isinstance(value, functools.partial) and (built := _stepped_class(value)):
        return {CLASS_PATH: class_path(built), INIT_ARGS: _stepped_arguments(built, value.keywords)}
    if isinstance(value, type) and _is_stepped(value):
        return {CLASS_PATH: class_path(value), INIT_ARGS: _stepped_arguments(value, {})}
    if isinstance(value, Mapping):
        if (key := next((key for key in value if not isinstance(key, str)), None)) is not None:
            raise InputError(f"{key!r} cannot be recorded in a checkpoint; give strings as keys of a dictionary")
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    raise InputError(
        f"{type(value).__name__} cannot be recorded in a checkpoint; give plain data, a subclass of "
        "lightning_rcnn.Part or lightning_rcnn.Settings, or functools.partial of an optimizer or a schedule"
    )


def from_plain(value: Any, default: Any = None) -> Any:
    """Build the object that plain data describe.

    Args:
        value: plain data; any other value is returned unchanged. Optimizers and schedules of the command line are
            rebuilt, because they refer to parsers, which cannot be copied.
        default: settings that a dictionary without a class path changes.

    Raises:
        InputError: the class cannot be imported, is not a part, settings, an optimizer or a schedule, or does not take
            these arguments.
    """
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if isinstance(value, functools.partial) and (built := _stepped_class(value)):
        return _stepped(built, value.keywords)
    if not isinstance(value, Mapping):
        return _python_scalar(value)
    if CLASS_PATH in value:
        return _build(import_class(value[CLASS_PATH]), value.get(INIT_ARGS) or {})
    if isinstance(default, Described) and is_dataclass(default):
        own = {field.name: getattr(default, field.name) for field in fields(default)}
        return _build(type(default), own | {key: from_plain(item, own.get(key)) for key, item in value.items()})
    return value


def merge(under: Any, over: Any) -> Any:
    """Merge `over` into `under`: mappings key by key, everything else is replaced.

    Where only one of two mappings names a class, or stands beside `init_args`, the other one holds arguments of it.
    """
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    if under and over and _is_class(under) != _is_class(over):
        under, over = (mapping if _is_class(mapping) else {INIT_ARGS: mapping} for mapping in (under, over))
    return under | {key: merge(under.get(key), value) for key, value in over.items()}


def override(under: Any, over: Any) -> Any:
    """Merge `over` into `under` as `merge` does, without the arguments of a class that `over` replaces by another."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    if CLASS_PATH in under and CLASS_PATH in over and under[CLASS_PATH] != over[CLASS_PATH]:
        return over
    return merge(under, over) | {key: override(under[key], value) for key, value in over.items() if key in under}


def _is_class(mapping: Mapping[str, Any]) -> bool:
    return CLASS_PATH in mapping or set(mapping) <= {INIT_ARGS, DICT_KWARGS}


def without_weights(plain: Any) -> Any:
    """Set arguments `weights` in plain data to None: a checkpoint contains the weights itself."""
    if isinstance(plain, Mapping):
        return {
            key: None if key == "weights" and isinstance(value, str) else without_weights(value)
            for key, value in plain.items()
        }
    return [without_weights(item) for item in plain] if isinstance(plain, list) else plain


def import_class(path: str) -> type:
    """Import a class that plain data may name: a part, settings, an optimizer or a schedule.

    Raises:
        InputError: it cannot be imported, or is any other class.
    """
    imported = import_path(path)
    # A file must not be able to run anything else.
    if not (isinstance(imported, type) and (issubclass(imported, Described) or _is_stepped(imported))):
        raise InputError(f"class_path {path}: neither a part, settings, an optimizer nor a schedule")
    return imported


def settings_keys(of_class: type, arguments: Mapping[str, Any]) -> Iterator[str]:
    """Yield the dotted keys of all settings of a class, including those of its parts.

    Args:
        of_class: part, settings, optimizer or schedule.
        arguments: its arguments as plain data, with the classes of its parts; defaults may be left out.
    """
    for name, value in all_arguments(of_class, arguments).items():
        yield name
        if isinstance(value, Mapping) and CLASS_PATH in value:
            built = import_class(value[CLASS_PATH])
            yield from (f"{name}.{key}" for key in settings_keys(built, value.get(INIT_ARGS) or {}))


def all_arguments(of_class: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of a class as plain data, parts and settings with their class paths.

    Args:
        of_class: detector, part or settings; or an optimizer or a schedule, without its first argument.
        arguments: the given arguments, as plain data or built.
    """
    complete: dict[str, Any] = {}
    for name, parameter in _parameters(of_class).items():
        default = None if parameter.default is parameter.empty else parameter.default
        value = arguments.get(name, default)
        if isinstance(value, Mapping) and CLASS_PATH in value:  # not built, which could load weights
            built = import_class(value[CLASS_PATH])
            value = {CLASS_PATH: class_path(built), INIT_ARGS: all_arguments(built, value.get(INIT_ARGS) or {})}
        complete[name] = to_plain(from_plain(value, default) if isinstance(default, Described) else value)
    return complete


def bound_arguments(
    built: type, signature: inspect.Signature, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> inspect.BoundArguments:
    """Bind arguments to the signature of a constructor, including defaults.

    Raises:
        InputError: an argument is misspelled, missing or too many.
    """
    _refuse_unknown(built, signature.parameters, keywords)
    try:
        bound = signature.bind(*arguments, **keywords)
    except TypeError as error:
        raise InputError(f"{built.__name__}: {error}") from error
    bound.apply_defaults()
    return bound


def _build(built: type, arguments: Mapping[str, Any]) -> Any:
    if _is_stepped(built):
        return _stepped(built, arguments)
    bound_arguments(built, inspect.signature(built), (), arguments)
    if inspect.isabstract(built):
        raise InputError(f"{built.__name__} is a base of others; give one that is derived from it")
    return built(**arguments)


def _is_stepped(of_class: type) -> bool:
    """Tell whether a class is an optimizer or a schedule."""
    # Imported here: commands that only merge plain data, or have settings of data, need no torch, which takes a second.
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    return issubclass(of_class, (Optimizer, LRScheduler))


def _stepped(built: type, arguments: Mapping[str, Any]) -> functools.partial[Any]:
    """Build the partial of an optimizer or a schedule from plain arguments."""
    _refuse_unknown(built, inspect.signature(built).parameters, arguments)
    return functools.partial(built, **{key: from_plain(value) for key, value in arguments.items()})


def _stepped_class(held: functools.partial[Any]) -> type | None:
    """Return the optimizer or schedule class of a `functools.partial`; None for other classes."""
    built = next((part for part in (held.func, *held.args) if isinstance(part, type)), None)
    return built if built is not None and _is_stepped(built) else None


def _stepped_arguments(built: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an optimizer or a schedule as plain data: the given ones, and plain defaults."""
    defaults: dict[str, Any] = {}
    for name, parameter in _parameters(built).items():
        try:
            defaults |= {} if parameter.default is parameter.empty else {name: to_plain(parameter.default)}
        except InputError:  # a function is not a setting
            continue
    return defaults | {name: to_plain(value) for name, value in given.items()}


def _parameters(of_class: type) -> Mapping[str, inspect.Parameter]:
    """Return the parameters that are settings: all but the first one of an optimizer or a schedule."""
    parameters = dict(inspect.signature(of_class).parameters)
    if _is_stepped(of_class):
        del parameters[next(iter(parameters))]
    return parameters


def _python_scalar(value: Any) -> Any:
    """Convert numpy scalars to Python's, which a checkpoint can hold."""
    return value.item() if isinstance(value, np.generic) else value


def _refuse_unknown(built: type, known: Mapping[str, inspect.Parameter], keywords: Mapping[str, Any]) -> None:
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    unknown = next((name for name in keywords if name not in known), None)
    if unknown is not None and not takes_any:
        raise InputError(f"{built.__name__} takes no {unknown}{did_you_mean(unknown, known)}")
