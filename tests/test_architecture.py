"""Imports point down one way, so that every part can be read and used without those above it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lightning_rcnn

PACKAGE = Path(lightning_rcnn.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    {"lightning_messages", "parsing", "distributed", "files", "pages"},
    {"errors", "plural", "progress", "stop_signals", "suggestions", "training_loops"},
    {"requeue", "slurm_step", "stale_files"},
    {"launchers", "torchrun"},
    {"class_paths"},
    {"plain_data"},
    {"settings_checks"},
    {"settings"},
    {"parts"},
    {"structures", "skeleton"},
    {"masks"},
    {"ops"},
    {"data"},
    {"functional"},
    {"proposals"},
    {"checkpoints"},
    {"precision"},
    {"backbones", "box_losses"},
    {"rpn", "roi_heads"},
    {"evaluation"},
    {"compilation", "sharding"},
    {"visualization"},
    {"inspection"},
    {"callbacks"},
    {"export"},
    {"detectors"},
    {"detection"},
    {"bench"},
    {"cli"},
    {"healing"},
]
"""From the bottom up; a part may import from those below it and from itself."""
HEIGHT = {part: height for height, layer in enumerate(LAYERS) for part in layer}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that is imported, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def own_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and part of every import from this package."""
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] == "lightning_rcnn" and len(parts) > 1:
            yield line, parts[1]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = part_of(path)
    if here in ("__init__", "__main__"):
        return
    for line, there in own_imports(path):
        if there in HEIGHT and there != here:
            assert HEIGHT[there] < HEIGHT[here], f"{path}:{line}: {here} imports {there}, which is not below it"


def test_every_part_has_a_place():
    assert {part_of(path) for path in MODULES} - {"__init__", "__main__"} <= set(HEIGHT)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_knows_lightnings(path):
    if part_of(path) != "cli":
        assert "lightning.pytorch.cli" not in path.read_text()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_commands_pack(path):
    """Whoever reads COCO files or packed sets needs none of what packs them."""
    inside = path.relative_to(PACKAGE).as_posix()
    if inside != "__init__.py" and not inside.startswith(("data/pack/", "cli/commands/", "bench/")):  # it is lazy
        assert "lightning_rcnn.data.pack" not in path.read_text()
