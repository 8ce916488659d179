"""Commands made of plain functions: parameters become flags, the docstring becomes the help."""

import argparse
import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import docstring_parser
from jsonargparse import ArgumentParser

from lightning_rcnn.cli.output_paths import require_local
from lightning_rcnn.cli.parse_errors import key_of, one_line
from lightning_rcnn.errors import InputError


class ToolParser(ArgumentParser):
    """A parser that reports errors in one line."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Raise the error.

        Raises:
            InputError: always.
        """
        flags = [option for action in self._actions for option in action.option_strings]
        key = key_of(message)
        flag = f"--{key}: " if key else ""
        raise InputError(f"{flag}{one_line(message, flags)} (see {self.prog} --help)") from ex

    def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
        """Format the help, with paths called by their name; jsonargparse shows how Python prints the class."""
        return re.sub(r"<class\s+'Path'>", "path", super().format_help(formatter))


def run_tool(name: str, function: Callable[..., None], arguments: list[str]) -> None:
    """Parse the arguments of the command `name` and call its function.

    Raises:
        InputError: an argument is wrong.
    """
    values = tool_parser(name, function).parse_args(arguments).as_dict()
    for key, value in values.items():
        for path in value if isinstance(value, list | tuple) else [value]:
            if isinstance(path, Path):
                require_local(path, f"--{key}")
    function(*[values.pop(key) for key in _positional(function)], **values)


def tool_parser(name: str, function: Callable[..., None]) -> ToolParser:
    """Build a parser from the signature: `--flag` alone for a default of false, `--flag A B C` for lists.

    Positional-only parameters have no flag; a list of them takes one value or more.
    """
    signature = inspect.signature(function).parameters
    documentation = docstring_parser.parse(function.__doc__ or "")
    described = {parameter.arg_name: parameter.description for parameter in documentation.params}
    switches = {key for key, parameter in signature.items() if parameter.default is False}
    lists = {key: kind for key, parameter in signature.items() if (kind := _item_type(parameter.annotation))}
    description = "\n\n".join(filter(None, (documentation.short_description, documentation.long_description)))
    parser = ToolParser(prog=f"lightning-rcnn {name}", description=description, allow_abbrev=False)
    positional = _positional(function)
    for key in positional:
        options: dict[str, Any] = {"nargs": "+"} if key in lists else {}
        parser.add_argument(key, type=lists.get(key, signature[key].annotation), help=described.get(key), **options)
    parser.add_function_arguments(function, as_group=False, skip={*switches, *lists, *positional})
    for key, item_type in lists.items():
        if key in positional:
            continue
        default = signature[key].default
        options = {"required": True} if default is inspect.Parameter.empty else {"default": list(default)}
        if get_origin(item_type) is Literal:
            options |= {"type": str, "choices": get_args(item_type)}
        else:
            options["type"] = item_type
        parser.add_argument(f"--{key}", nargs="+", action=_Gather, help=described.get(key), **options)
    for key in sorted(switches):
        parser.add_argument(f"--{key}", action="store_true", help=described.get(key))
    return parser


class _Gather(argparse.Action):
    """A list whose flag may be repeated: the first occurrence replaces the default, others add to it."""

    _given: Sequence[Any] = ()

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        # The parser copies defaults, so the namespace does not tell them from given values.
        self._given = [*self._given, *values]
        setattr(namespace, self.dest, self._given)


def _positional(function: Callable[..., None]) -> list[str]:
    parameters = inspect.signature(function).parameters.items()
    return [key for key, parameter in parameters if parameter.kind is inspect.Parameter.POSITIONAL_ONLY]


def _item_type(annotation: Any) -> Any:
    """Return the item type of a list, a sequence or a tuple of any length; None for other types."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (list, Sequence) or (origin is tuple and inner[-1:] == (Ellipsis,)):
        return inner[0]
    return None
