"""Keys that a training configuration may have, to report a misspelled one with file and line.

jsonargparse rejects most unknown keys too, but without location or suggestion, and not if the value is `{}`.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_rcnn.class_paths import class_path as class_path_of
from lightning_rcnn.cli.class_lookup import (
    CLASS_KEYS,
    Bases,
    PartKind,
    class_arguments,
    class_problem,
    find_class,
    part_of,
    why_not_imported,
    with_import_path,
)
from lightning_rcnn.cli.composing import Composition, KeyPath
from lightning_rcnn.cli.flags import flag_value, given_class, sets_several_keys
from lightning_rcnn.cli.other_names import is_of_others, ours_for
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import Part
from lightning_rcnn.plain_data import merge
from lightning_rcnn.settings import Settings
from lightning_rcnn.suggestions import did_you_mean

_CLASS_NAME = re.compile(r"(?!(?:true|false|null)$)[A-Za-z_]\w*(\.\w+)*")


class KnownKeys:
    """The keys that a parser accepts.

    Args:
        parser: parser of one command.
        bases: key that holds a class -> its base classes; short names are looked up among their subclasses, in order.
    """

    def __init__(self, parser: ArgumentParser, bases: Mapping[str, Bases]) -> None:
        self.bases = bases
        # Help on a class and targets of links are not keys.
        self.flags = {option for action in parser._actions for option in action.option_strings if option[0] == "-"}
        self.dests = {action.dest for action in parser._actions if f"--{action.dest}" in action.option_strings}
        self.dests = {dest for dest in self.dests if not dest.endswith(".help")}
        self.groups = {dest[:end] for dest in self.dests for end, letter in enumerate(dest) if letter == "."}

    def check_files(self, composition: Composition) -> None:
        """Refuse the first unknown key or class in merged configuration files.

        Arguments of a class that a later file has replaced are removed from the composition.

        Raises:
            InputError: a key is unknown; the message has file, line and a suggestion.
        """
        for path, problem in list(self._problems(composition.content, ())):
            default = self._default_class(composition.content, path[:-2])
            if self._was_known(composition.replaced_class(path, default), path):
                composition.remove(path)
                continue
            raise InputError(f"{composition.origin(path)}: {problem}")

    def _was_known(self, class_path: str | None, path: KeyPath) -> bool:
        """Tell whether the last key of a path was an argument of the replaced class."""
        bases = (*self.bases.get(".".join(path[:-2]), ()), Part, Settings, Optimizer, LRScheduler)
        replaced = find_class(class_path, bases) if class_path else None
        return replaced is not None and path[-1] in class_arguments(replaced)

    def _default_class(self, content: Mapping[str, Any], path: KeyPath) -> str | None:
        """Return the path of the class that stands at a key path inside a class if none is named there."""
        kind: PartKind | None = None
        bases: Bases | None = None
        of_class: type | None = None
        value: Any = content
        for depth, name in enumerate(path, 1):
            value = value.get(name) if isinstance(value, Mapping) else None
            if name in CLASS_KEYS:
                continue
            if of_class is None:
                kind, bases = None, self.bases.get(".".join(path[:depth]))
            else:
                kind = part_of(of_class, name)
                bases = (kind.base,) if kind else None
            of_class = self._class_of(value, bases) or (kind.default if kind else None)
        return class_path_of(kind.default) if kind and kind.default else None

    def check_flags(self, arguments: list[str], content: Mapping[str, Any]) -> None:
        """Refuse the first unknown or abbreviated flag.

        Args:
            arguments: arguments of the command line.
            content: content of the configuration files, which names the class of the model.

        Raises:
            InputError: a flag is unknown; the message has a suggestion.
        """
        for holder, bases in self.bases.items():
            class_path = given_class(arguments, holder)
            if class_path and _CLASS_NAME.fullmatch(class_path):
                self._require_class(class_path, holder, bases)
        for argument in arguments:
            flag = argument.partition("=")[0].removesuffix("+")
            if flag.removeprefix("--") in self.groups and not sets_several_keys(
                flag_value(arguments, flag.removeprefix("--"))
            ):
                raise InputError(f"{flag}: options belong below it{ours_for(flag, self.flags - {flag})}")
            if not flag.startswith("--") or flag in self.flags:
                continue
            owner = next((key for key in self.dests - self.groups if flag.startswith(f"--{key}.")), None)
            known = self.flags
            if owner is not None:
                names = [name for name in flag.removeprefix(f"--{owner}.").split(".") if name != "init_args"]
                given = given_class(arguments, owner) or _value_at(content, owner)
                accepted = self._accepted_flags(arguments, owner, given, names)
                if accepted is None:
                    continue
                known = known | {f"--{owner}.{name}" for name in accepted}
            raise InputError(f"{flag}: no such option{ours_for(flag, sorted(known))}")

    def with_import_paths(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration with import paths for short names in lists of classes, as names may be ambiguous."""
        for key, bases in self.bases.items():
            group, _, name = key.rpartition(".")
            items = (content.get(group) or {}).get(name) if group else None
            if isinstance(items, list):
                full = [with_import_path(item, bases) for item in items]
                content = merge(content, {group: {name: full}})
        return content

    def _accepted_flags(self, arguments: list[str], owner: str, given: Any, names: list[str]) -> list[str] | None:
        """Return the keys that a class takes if it does not take `names`, the parts of a dotted key; else None."""
        known_class = self._class_of(given, self.bases.get(owner))
        for depth, name in enumerate(names):
            if known_class is None or name in (*CLASS_KEYS, "help"):
                return None
            accepted = class_arguments(known_class)
            if name not in accepted:
                return [".".join((*names[:depth], key)) for key in accepted]
            kind = part_of(known_class, name)
            values = given.get("init_args") or given if isinstance(given, Mapping) else {}
            key = f"{owner}.{'.'.join(names[: depth + 1])}"
            named = given_class(arguments, key)
            if kind and named and _CLASS_NAME.fullmatch(named) and not sets_several_keys(named):
                self._require_class(named, key, (kind.base,))
            given = named or values.get(name)
            known_class = (self._class_of(given, (kind.base,)) or kind.default) if kind else None
        return None

    def _require_class(self, class_path: str, key: str, bases: Bases) -> None:
        if problem := class_problem(class_path, bases):
            raise InputError(f"--{key}: {problem}")

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

    def _class_problems(self, value: Any, path: KeyPath, bases: Bases | None) -> Iterator[tuple[KeyPath, str]]:
        """Yield the problems of a class with arguments, or of a list of them; other values have none."""
        for item in value if isinstance(value, list) else []:
            yield from self._class_problems(item, path, bases)
        if not isinstance(value, Mapping):
            return
        dotted = ".".join(path)
        if bases is None:  # a class of anything, such as a data set
            if reason := why_not_imported(str(value.get("class_path", ""))):
                yield (*path, "class_path"), f"{dotted}.class_path: {reason}"
            elif known_class := find_class(str(value.get("class_path", "")), ()):
                yield from self._argument_problems(known_class, value.get("init_args") or {}, (*path, "init_args"))
            return
        for key in value.keys() - set(CLASS_KEYS):
            candidates = [f"{dotted}.init_args.{name}" for name in self._accepted(dotted, value) or ()]
            yield (*path, key), f"{dotted}.{key}: no such key{ours_for(f'{dotted}.{key}', candidates)}"
        class_path = value.get("class_path")
        if class_path and (problem := class_problem(class_path, bases)):
            yield (*path, "class_path"), f"{dotted}.class_path: {problem}"
        elif class_path and (known_class := find_class(class_path, bases)):
            yield from self._argument_problems(known_class, value.get("init_args") or {}, (*path, "init_args"))

    def _argument_problems(
        self, of_class: type, arguments: Mapping[str, Any], path: KeyPath
    ) -> Iterator[tuple[KeyPath, str]]:
        """Yield the problems of a class's arguments, including those of its parts."""
        accepted = class_arguments(of_class)
        for key, argument in arguments.items():
            inner = (*path, key)
            kind = part_of(of_class, key)
            if key not in accepted:
                outer = ".".join(path)
                known = [f"{outer}.{name}" for name in accepted]
                # Inside a part, a name close to one of its settings means that setting.
                near = did_you_mean(key, accepted)
                is_elsewhere = is_of_others(key) and (len(path) <= 2 or not near)
                meant = ours_for(key, known) if is_elsewhere else near
                yield inner, f"{'.'.join(inner)}: {of_class.__name__} takes no {key}{meant}"
            elif kind is not None and isinstance(argument, str) and not Path(argument).is_file():
                if problem := class_problem(argument, (kind.base,)):
                    yield inner, f"{'.'.join(inner)}: {problem}"
            elif kind is None or not isinstance(argument, Mapping):
                continue
            elif kind.default is not None and not set(argument) & set(CLASS_KEYS):
                yield from self._argument_problems(kind.default, argument, inner)
            else:
                yield from self._class_problems(argument, inner, (kind.base,))

    def _class_of(self, given: Any, bases: Bases | None) -> type | None:
        """Return the class that a key holds; None if it is unknown."""
        class_path = given.get("class_path") if isinstance(given, Mapping) else given
        return find_class(class_path, bases) if isinstance(class_path, str) and bases is not None else None

    def _accepted(self, holder: str, given: Any) -> frozenset[str] | None:
        """Return the arguments of the class that a key holds; None if it is unknown."""
        known_class = self._class_of(given, self.bases.get(holder))
        return class_arguments(known_class) if known_class else None

    def _all_keys(self, content: Mapping[str, Any]) -> list[str]:
        inner = [
            f"{key}.init_args.{name}" for key in self.bases for name in self._accepted(key, content.get(key)) or ()
        ]
        return sorted(self.dests) + sorted(inner)


def _value_at(content: Mapping[str, Any], dotted: str) -> Any:
    """Return what stands at a dotted key; None if nothing does."""
    value: Any = content
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
