"""Reading of mmdetection's configurations: files of Python that are parsed and never executed, or YAML and JSON.

Those of Python assign plain values to names: literals, `dict(...)`, names of earlier values, arithmetic on them.
`_base_` names files below; a file changes their mappings key by key, unless a mapping says `_delete_=True`.
"""

import ast
import json
import operator
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lightning_rcnn.errors import InputError

_BASE, _DELETE = "_base_", "_delete_"
_PLACEHOLDER = re.compile(r"\{\{\s*(_base_\.[\w.]+)\s*\}\}")
_PLAIN = (".yaml", ".yml", ".json")
_MAX_DEPTH = 20
"""Limit of files that build on each other; more is a circle."""
_MAX_SIZE = 10_000_000
"""Limit of a repeated list or string, so that a short file cannot fill the memory."""
_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def read_config(path: Path) -> dict[str, Any]:
    """Return the settings of a configuration, nested, with those of its `_base_` below.

    Raises:
        InputError: a file is missing or is neither Python nor YAML, builds on itself, or computes a value.
    """
    return _read(path, path, 0)


def parse_config(text: str, path: Path) -> dict[str, Any]:
    """Return the settings in the text of a configuration without `_base_`, as a checkpoint holds it.

    Args:
        text: the configuration.
        path: file that holds the text, for messages.
    """
    return _merged({}, _assignments(text, path, {}))


def _read(path: Path, start: Path, depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise InputError(f"{start}: {_BASE} leads in a circle; name each file once")
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text"
        named = "" if path == start else f": its {_BASE} {path}"
        raise InputError(
            f"{start}{named}: cannot be read ({reason}); put the file there, or give the one in work_dirs"
        ) from error
    is_plain = path.suffix in _PLAIN
    own = _plain(text, path) if is_plain else {}
    bases = own.pop(_BASE, []) if is_plain else _bases(text, path)
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise InputError(f"{path}: {_BASE} {bases}: give a file, or a list of files")
    below: dict[str, Any] = {}
    for base in bases:
        below = _merged(below, _read(path.parent / base, start, depth + 1))
    return _merged(below, own if is_plain else _assignments(text, path, below))


def _plain(text: str, path: Path) -> dict[str, Any]:
    """Return the content of a configuration in YAML, or in JSON, which is YAML, too."""
    try:
        content = yaml.safe_load(text)
        json.dumps(content, default=str)  # which finds a value that holds itself
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    except (RecursionError, ValueError) as error:
        raise InputError(f"{path}: nested too deeply, or in itself; mend the file") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a configuration of mmdetection; it has no keys")
    return {str(key): value for key, value in content.items()}


def _tree(text: str, path: Path) -> ast.Module:
    try:
        return ast.parse(_PLACEHOLDER.sub(r"\1", text))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        raise InputError(f"{path}{f':{line}' if line else ''}: not a configuration of mmdetection in Python") from error


def _bases(text: str, path: Path) -> Any:
    for node in _tree(text, path).body:
        if isinstance(node, ast.Assign) and _name(node) == _BASE:
            return _value(node.value, {}, path)
        if isinstance(node, ast.With) and _is_read_base(node):  # `with read_base(): from .a import *`
            return [
                f"{'../' * (each.level - 1)}{(each.module or '').replace('.', '/')}.py"
                for each in node.body
                if isinstance(each, ast.ImportFrom) and each.level
            ]
    return []


def _name(node: ast.Assign) -> str | None:
    target = node.targets[0]
    return target.id if len(node.targets) == 1 and isinstance(target, ast.Name) else None


def _assignments(text: str, path: Path, below: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a file assigns to names."""
    names: dict[str, Any] = {}
    for node in _tree(text, path).body:
        if isinstance(node, ast.Assign) and (name := _name(node)):
            if name != _BASE:
                names[name] = _value(node.value, {_BASE: below, **below, **names}, path)
        elif not (isinstance(node, (ast.Import, ast.ImportFrom)) or _is_text(node) or _is_read_base(node)):
            raise _computed(node, path)
    return names


def _is_text(node: ast.stmt) -> bool:
    """Tell whether a statement is a text that stands alone, such as a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_read_base(node: ast.stmt) -> bool:
    """Tell whether a statement is `with read_base():` above imports."""
    if not isinstance(node, ast.With) or not all(isinstance(each, (ast.Import, ast.ImportFrom)) for each in node.body):
        return False
    return [ast.unparse(item.context_expr) for item in node.items] == ["read_base()"]


def _value(node: ast.expr, names: Mapping[str, Any], path: Path) -> Any:
    """Return the value of an expression.

    Raises:
        InputError: it is none of those that a configuration needs.
    """
    try:
        return _evaluate(node, names)
    except (_ComputedError, KeyError, TypeError, ValueError, IndexError, ArithmeticError, RecursionError) as error:
        raise _computed(error.node if isinstance(error, _ComputedError) else node, path) from None


def _evaluate(node: ast.expr, names: Mapping[str, Any]) -> Any:
    def of(inner: ast.expr) -> Any:
        return _evaluate(inner, names)

    match node:
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple():
            return [item for each in node.elts for item in _items(each, names)]
        case ast.Dict():
            pairs = zip(node.keys, node.values, strict=True)
            return _united([(None if key is None else of(key), of(value)) for key, value in pairs])
        case ast.Call(func=ast.Name(id="dict"), args=[]):
            return _united([(keyword.arg, of(keyword.value)) for keyword in node.keywords])
        case ast.Name() if node.id in names:
            return names[node.id]
        case ast.Attribute():
            return of(node.value)[node.attr]
        case ast.Subscript():
            return of(node.value)[of(node.slice)]
        case ast.UnaryOp(op=ast.USub()):
            return -of(node.operand)
        case ast.BinOp() if type(node.op) in _OPERATORS:
            left, right = of(node.left), of(node.right)
            if isinstance(node.op, (ast.Mult, ast.Mod)) and _grows(left, right):
                raise _ComputedError(node)
            return _OPERATORS[type(node.op)](left, right)
        case ast.JoinedStr():
            return "".join(
                str(of(part.value if isinstance(part, ast.FormattedValue) else part)) for part in node.values
            )
    raise _ComputedError(node)


def _items(node: ast.expr, names: Mapping[str, Any]) -> list[Any]:
    return list(_evaluate(node.value, names)) if isinstance(node, ast.Starred) else [_evaluate(node, names)]


def _united(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    united: dict[Any, Any] = {}
    for key, value in pairs:  # without a key: `**value`
        united |= value if key is None else {key: value}
    return united


def _grows(left: Any, right: Any) -> bool:
    """Tell whether a product or a format would be larger than any configuration is."""
    sizes = [len(value) if isinstance(value, (list, str)) else abs(value) for value in (left, right)]
    return any(isinstance(value, (list, str)) for value in (left, right)) and sizes[0] * max(sizes[1], 1) > _MAX_SIZE


class _ComputedError(Exception):
    """An expression that no configuration needs."""

    def __init__(self, node: ast.AST) -> None:
        super().__init__()
        self.node = node


def _computed(node: ast.AST, path: Path) -> InputError:
    line = getattr(node, "lineno", 0)
    return InputError(
        f"{path}:{line}: `{ast.unparse(node)[:60].splitlines()[0]}` computes a value, and configurations are never "
        "executed; give the one that mmdetection wrote to work_dirs, which has all values"
    )


def _merged(below: Any, over: Any) -> Any:
    """Merge a file into those below by mmcv's rule; lists are replaced."""
    if not isinstance(over, Mapping):
        return over
    if not isinstance(below, Mapping) or over.get(_DELETE):
        below = {}
    own = {key: value for key, value in over.items() if key != _DELETE}
    return {**below, **{key: _merged(below.get(key), value) for key, value in own.items()}}
