"""Flags that set a nested setting of the model to null, such as `--model.backbone.weights null`.

jsonargparse 4.53 turns the null of a nested flag into the text "None". In a configuration it stays a null, so such
flags are merged into the configuration before parsing.
"""

from typing import Any

from lightning_rcnn.cli.class_lookup import CLASS_KEYS, find_class, part_of
from lightning_rcnn.cli.flags import given_class
from lightning_rcnn.plain_data import merge

_NULL = "null"


def take_nested_nulls(flags: list[str], content: dict[str, Any], base: type) -> tuple[list[str], dict[str, Any]]:
    """Move the nested nulls from flags into the configuration.

    Args:
        flags: flags of the command line.
        content: content of the configuration files.
        base: base class of models.

    Returns:
        The other flags, and the configuration with the nulls.
    """
    if isinstance(content.get("model"), str):
        content = content | {"model": {"class_path": content["model"]}}
    kept: list[str] = []
    waiting = list(flags)
    while waiting:
        word = waiting.pop(0)
        flag, separator, value = word.partition("=")
        keys = _keys(flag)
        is_null = value == _NULL if separator else waiting[:1] == [_NULL]
        if not (flag.startswith("--model.") and len(keys) > 1 and is_null):
            kept.append(word)
            continue
        if not separator:
            waiting.pop(0)
        kept = _without(kept, keys)
        content = merge(content, {"model": {"init_args": _nested(keys, flags, content.get("model"), base)}})
    return kept, content


def _keys(flag: str) -> list[str]:
    return [key for key in flag.removeprefix("--model.").split(".") if key != "init_args"]


def _without(words: list[str], keys: list[str]) -> list[str]:
    """Return the words without an option of the same key, which a later one overrides."""
    kept: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        flag, separator, _ = word.partition("=")
        if not (flag.startswith("--model.") and _keys(flag) == keys):
            kept.append(word)
        elif not separator and waiting:
            waiting.pop(0)
    return kept


def _nested(keys: list[str], flags: list[str], model: Any, base: type) -> dict[str, Any]:
    """Return {part: {..., key: None}}, with `init_args` for a part that a class is named for."""
    outer: dict[str, Any] = {}
    inner, given = outer, model or {}
    owner = find_class(given_class(flags, "model") or given.get("class_path") or "", (base,))
    for depth, key in enumerate(keys[:-1]):
        kind = part_of(owner, key) if owner else None
        given = (given.get("init_args") or given).get(key) or {}
        is_short = isinstance(given, str)
        given = {"class_path": given} if is_short else given
        class_path = given_class(flags, f"model.{'.'.join(keys[: depth + 1])}") or given.get("class_path")
        has_class = class_path is not None or bool(set(given) & set(CLASS_KEYS)) or kind is None or kind.default is None
        inner[key] = ({**given} if is_short else {}) | ({"init_args": {}} if has_class else {})
        inner = inner[key]["init_args"] if has_class else inner[key]
        owner = (find_class(class_path, (kind.base,)) if class_path else kind.default) if kind else None
    inner[keys[-1]] = None
    return outer
