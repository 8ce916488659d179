"""Files that the examples cannot run: one line says so."""

import json
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def onnx_file(path, about):
    """Write a graph without inputs that says something about itself."""
    helper = pytest.importorskip("onnx").helper
    values = [helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "graph", values[:1], values[1:])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    entry = model.metadata_props.add()
    entry.key, entry.value = "lightning_rcnn", about
    path.write_bytes(model.SerializeToString())


def images(**more):
    return {"layout": "[batch, 3, height, width]", **more}


FILES = {
    "no JSON": "is not a file of `lightning-rcnn export`",
    json.dumps({"inputs": ["images", "proposals"], "images": images()}): "needs ['images', 'proposals'] of [batch",
    json.dumps({"inputs": ["images"], "images": images(pixels={"channels": 4})}): "this program has RGB images only",
}


@pytest.mark.parametrize("about", FILES)
def test_onnx_files_that_the_example_cannot_run(tmp_path, about):
    pytest.importorskip("onnxruntime")
    onnx_file(tmp_path / "file.onnx", about)
    with pytest.raises(SystemExit, match=r"file\.onnx: ") as caught:
        runpy.run_path(str(EXAMPLES / "onnx_inference.py"))["main"](str(tmp_path / "file.onnx"))
    assert FILES[about] in caught.value.code
    assert "\n" not in caught.value.code


@pytest.mark.parametrize(("program", "file"), [("onnx_inference.py", "a.onnx"), ("pt2_inference.py", "a.pt2")])
@pytest.mark.parametrize("content", [None, b"", b"no graph"])
def test_damaged_files_are_one_line(tmp_path, program, file, content):
    pytest.importorskip("onnxruntime")
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(SystemExit, match=r"of `lightning-rcnn export`: ") as caught:
        runpy.run_path(str(EXAMPLES / program))["main"](str(tmp_path / file))
    assert "\n" not in caught.value.code
