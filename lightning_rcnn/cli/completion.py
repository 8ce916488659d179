"""Completion scripts for shells: `lightning-rcnn --print_shtab bash`.

jsonargparse can write one itself, but expands every subclass of every argument: minutes, and a script of megabytes.
Here the commands are described once more to plain argparse, with the options of our own classes only.
"""

import argparse
import importlib
import inspect
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args, get_origin

from jsonargparse import ArgumentParser

from lightning_rcnn.cli.class_lookup import class_arguments, part_of, subclasses
from lightning_rcnn.cli.registry import TOOLS, TRAINING
from lightning_rcnn.cli.tools import tool_parser
from lightning_rcnn.errors import InputError

SHELLS = ("bash", "zsh", "tcsh")
OPTION = "--print_shtab"
_CHECKPOINTS = ("last", "best")


def completion_script(shell: str) -> str:
    """Return the script that completes commands, options and values.

    Args:
        shell: one of `SHELLS`.

    Raises:
        InputError: the shell is unknown, or shtab is not installed.
    """
    if shell not in SHELLS:
        raise InputError(f"{OPTION} {shell}: no such shell; give one of {', '.join(SHELLS)}")
    try:
        import shtab
    except ImportError:
        raise InputError(
            f"{OPTION}: the package shtab is missing; install it with `pip install 'lightning-rcnn[completion]'`"
        ) from None
    script: str = shtab.complete(_parser(), shell)
    return script


def _parser() -> argparse.ArgumentParser:
    """Describe all commands to plain argparse."""
    root = argparse.ArgumentParser(prog="lightning-rcnn")
    root.add_argument("--version", action="store_true", help="print the version")
    root.add_argument(OPTION, choices=SHELLS, help="print a completion script")
    commands = root.add_subparsers()
    groups: dict[str, Any] = {}
    for name, summary in TRAINING.items():
        command = commands.add_parser(name, help=summary)
        _add_options(command, _training_parser(name))
        _add_class_options(command)
    for name, tool in TOOLS.items():
        group, _, rest = name.rpartition(" ")
        if group and group not in groups:
            groups[group] = commands.add_parser(
                group, help=f"{group} ..."
            ).add_subparsers()  # shtab hides what has no help
        command = (groups[group] if group else commands).add_parser(rest, help=tool.summary)
        _add_options(command, tool_parser(name, getattr(importlib.import_module(tool.module), tool.function)))
    return root


def _training_parser(command: str) -> ArgumentParser:
    """Return the parser of `fit` or its like, which Lightning builds on its way to a run."""
    # Imported here: Lightning takes seconds.
    from lightning_rcnn.cli.detection_cli import DetectionCLI

    class Built(Exception):  # noqa: N818  # it is no error
        pass

    class ParserOnly(DetectionCLI):
        def parse_arguments(self, *_: Any) -> None:
            raise Built(self._subcommand_parsers[command])

    try:
        ParserOnly([command])
    except Built as built:
        parser: ArgumentParser = built.args[0]
        return parser
    raise AssertionError("LightningCLI has not parsed any arguments")


def _add_options(command: argparse.ArgumentParser, parser: ArgumentParser) -> None:
    """Add the options of a jsonargparse parser; positional arguments are files."""
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        if "--config" in action.option_strings:
            _add(command, action.option_strings, FILES)
        elif action.nargs == 0:
            command.add_argument(*action.option_strings, action="store_true")
        else:
            values = action.choices or values_of(getattr(action, "_typehint", action.type))
            values = _CHECKPOINTS if action.dest == "ckpt_path" else FILES if action.dest == "checkpoint" else values
            _add(command, action.option_strings or [action.dest], values or FILES, action.nargs)


def _add_class_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the classes that a configuration may name in short."""
    from lightning_rcnn.cli.known_classes import CLASSES, DETECTORS

    for key, bases in CLASSES.items():
        if key != "model":
            names = sorted({name for base in bases for name in subclasses(base) if not name.startswith("_")})
            _set_values(command, f"--{key}", names)
    for flag, values in class_options("--model", DETECTORS).items():
        _set_values(command, flag, values)


def class_options(flag: str, classes: Iterable[type]) -> dict[str, list[str]]:
    """Return the options that set a part by class, those of its arguments and those of their parts.

    Args:
        flag: option that names the class.
        classes: those that it may name.

    Returns:
        Option -> values to choose from; empty where any value is possible.
    """
    options: dict[str, list[str]] = {flag: []}
    for of_class in classes:
        options[flag].append(of_class.__name__)
        parameters = inspect.signature(of_class).parameters
        for name in sorted(name for name in class_arguments(of_class) if not name.endswith(".help")):
            inner, kind = f"{flag}.{name}", part_of(of_class, name)
            if kind is None:
                inner_options = {inner: values_of(parameters[name].annotation) if name in parameters else []}
            else:
                inner_options = class_options(inner, _choices(kind.base))
            for key, values in inner_options.items():
                options[key] = list(dict.fromkeys([*options.get(key, []), *values]))
    return options


def values_of(annotation: Any) -> list[str]:
    """Return the values of a type that has few; empty for others."""
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for inner in get_args(annotation) for value in values_of(inner)]


def _choices(base: type) -> Iterator[type]:
    """Yield the classes that may stand for `base`: all that are imported and can be built."""
    for name, of_class in subclasses(base).items():
        if not (inspect.isabstract(of_class) or name.startswith("_")):
            yield of_class


FILES: tuple[str, ...] = ()
"""Values of an option that names a file, or anything else that has no list."""


def _add(
    command: argparse.ArgumentParser, names: Iterable[str], values: Iterable[str], nargs: int | str | None = None
) -> None:
    import shtab

    action = command.add_argument(*names, choices=list(values) or None, nargs=nargs)
    if action.choices is None:
        action.complete = shtab.FILE  # type: ignore[attr-defined]


def _set_values(command: argparse.ArgumentParser, flag: str, values: Iterable[str]) -> None:
    """Give an option its values; add it where it is new."""
    action = command._option_string_actions.get(flag)
    if action is None:
        _add(command, [flag], values)
    elif values:
        action.choices = list(values)
        vars(action).pop("complete", None)  # it rules over choices
