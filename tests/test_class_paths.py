"""Modules of users: an error in one is a message of one line."""

import sys

import pytest

from lightning_rcnn.class_paths import import_path
from lightning_rcnn.errors import InputError


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes `brought.py` where it can be imported."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text):
        path = tmp_path / "brought.py"
        path.write_text(text)
        return path

    yield write
    for name in ("brought", "other"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("import torch\nWIDTH = torch.zeros(3).reshape(2)\n", 2, r"RuntimeError: shape '\[2\]' is invalid[^\n]*"),
        ("def width():\n    return 1 / 0\n\nWIDTH = width()\n", 4, "ZeroDivisionError: division by zero"),
        ("class Mine:\n    size = Size\n", 1, "NameError: name 'Size' is not defined"),
        ("import torch\nclass Mine(:\n", 2, r"SyntaxError: invalid syntax[^\n]*"),
        ("import lightning_rcnn as l\nraise l.InputError('no such\\n thing')\n", 2, r"InputError: no such\\n thing"),
        ("\nassert False\n", 2, "AssertionError"),
    ],
    ids=["torch", "function", "name", "syntax", "ours", "assert"],
)  # fmt: skip
def test_an_error_in_a_module_names_its_line(module, text, line, problem):
    path = module(text)
    with pytest.raises(
        InputError, match=rf"^class_path brought.Mine: cannot be imported \({path}:{line}: {problem}\)$"
    ) as caught:
        import_path("brought.Mine")
    assert isinstance(caught.value.__cause__, ImportError)  # with the traceback, for --debug


def test_an_error_in_a_module_that_it_imports_names_that(module, tmp_path):
    module("import other\n")
    (tmp_path / "other.py").write_text("\n\nint('three')\n")
    with pytest.raises(InputError, match=rf"\({tmp_path / 'other.py'}:3: ValueError: invalid literal[^\n]*\)$"):
        import_path("brought.Mine")


def test_what_is_not_there_is_named(module):
    module("class Mine:\n    pass\n")
    assert import_path("brought.Mine").__name__ == "Mine"
    with pytest.raises(InputError, match=r"^a.ckpt: its model brought.Nine: cannot be imported \([^\n]*'Nine'\)$"):
        import_path("brought.Nine", "a.ckpt: its model")
