"""Base classes of the parts of a detector, which record their arguments as plain data."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar
from weakref import ReferenceType, WeakKeyDictionary, ref

from torch import nn

from lightning_rcnn.class_paths import class_path
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import CLASS_PATH, INIT_ARGS, Described, bound_arguments, from_plain, to_plain
from lightning_rcnn.settings_checks import check, hints_of


def _recording(constructor: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def init(self: "Recorded", *arguments: Any, **keywords: Any) -> None:
        owner = type(self).__name__
        bound = bound_arguments(type(self), signature, (self, *arguments), keywords)
        given = dict(list(bound.arguments.items())[1:])
        for name, value in given.items():
            parameter = signature.parameters[name]
            bound.arguments[name] = given[name] = from_plain(value, parameter.default)
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                check(owner, name, hints_of(constructor).get(name, Any), given[name])
        is_outermost = INIT_ARGS not in self.__dict__
        if is_outermost:
            named = dict(_named(owner, signature, given))
            recorded = {name: value for name, value in named.items() if name not in self.initial_weights}
            parts = [value for value in recorded.values() if isinstance(value, Part) and not isinstance(self, Part)]
            for given_part in parts:
                _refuse_owned(given_part, owner)
            # `nn.Module` accepts no attributes before its constructor has run.
            self.__dict__[INIT_ARGS] = {name: to_plain(value) for name, value in recorded.items()}
        constructor(*bound.args, **bound.kwargs)
        if is_outermost:
            _OWNERS.update({given_part: ref(self) for given_part in parts})
            self.after_init()

    return init


class Recorded(Described):
    """Base of objects that record the arguments of their constructor.

    Arguments may be plain data. `after_init` runs when the constructors of all subclasses are done.

    Attributes:
        init_args: the arguments as plain data, defaults included.
        initial_weights: names of the arguments that are weights to start from; they are not recorded, as a checkpoint
            has the weights that came of them.

    Raises:
        InputError: on construction: an argument does not match its type, or cannot be recorded.
    """

    init_args: dict[str, Any]
    initial_weights: ClassVar[tuple[str, ...]] = ()

    @_recording
    def __init__(self) -> None:
        # For subclasses without a constructor of their own, whose (missing) arguments are recorded too.
        super().__init__()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__:
            setattr(cls, "__init__", _recording(cls.__dict__["__init__"]))  # noqa: B010 - mypy forbids the assignment

    def plain_arguments(self) -> dict[str, Any]:
        """Return `init_args`."""
        return self.init_args

    def after_init(self) -> None:
        """Finish construction; runs when the whole object exists, and does nothing by default."""


class Part(Recorded, nn.Module):
    """Base of the modules that a detector is composed of.

    A part belongs to one detector: it may hand layers over, and training changes it.

    Attributes:
        class_layers: names of the layers whose size depends on the number of classes; for other classes they are
            initialized.
        compiled_layers: names of the submodules that torch's compiler compiles (`""` is the part itself): fixed shapes,
            and nearly all of the arithmetic.
        sharded_layers: names of the submodules whose weights are gathered one at a time in a sharded training, such as
            the blocks of a transformer. Only their own `forward` may compute with these weights.
        dynamic_layers: those of `compiled_layers` whose first dimension varies on a CPU.
        profiled: name of a function or submodule -> name of its time in a profile.
        loss_names: names of the losses that the part computes, logged under `train/`.
        conventions: names of the arguments that must match those the weights were trained with.
        no_graph: why a detector with the part cannot be exported, and the way out; empty if it can.
    """

    no_graph: ClassVar[str] = ""
    loss_names: tuple[str, ...] = ()
    class_layers: tuple[str, ...] = ()
    compiled_layers: tuple[str, ...] = ()
    sharded_layers: tuple[str, ...] = ()
    dynamic_layers: ClassVar[tuple[str, ...]] = ()
    profiled: ClassVar[Mapping[str, str]] = {}
    conventions: ClassVar[tuple[str, ...]] = ()


def part(of_class: type, **init_args: Any) -> dict[str, Any]:
    """Describe a part, settings, an optimizer or a schedule as plain data."""
    return {CLASS_PATH: class_path(of_class), INIT_ARGS: init_args}


_OWNERS: WeakKeyDictionary[Part, ReferenceType[Recorded]] = WeakKeyDictionary()
"""Detector of each part. It is not an attribute of the part, which could then not be copied or pickled."""


def _named(owner: str, signature: inspect.Signature, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield arguments by the names that rebuild the object; those of **keywords by their own names.

    Raises:
        InputError: an argument has no name.
    """
    for name, value in given.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            yield from value.items()
        elif kind is inspect.Parameter.VAR_POSITIONAL and not value:
            continue
        elif kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
            shown = f"*{name}" if kind is inspect.Parameter.VAR_POSITIONAL else name
            raise InputError(
                f"{owner}: {shown} takes arguments without a name, which cannot be recorded; give them by name, or let "
                "the constructor take a list"
            )
        else:
            yield name, value


def _refuse_owned(given: Part, owner: str) -> None:
    """Refuse a part of another detector: it may lack layers, and training one detector would change both."""
    if other := _OWNERS.get(given, lambda: None)():
        kind = type(given).__name__
        raise InputError(
            f"{owner}: this {kind} belongs to another {type(other).__name__} already; build a second {kind}, or give "
            "copy.deepcopy of one that is not in use"
        )
