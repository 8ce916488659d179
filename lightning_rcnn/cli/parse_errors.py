"""Errors of the argument parser, in one line.

jsonargparse explains a wrong value with a paragraph for every member of the expected type, after the usage of every
option.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import PurePath

from lightning_rcnn.cli.composing import Composition
from lightning_rcnn.cli.other_names import is_of_others, ours_for
from lightning_rcnn.errors import InputError
from lightning_rcnn.suggestions import did_you_mean

_KEY = re.compile(r'(?:Parser key|Key) "(?!config")([^"]+)"')
_EXPECTED = re.compile(r"Expected an? (?!<class 'NoneType'>|path but )(.+?)(?:\. Got value: (.*))?$", re.MULTILINE)
_GIVEN = re.compile(r"^\s*Given value: (.*)", re.MULTILINE)
_NO_SUBCLASS = re.compile(r"Not a valid subclass of (\w+)")
_NESTED = re.compile(r"NestedArg\(key='.*?', val=(.*)\)$")
_AMBIGUOUS = re.compile(
    r"Multiple subclasses with name (\w+)\. Give the full class path to avoid\s+ambiguity: ([\w., ]+)\.$", re.MULTILINE
)
_CHOICES = re.compile(r"(?:typing\.)?Literal\[(.*)\]")
_REQUIRED = re.compile(r"the following arguments are required: (.*)")
_CONSTRUCTED = re.compile(r"^Given value: .*?class_path='(?:\w+\.)*(\w+)'", re.MULTILINE)
_REASONS = re.compile(r"^Errors:\n(.*?)^Given value", re.MULTILINE | re.DOTALL)
_STRAY = re.compile(r"(?:Unrecognized|unrecognized) arguments: (.*)")


def key_of(message: str) -> str | None:
    """Return the dotted key in a message of the parser; None if it names none."""
    keys = _KEY.findall(message)  # that of an argument of a list's element comes twice
    return ".".join(key for key, _ in groupby(keys)) if keys else None


def one_line(message: str, flags: list[str]) -> str:
    """Return what is wrong, without the key; a message of unknown form is returned without line breaks.

    Args:
        message: message of the parser.
        flags: flags of the command, for suggestions.
    """
    if (match := _REQUIRED.search(message)) and (owner := _owner(match[1].strip(), message)):
        return f"{owner} needs {match[1].strip()}"
    if match := _REQUIRED.search(message):
        missing = ", ".join(f"--{name.strip().removeprefix('--')}" for name in match[1].split(","))
        return f"{missing} {'is' if ',' not in missing else 'are'} missing"
    if match := _STRAY.search(message):
        stray = match[1].split()[0].partition("=")[0]
        if stray.startswith("-"):
            return f"{stray}: no such option{ours_for(stray, flags)}"
        if is_of_others(stray):
            return f"{stray}: nothing takes this argument{ours_for(f'--{stray}', flags)}"
        return f"{stray}: nothing takes this argument; did you forget an option before it{_hint(stray, flags)}?"
    expected = list(_EXPECTED.finditer(message))
    given = next((match[2] for match in expected if match[2]), None) or (_GIVEN.findall(message) or ["this value"])[-1]
    given = _NESTED.sub(r"\1", given).strip("'\"")
    if match := _AMBIGUOUS.search(message):
        return f"several classes are called {match[1]}; give one of {match[2]}"
    if match := _NO_SUBCLASS.search(message):
        return f"{given!r} is no {match[1]}"
    if not expected:
        return _without_breaks(message)
    types = list(dict.fromkeys(_plain_type(match[1]) for match in expected))
    choices = _CHOICES.search(expected[0][1])
    near = did_you_mean(given, [choice.strip(" '\"") for choice in choices[1].split(",")]) if choices else ""
    if types == ["list"] and not given.startswith("["):
        near = f"; write '[{given}]'"
    return f"{given!r} is not {' or '.join(types)}{near}"


def located(message: str, arguments: Sequence[str], flags: list[str], composition: Composition) -> str:
    """Return what is wrong and where: the flag, or the file with line and key.

    Args:
        message: message of the parser.
        arguments: arguments of the command line.
        flags: flags of the command.
        composition: merged configuration files.
    """
    what = one_line(message, flags)
    key = key_of(message)
    if key is None:
        return what
    wanted = key.split(".")
    for matches in (_is_same, _is_inside):
        if place := _place_of(wanted, matches, arguments, composition):
            return f"{place}: {what}"
    for path, origin in composition.origins.items():
        if len(path) > 1 and list(path) == wanted[: len(path)]:  # a list of classes, whose arguments have its origin
            return f"{origin}: {key}: {what}"
    return f"{key}: {what}"


def place_of(key: Sequence[str], arguments: Sequence[str], composition: Composition) -> str | None:
    """Return where a key was given: the flag, or the file with line and key; None if it was not.

    Args:
        key: whole key path.
        arguments: arguments of the command line.
        composition: merged configuration files.
    """
    return _place_of(key, _is_same, arguments, composition)


def constructor_error(message: str) -> str | None:
    """Return what a class said against its arguments, behind its name; None if the message is of another form.

    jsonargparse tries each type of a union, and names the errors of all. Those of types that the class is not of say
    nothing.

    Args:
        message: message of the parser about a value that fits none of several types.
    """
    name, listed = _CONSTRUCTED.search(message), _REASONS.search(message)
    if name is None or listed is None:
        return None
    reasons = dict.fromkeys(_without_breaks(reason) for reason in re.split(r"^  - ", listed[1], flags=re.MULTILINE))
    told = [reason for reason in reasons if reason and not reason.startswith("Import path ")]
    return f"{name[1]}: {'; '.join(told)}" if told else None


def refused_by_constructor(error: ValueError) -> InputError | None:
    """Return what a class said against its arguments, without the text that jsonargparse adds; None if it is unknown.

    Args:
        error: error of jsonargparse when it builds the classes of a configuration.
    """
    from lightning.pytorch.utilities.exceptions import MisconfigurationException  # seconds, which tools do not need

    for cause in causes_of(error):
        if isinstance(cause, InputError):
            return cause
        if isinstance(cause, ModuleNotFoundError | MisconfigurationException):
            key = key_of(str(error)) or "trainer"
            what = "a package is missing: " if isinstance(cause, ModuleNotFoundError) else ""
            return InputError(f"{key}: {what}{' '.join(str(cause).split())}")
    said = constructor_error(str(error))
    return None if said is None else InputError(said)


def _owner(arguments: str, message: str) -> str | None:
    """Return the name of the class that lacks arguments, which jsonargparse shows as None; None if it shows none."""
    first = arguments.partition(",")[0].removeprefix("--")
    owners = re.findall(rf"class_path='(?:\w+\.)*(\w+)', init_args=Namespace\((?:[^()]*, )?{first}=None", message)
    return owners[-1] if owners else None


def _place_of(
    key: Sequence[str],
    matches: Callable[[Sequence[str], Sequence[str]], bool],
    arguments: Sequence[str],
    composition: Composition,
) -> str | None:
    for argument in arguments:
        flag = argument.partition("=")[0].removesuffix("+")
        if flag.startswith("--") and matches(flag.removeprefix("--").split("."), key):
            return flag
    origins = composition.origins.items()
    return next((f"{origin}: {'.'.join(path)}" for path, origin in origins if matches(path, key)), None)


def _is_same(path: Sequence[str], key: Sequence[str]) -> bool:
    return _short(path) == _short(key)


def _is_inside(path: Sequence[str], key: Sequence[str]) -> bool:
    """Tell whether a path begins and ends like the key: jsonargparse omits the names of nested settings."""
    path, key = _short(path), _short(key)
    return path[:1] == key[:1] and path[-1:] == key[-1:]


def _short(path: Sequence[str]) -> list[str]:
    """Return a key path without `init_args`, as the parser names it."""
    return [part for part in path if part != "init_args"]


def _plain_type(name: str) -> str:
    if choices := _CHOICES.fullmatch(name):
        return f"one of {choices[1].replace(chr(39), '')}"
    plain = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", name)
    return "list" if plain == "tuple" else plain  # YAML has lists alone


def _hint(stray: str, flags: list[str]) -> str:
    """Return the option to which a file, or else a folder, most likely belongs."""
    of_files = {".yaml": "--config", ".yml": "--config", ".json": "--annotations"}
    flag = of_files.get(PurePath(stray).suffix.lower())
    likely = [flag] if flag else ["--images", "--root"]
    return next((f", for example {flag}" for flag in likely if flag in flags), "")


def _without_breaks(message: str) -> str:
    lines = (line.strip(" -") for line in message.splitlines())
    return " ".join(line for line in lines if line)


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
