"""Reading of detectron2's configurations: YAML with `_BASE_`, and what LazyConfig writes. Nothing is executed."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lightning_rcnn.checkpoints.configs.source_keys import flat
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import merge

_BASE = "_BASE_"
_INTERPOLATION = re.compile(r"\$\{(\.*)([\w.\-]+)\}")
_MAX_DEPTH = 20
"""Limit of files that build on each other and of references to references; more is a circle."""


class _PlainLoader(yaml.SafeLoader):
    """A loader that reads Python objects as the plain data that describe them."""


def _plain(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return node.tag.rpartition(":")[2]


_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", _plain)


def read_config(path: Path) -> dict[str, Any]:
    """Return the settings of a configuration, nested, with those of its `_BASE_` below.

    Args:
        path: YAML file.

    Raises:
        InputError: a file is missing, is not YAML of mappings, or builds on itself.
    """
    return _resolved(_read(path, path, 0))


def config_beside(weights: Path) -> Path | None:
    """Return the `config.yaml` that detectron2 wrote beside weights; None if there is none or it is another program's.

    Raises:
        InputError: it cannot be read.
    """
    path = weights.parent / "config.yaml"
    if not path.is_file():
        return None
    return path if _load(path, path).keys() & {_BASE, "MODEL", "dataloader"} else None


def _read(path: Path, start: Path, depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise InputError(f"{start}: {_BASE} leads in a circle; name each file once")
    content = _load(path, start)
    bases = content.pop(_BASE, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise InputError(f"{path}: {_BASE} {bases}: give a file, or a list of files")
    below: dict[str, Any] = {}
    for base in bases:
        below = merge(below, _read(path.parent / Path(base).expanduser(), start, depth + 1))
    return merge(below, content)


def _load(path: Path, start: Path) -> dict[str, Any]:
    if path.suffix == ".py":
        raise InputError(
            f"{path}: configurations are never executed; give the config.yaml that detectron2 wrote to its output_dir"
        )
    try:
        content = _literal(yaml.load(path.read_bytes(), _PlainLoader))
    except OSError as error:
        named = "" if path == start else f": its {_BASE} {path}"
        raise InputError(f"{start}{named}: cannot be read ({error.strerror}); put the file there") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply, or in itself; mend the file") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a configuration of detectron2; it has no keys")
    return content


def _literal(value: Any) -> Any:
    """Return a value as detectron2 reads it: "(640, 800)" is a list, and "1e-4" a number."""
    if isinstance(value, Mapping):
        return {str(key): _literal(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_literal(item) for item in value]
    if not isinstance(value, str):
        return value
    try:
        literal = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    return _literal(literal) if isinstance(literal, (list, tuple)) else literal


def _resolved(tree: dict[str, Any]) -> dict[str, Any]:
    """Replace references such as `${..num_classes}` by what they name; others stay as they are."""

    def resolve(value: Any, keys: tuple[str, ...], depth: int) -> Any:
        if isinstance(value, Mapping):
            return {key: resolve(item, (*keys, key), depth) for key, item in value.items()}
        if isinstance(value, list):
            return [resolve(item, (*keys, str(number)), depth) for number, item in enumerate(value)]
        match = _INTERPOLATION.fullmatch(value) if isinstance(value, str) else None
        if match is None or depth > _MAX_DEPTH:
            return value
        dots = len(match[1])
        target = (*(keys[:-dots] if dots else ()), *match[2].split("."))
        found = _at(tree, target)
        return value if found is None else resolve(found, target, depth + 1)

    return resolve(tree, (), 0)


def _at(tree: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        if isinstance(tree, list) and key.isdigit() and int(key) < len(tree):
            tree = tree[int(key)]
        elif isinstance(tree, Mapping):
            tree = tree.get(key)
        else:
            return None
    return tree


def flat_config(path: Path) -> dict[str, Any]:
    """Return the settings of a configuration by dotted key."""
    return flat(read_config(path))
