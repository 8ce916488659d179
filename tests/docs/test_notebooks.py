"""Notebooks run from top to bottom, and are kept without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_there_are_no_outputs(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@pytest.mark.end_to_end
def test_shapes(tmp_path, monkeypatch):
    """With a handful of scenes: that they are learned well takes a minute."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    notebook = nbformat.read(NOTEBOOKS[0].with_name("shapes.ipynb"), as_version=4)
    sizes = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert sizes.source.startswith("num_scenes, num_epochs = ")
    sizes.source = "num_scenes, num_epochs = 8, 1"

    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any("'bbox/AP50'" in output.get("data", {}).get("text/plain", "") for output in outputs)
