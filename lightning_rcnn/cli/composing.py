"""Configuration files that build on each other.

A YAML file may name others under `base:`, relative to itself; they are read first, in order, and may have bases of
their own. Later files win: mappings are merged key by key, everything else (also a list) is replaced. If a later file
names another class, that class keeps the earlier arguments that it takes, as with Lightning's flags.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import INIT_ARGS, merge
from lightning_rcnn.suggestions import did_you_mean

BASE = "base"

KeyPath = tuple[str, ...]


@dataclass
class Composition:
    """Merged content of configuration files.

    Attributes:
        content: content as of one YAML file.
        origins: key path -> "file:line" where its value was set last.
        turns: key path -> how many files had been read when its value was set last.
        classes: key path of a class -> the classes that were named there, each with its turn.
    """

    content: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    turns: dict[KeyPath, int] = field(default_factory=dict)
    classes: dict[KeyPath, list[tuple[int, str]]] = field(default_factory=dict)

    def origin(self, path: KeyPath) -> str | None:
        """Return where the value at `path` was set, or else the nearest mapping around it."""
        return next((self.origins[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.origins), None)

    def replaced_class(self, path: KeyPath, default: str | None) -> str | None:
        """Return the class for which an argument was given if a later file has replaced that class, else None.

        Args:
            path: key path of the argument.
            default: the class that it is for where no file names one.
        """
        named = self.classes.get(path[:-2], []) if path[-2:-1] == ("init_args",) else []
        before = [default, *(class_path for turn, class_path in named if turn <= self.turns[path])]
        if not named or before[-1] is None or _short(before[-1]) == _short(named[-1][1]):
            return None
        return before[-1]

    def remove(self, path: KeyPath) -> None:
        """Remove a key from the content."""
        *outer, key = path
        holder = self.content
        for name in outer:
            holder = holder[name]
        del holder[key]


def take_config_files(words: list[str]) -> tuple[list[Path], list[str]]:
    """Split the options of a command into configuration files and everything else.

    Raises:
        InputError: `--config` is the last option and has no file.
    """
    files, others = [], []
    remaining = iter(words)
    for word in remaining:
        flag, separator, value = word.partition("=")
        if flag not in ("-c", "--config"):
            others.append(word)
            continue
        file = value if separator else next(remaining, None)
        if not file:
            raise InputError(f"{flag}: the name of a configuration file is missing")
        files.append(Path(file))
    return files, others


def compose(files: list[Path]) -> Composition:
    """Read files and their bases; later files override earlier ones.

    Raises:
        InputError: a file is missing, no YAML mapping, names a key twice, or is its own base.
    """
    composition = Composition()
    for file in files:
        _add(composition, file, above=(), named_in="")
    return composition


def _add(composition: Composition, file: Path, above: tuple[Path, ...], named_in: str) -> None:
    if file.resolve() in above:
        raise InputError(f"{named_in}{file} is its own base")
    root = _read(file, named_in)
    for base, line in _bases(root, file):
        _add(composition, file.parent / base, (*above, file.resolve()), f"{file}:{line}: base ")
    lines = list(_key_lines(root, file))  # first: constructing writes what YAML's `<<` merges into the nodes
    try:
        content: dict[str, Any] = _Loader("").construct_document(root)
    except (yaml.YAMLError, ValueError) as error:
        problem = getattr(error, "problem", None) or error
        mark = getattr(error, "problem_mark", None)
        raise InputError(f"{file}{f':{mark.line + 1}' if mark else ''}: not a readable value: {problem}") from error
    content.pop(BASE, None)
    turn = max(composition.turns.values(), default=0) + 1
    for path, line in lines:
        composition.origins[path] = f"{file}:{line}"
        composition.turns[path] = turn
        if path[-1] == "class_path":
            named = composition.classes.setdefault(path[:-1], [])
            named.append((turn, str(_at(content, path))))
    composition.content = merge(composition.content, content)
    _follow_arguments(composition)


def _follow_arguments(composition: Composition) -> None:
    """Rename the paths of arguments that were given without a class, and that `merge` moved beside its name."""
    content = composition.content
    composition.origins = {_settled(content, path): origin for path, origin in composition.origins.items()}
    composition.turns = {_settled(content, path): turn for path, turn in composition.turns.items()}
    composition.classes = {_settled(content, path): named for path, named in composition.classes.items()}


def _settled(content: Any, path: KeyPath) -> KeyPath:
    settled: KeyPath = ()
    for key in path:
        arguments = content.get(INIT_ARGS) if isinstance(content, dict) else None
        if isinstance(arguments, dict) and key not in content and key in arguments:
            settled, content = (*settled, INIT_ARGS), arguments
        settled, content = (*settled, key), content.get(key) if isinstance(content, dict) else None
    return settled


def _at(content: Any, path: KeyPath) -> Any:
    for key in path:
        content = content.get(key, {})  # what is below YAML's `<<` is elsewhere in the content
    return content


def _short(class_path: str) -> str:
    return class_path.rpartition(".")[2]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but 1e-4 is a number and not a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _read(file: Path, named_in: str) -> yaml.MappingNode:
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        siblings = [path.name for path in file.parent.glob("*.y*ml")] if file.parent.is_dir() else []
        raise InputError(f"{named_in}{file}: no such configuration file{did_you_mean(file.name, siblings)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not a readable configuration file ({error})") from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{file}{line}: not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from error
    if root is None:
        return yaml.MappingNode("tag:yaml.org,2002:map", [])
    if not isinstance(root, yaml.MappingNode):
        raise InputError(f"{file}: a configuration is a mapping of keys to values, not a {root.id}")
    return root


def _bases(root: yaml.MappingNode, file: Path) -> list[tuple[str, int]]:
    """Return the names of the bases of a file with their line numbers."""
    node = next((value for key, value in root.value if key.value == BASE), None)
    if node is None:
        return []
    entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
    for entry in entries:
        if entry.tag != "tag:yaml.org,2002:str":
            raise InputError(f"{file}:{entry.start_mark.line + 1}: {BASE} is a file or a list of files")
    return [(entry.value, entry.start_mark.line + 1) for entry in entries]


def _key_lines(node: yaml.Node, file: Path, path: KeyPath = ()) -> Iterator[tuple[KeyPath, int]]:
    """Yield every key path in a mapping with its line number, outer keys first."""
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in lines:
            dotted = ".".join((*path, key.value))
            raise InputError(f"{file}:{line}: {dotted} is already given in line {lines[key.value]}")
        lines[key.value] = line
        yield (*path, key.value), line
        yield from _key_lines(value, file, (*path, key.value))
