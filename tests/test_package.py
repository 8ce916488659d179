import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lightning_rcnn

PROJECT = Path(lightning_rcnn.__file__).parents[1]


def test_import_has_no_cost():
    program = "import sys, lightning_rcnn; dir(lightning_rcnn); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.mark.parametrize("name", lightning_rcnn.__all__)
def test_public_names_are_there_and_have_a_docstring(name):
    assert getattr(lightning_rcnn, name).__doc__
    assert name in dir(lightning_rcnn)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(lightning_rcnn.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in guarded.body for alias in node.names}
    assert seen == lightning_rcnn._MODULES
    assert sorted(seen) == sorted(lightning_rcnn.__all__)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'FasterRNN'"):
        lightning_rcnn.FasterRNN  # noqa: B018


def test_the_version_is_stated_once():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert lightning_rcnn.__version__ == project["version"]
    assert f"## {lightning_rcnn.__version__}" in (PROJECT / "CHANGELOG.md").read_text()
