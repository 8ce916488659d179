"""Which keys a training configuration may have, so that a misspelt one is found where it stands.

jsonargparse rejects most unknown keys too, but without place or suggestion, and not those whose value is `{}`.
"""

import importlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from lightning_rcnn.cli.composing import Composition, KeyPath
from lightning_rcnn.cli.other_names import is_of_others, ours_for
from lightning_rcnn.errors import InputError
from lightning_rcnn.suggestions import did_you_mean

CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")
_CLASS_NAME = re.compile(r"(?!(?:true|false|null)$)[A-Za-z_]\w*(\.\w+)*")


class KnownKeys:
    """The keys that a parser accepts.

    Args:
        parser: of one command.
        bases: keys that hold a class, and what it derives from; short class names are looked up among its subclasses.
    """

    def __init__(self, parser: ArgumentParser, bases: Mapping[str, type]) -> None:
        self.bases = bases
        # Help on a class and the targets of links are no keys.
        self.flags = {option for action in parser._actions for option in action.option_strings if option[0] == "-"}
        self.dests = {action.dest for action in parser._actions if f"--{action.dest}" in action.option_strings}
        self.dests = {dest for dest in self.dests if not dest.endswith(".help")}
        self.groups = {dest[:end] for dest in self.dests for end, letter in enumerate(dest) if letter == "."}

    def check_files(self, composition: Composition) -> None:
        """Refuse the first unknown key or class in merged configuration files.

        Raises:
            InputError: with file, line and a suggestion.
        """
        for path, problem in self._problems(composition.content, ()):
            raise InputError(f"{composition.origin(path)}: {problem}")

    def check_flags(self, arguments: list[str], content: Mapping[str, Any]) -> None:
        """Refuse the first unknown flag; none may be abbreviated.

        Args:
            arguments: of the command line.
            content: of the configuration files, which say what class the model is.

        Raises:
            InputError: with a suggestion.
        """
        for holder, base in self.bases.items():
            class_path = flag_value(arguments, holder) or flag_value(arguments, f"{holder}.class_path")
            if class_path and _CLASS_NAME.fullmatch(class_path) and find_class(class_path, base) is None:
                raise InputError(f"--{holder}: {_no_such_class(class_path, base)}")
        for argument in arguments:
            flag = argument.partition("=")[0].removesuffix("+")
            if flag.removeprefix("--") in self.groups and not _is_mapping(
                flag_value(arguments, flag.removeprefix("--"))
            ):
                raise InputError(f"{flag}: options belong below it{ours_for(flag, self.flags - {flag})}")
            if not flag.startswith("--") or flag in self.flags:
                continue
            owner = next((key for key in self.dests - self.groups if flag.startswith(f"--{key}.")), None)
            known = self.flags
            if owner is not None:
                name = flag.removeprefix(f"--{owner}.").removeprefix("init_args.").partition(".")[0]
                class_path = flag_value(arguments, owner) or flag_value(arguments, f"{owner}.class_path")
                accepted = self._accepted(owner, class_path or content.get(owner))
                if accepted is None or name in {*accepted, *CLASS_KEYS, "help"}:
                    continue
                known = known | {f"--{owner}.{name}" for name in accepted}
            raise InputError(f"{flag}: no such option{ours_for(flag, sorted(known))}")

    def _problems(self, content: Mapping[str, Any], outer: KeyPath) -> Iterator[tuple[KeyPath, str]]:
        for key, value in content.items():
            path = (*outer, str(key))
            dotted = ".".join(path)
            if dotted in self.groups:
                if isinstance(value, Mapping):
                    yield from self._problems(value, path)
                else:
                    yield path, f"{dotted}: keys belong below it, not {value!r}"
            elif dotted in self.dests:
                yield from self._class_problems(value, path, self.bases.get(dotted))
            else:
                yield path, f"{dotted}: no such key{ours_for(dotted, self._all_keys(content))}"

    def _class_problems(self, value: Any, path: KeyPath, base: type | None) -> Iterator[tuple[KeyPath, str]]:
        """Problems of a value that is a class with arguments, or a list of such; other values have none."""
        for item in value if isinstance(value, list) else []:
            yield from self._class_problems(item, path, base)
        if not isinstance(value, Mapping) or base is None:
            return
        dotted = ".".join(path)
        for key in value.keys() - set(CLASS_KEYS):
            candidates = [f"{dotted}.init_args.{name}" for name in self._accepted(dotted, value) or ()]
            yield (*path, key), f"{dotted}.{key}: no such key{ours_for(f'{dotted}.{key}', candidates)}"
        class_path = value.get("class_path")
        found = find_class(class_path, base) if class_path else None
        if found is None:
            if class_path:
                yield (*path, "class_path"), f"{dotted}.class_path: {_no_such_class(class_path, base)}"
            return
        accepted = class_arguments(found)
        for key, argument in (value.get("init_args") or {}).items():
            inner = (*path, "init_args", key)
            if key not in accepted:
                known = [f"{dotted}.init_args.{name}" for name in accepted]
                meant = ours_for(key, known) if is_of_others(key) else did_you_mean(key, accepted)
                yield inner, f"{'.'.join(inner)}: {found.__name__} takes no {key}{meant}"
            yield from self._class_problems(argument, inner, None)

    def _accepted(self, holder: str, given: Any) -> frozenset[str] | None:
        """Arguments of the class that a key holds; None where that can't be told."""
        class_path = given.get("class_path") if isinstance(given, Mapping) else given
        found = (
            find_class(class_path, self.bases[holder]) if isinstance(class_path, str) and holder in self.bases else None
        )
        return class_arguments(found) if found else None

    def _all_keys(self, content: Mapping[str, Any]) -> list[str]:
        inner = [
            f"{key}.init_args.{name}" for key in self.bases for name in self._accepted(key, content.get(key)) or ()
        ]
        return sorted(self.dests) + sorted(inner)


def _is_mapping(value: str | None) -> bool:
    """Whether the value of an option stands for several keys: JSON, or the name of a file."""
    return value is not None and (value.lstrip().startswith("{") or Path(value).is_file())


def _no_such_class(name: str, base: type) -> str:
    return f"no {base.__name__} is called {name}{did_you_mean(name, subclasses(base))}"


def flag_value(arguments: list[str], key: str) -> str | None:
    """The last value given to `--key`, as `--key value` or `--key=value`."""
    found = None
    for argument, following in zip_longest(arguments, arguments[1:]):
        flag, separator, value = argument.partition("=")
        if flag == f"--{key}":
            found = value if separator else following
    return found


def find_class(class_path: str, base: type) -> type | None:
    """The class by its import path, or by its short name among the subclasses of `base` that are imported."""
    module, _, name = class_path.rpartition(".")
    if not module:
        return subclasses(base).get(name)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    return found if isinstance(found, type) else None


def subclasses(base: type) -> dict[str, type]:
    """All subclasses of `base` that are imported, by short name."""
    found: dict[str, type] = {base.__name__: base}
    children: list[type] = base.__subclasses__()
    for child in children:
        found |= subclasses(child)
    return found


@cache
def class_arguments(of_class: type) -> frozenset[str]:
    """Names of the arguments that a class takes, with those that it hands on to its bases."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(of_class, fail_untyped=False)
    return frozenset(action.dest for action in parser._actions) - {"help"}
