"""What detectors are composed of, and how the settings of a part become plain data and parts again.

A *part* is a module: a backbone, a branch, a whole detector. It keeps the arguments it was built with, defaults
included, as plain data. *Settings* are a frozen dataclass from which a detector builds a part as soon as it knows the
sizes around it (channels, strides, number of classes).

Plain data are numbers, strings, lists and dictionaries: what YAML and a checkpoint can hold without running code. A
part or settings are then `{"class_path": ..., "init_args": {...}}`, the form of Lightning's command line, and every
part can be built from them: `MaskRCNN(**detector.init_args)` is the same detector again.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin

import numpy as np
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_rcnn.errors import InputError
from lightning_rcnn.suggestions import did_you_mean

CLASS_PATH, INIT_ARGS = "class_path", "init_args"


class Recorded:
    """Base of objects that know the arguments they were built with.

    Arguments may be given as plain data, too. When the whole object exists, `after_init` runs: the constructor of a
    subclass has then run to its end.

    Attributes:
        init_args: the arguments as plain data, defaults included.
    """

    init_args: dict[str, Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__:
            setattr(cls, "__init__", _recording(cls.__dict__["__init__"]))  # noqa: B010 - mypy forbids the assignment

    def after_init(self) -> None:
        """Run when the whole object exists; does nothing by default."""


class Part(Recorded, nn.Module):
    """Base of the modules that a detector is composed of.

    Attributes:
        class_layers: names of the layers whose size is that of the classes. With other classes they start from
            initialization.
        compiled_layers: names of submodules (`""` is the part itself) of fixed shapes that do nearly all of the
            arithmetic; torch's compiler takes them.
        dynamic_layers: those of them whose first dimension varies on a CPU.
        profiled: name of a function or submodule -> what its time is called in a profile.
        loss_names: of the losses that it computes; in logs under `train/`.
        conventions: names of arguments that must match those the weights were trained with.
    """

    loss_names: ClassVar[tuple[str, ...]] = ()
    class_layers: ClassVar[tuple[str, ...]] = ()
    compiled_layers: tuple[str, ...] = ()
    dynamic_layers: ClassVar[tuple[str, ...]] = ()
    profiled: ClassVar[Mapping[str, str]] = {}
    conventions: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True)
class Settings:
    """Base of the settings of a part: frozen dataclasses. Subclasses add fields and a method `build`.

    Attributes:
        conventions: as in `Part`.

    Raises:
        InputError: a field is none of the words, or not of the kind, that its type allows.
    """

    conventions: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            check_choice(type(self).__name__, field.name, field.type, value)
            if isinstance(value, (Mapping, list)):
                value = _frozen(from_plain(value, getattr(type(self), field.name, None)))
                object.__setattr__(self, field.name, value)
            check_kind(type(self).__name__, field.name, field.type, value)


def to_plain(value: Any) -> Any:
    """Turn an argument into plain data.

    Args:
        value: a number, string, list or dictionary; a part or settings; or a class with some of its arguments, as
            `functools.partial` holds them (optimizers and schedules).

    Raises:
        InputError: it is something else, which a checkpoint could not hold.
    """
    value = _python_scalar(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Recorded):
        return {CLASS_PATH: class_path(type(value)), INIT_ARGS: value.init_args}
    if isinstance(value, Settings):
        arguments = {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
        return {CLASS_PATH: class_path(type(value)), INIT_ARGS: arguments}
    if isinstance(value, functools.partial) and (built := _stepped_class(value)):
        return {CLASS_PATH: class_path(built), INIT_ARGS: {k: to_plain(v) for k, v in value.keywords.items()}}
    if isinstance(value, type) and issubclass(value, (Optimizer, LRScheduler)):
        return {CLASS_PATH: class_path(value), INIT_ARGS: {}}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    raise InputError(
        f"{type(value).__name__} cannot be recorded in a checkpoint: give plain data, a subclass of "
        "lightning_rcnn.Part or lightning_rcnn.Settings, or functools.partial of an optimizer or a schedule"
    )


def from_plain(value: Any, default: Any = None) -> Any:
    """Build what plain data describe.

    Args:
        value: plain data, or anything else, which is returned as it is; the command line's optimizers and schedules
            without what they refer to there: parsers, of which no copy can be made.
        default: settings; a dictionary without a class path changes these.

    Raises:
        InputError: the class cannot be imported, is neither a part, settings, an optimizer nor a schedule, or does not
            take these arguments.
    """
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if isinstance(value, functools.partial) and (built := _stepped_class(value)):
        return _stepped(built, value.keywords)
    if not isinstance(value, Mapping):
        return _python_scalar(value)
    if CLASS_PATH in value:
        return _build(import_class(value[CLASS_PATH]), value.get(INIT_ARGS) or {})
    if isinstance(default, Settings):
        own = {field.name: getattr(default, field.name) for field in fields(default)}
        return _build(type(default), own | {key: from_plain(item, own.get(key)) for key, item in value.items()})
    return value


def _stepped_class(held: functools.partial[Any]) -> type | None:
    """The optimizer or schedule that `functools.partial` holds; None if it holds something else."""
    built = next((part for part in (held.func, *held.args) if isinstance(part, type)), None)
    return built if built is not None and issubclass(built, (Optimizer, LRScheduler)) else None


def merge(under: Any, over: Any) -> Any:
    """Lay `over` upon `under`: mappings key by key, everything else replaced."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return under | {key: merge(under.get(key), value) for key, value in over.items()}


def part(of_class: type, **init_args: Any) -> dict[str, Any]:
    """Return a part, settings, an optimizer or a schedule as plain data."""
    return {CLASS_PATH: class_path(of_class), INIT_ARGS: init_args}


def class_path(of_class: type) -> str:
    """Return the import path of a class."""
    return f"{of_class.__module__}.{of_class.__qualname__}"


def import_path(path: str) -> Any:
    """Import what a path names; the user has to have named it, and not a file from elsewhere.

    Raises:
        InputError: it cannot be imported.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"class_path {path}: cannot be imported ({error})") from error


def import_class(path: str) -> type:
    """Import a class that plain data may name.

    Raises:
        InputError: it cannot be imported, or is of no kind that a detector is built from.
    """
    found = import_path(path)
    # A file must not be able to run anything else.
    if not (isinstance(found, type) and issubclass(found, (Recorded, Settings, Optimizer, LRScheduler))):
        raise InputError(f"class_path {path}: neither a part, settings, an optimizer nor a schedule")
    return found


def settings_keys(of_class: type, arguments: Mapping[str, Any]) -> Iterator[str]:
    """Yield the dotted keys of all settings of a class, those of its parts included.

    Args:
        of_class: a part or settings.
        arguments: plain data, which say what class a part is of; defaults may be left out.
    """
    for name, value in all_arguments(of_class, arguments).items():
        yield name
        if isinstance(value, Mapping) and CLASS_PATH in value:
            built = import_class(value[CLASS_PATH])
            yield from (f"{name}.{key}" for key in settings_keys(built, value.get(INIT_ARGS) or {}))


def all_arguments(of_class: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of a class as plain data, each part and all settings with their class path.

    Args:
        of_class: a detector, part or settings.
        arguments: those that are given, as plain data or built.
    """
    complete: dict[str, Any] = {}
    for name, parameter in inspect.signature(of_class).parameters.items():
        default = None if parameter.default is parameter.empty else parameter.default
        value = arguments.get(name, default)
        if isinstance(value, Mapping) and CLASS_PATH in value:  # not built: that could load weights
            built = import_class(value[CLASS_PATH])
            value = {CLASS_PATH: class_path(built), INIT_ARGS: all_arguments(built, value.get(INIT_ARGS) or {})}
        complete[name] = to_plain(from_plain(value, default) if isinstance(default, Settings) else value)
    return complete


def without_weights(plain: Any) -> Any:
    """Return plain data in which no argument `weights` names a file: the one they stand in has the weights itself."""
    if isinstance(plain, Mapping):
        return {
            key: None if key == "weights" and isinstance(value, str) else without_weights(value)
            for key, value in plain.items()
        }
    return [without_weights(item) for item in plain] if isinstance(plain, list) else plain


def check_choice(owner: str, key: str, annotation: Any, value: Any) -> None:
    """Refuse a word that is none of those in a type.

    The command line checks this, too; here it holds for Python and for conversions, where a word that nobody knows
    ("BGR" for "bgr") would be taken for the other one.

    Raises:
        InputError: names the key and its choices.
    """
    words = _words(annotation)
    if words and value is not None and value not in words:
        raise InputError(f"{owner}: {key} {value!r} is none of {', '.join(map(str, words))}")


def check_kind(owner: str, key: str, annotation: Any, value: Any) -> None:
    """Refuse what is no part where a type wants one, and nothing that can be called where it wants an optimizer.

    Raises:
        InputError: names the key and what belongs there.
    """
    allowed = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    kinds = tuple(kind for kind in allowed if isinstance(kind, type) and issubclass(kind, (Recorded, Settings)))
    shown = repr(value) if value is None or isinstance(value, (bool, int, float, str)) else type(value).__name__
    if kinds and not isinstance(value, kinds) and not (value is None and type(None) in allowed):
        raise InputError(f"{owner}: {key} {shown} is no {kinds[0].__name__}; give one, or its class_path and init_args")
    if get_origin(annotation) is Callable and not callable(value):
        raise InputError(f"{owner}: {key} {shown} is no class with arguments; give its class_path and init_args")


def _recording(constructor: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def init(self: Recorded, *arguments: Any, **keywords: Any) -> None:
        bound = _bound(type(self), signature, (self, *arguments), keywords)
        given = dict(list(bound.arguments.items())[1:])
        for name, value in given.items():
            parameter = signature.parameters[name]
            check_choice(type(self).__name__, name, parameter.annotation, value)
            bound.arguments[name] = given[name] = from_plain(value, parameter.default)
            check_kind(type(self).__name__, name, parameter.annotation, given[name])
        is_outermost = INIT_ARGS not in self.__dict__
        if is_outermost:
            # `nn.Module` takes no attributes before its own constructor has run.
            self.__dict__[INIT_ARGS] = {name: to_plain(value) for name, value in _named(signature, given)}
        constructor(*bound.args, **bound.kwargs)
        if is_outermost:
            self.after_init()

    return init


def _named(signature: inspect.Signature, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield arguments by the names under which they can be given again: those in **keywords by their own."""
    for name, value in given.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            yield from value.items()
        else:
            yield name, value


def _build(built: type, arguments: Mapping[str, Any]) -> Any:
    if issubclass(built, (Optimizer, LRScheduler)):
        return _stepped(built, arguments)
    _bound(built, inspect.signature(built), (), arguments)
    return built(**arguments)


def _stepped(built: type, arguments: Mapping[str, Any]) -> functools.partial[Any]:
    """An optimizer or a schedule with some of its arguments."""
    _refuse_unknown(built, inspect.signature(built), arguments)
    return functools.partial(built, **{key: from_plain(value) for key, value in arguments.items()})


def _python_scalar(value: Any) -> Any:
    """A number or text of numpy as Python's, which a checkpoint can hold."""
    return value.item() if isinstance(value, np.generic) else value


def _refuse_unknown(built: type, signature: inspect.Signature, keywords: Mapping[str, Any]) -> None:
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    unknown = next((name for name in keywords if name not in signature.parameters), None)
    if unknown is not None and not takes_any:
        raise InputError(f"{built.__name__} takes no {unknown}{did_you_mean(unknown, signature.parameters)}")


def _bound(
    built: type, signature: inspect.Signature, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> inspect.BoundArguments:
    """Return the arguments as a constructor has them, defaults included.

    Raises:
        InputError: one is misspelt, missing or too many.
    """
    _refuse_unknown(built, signature, keywords)
    try:
        bound = signature.bind(*arguments, **keywords)
    except TypeError as error:
        raise InputError(f"{built.__name__}: {error}") from error
    bound.apply_defaults()
    return bound


def _frozen(value: Any) -> Any:
    """A list as a tuple, so that settings stay what they are."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _words(annotation: Any) -> tuple[Any, ...]:
    """Words of a Literal, or of several, or None, to choose from."""
    kinds = [annotation] if get_origin(annotation) is Literal else get_args(annotation)
    return tuple(word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind))
