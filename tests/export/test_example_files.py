"""Files that the examples cannot run: one line says so."""

import inspect
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

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


def rule(method):
    return {"method": method, "min_size": 8, "max_size": 8}


FILES = {
    "no JSON": "is not a file of `lightning-rcnn export`",
    json.dumps({"inputs": ["images", "proposals"], "images": images()}): "needs ['images', 'proposals'] of [batch",
    json.dumps({"inputs": ["images"], "images": images(pixels={"channels": 4})}): "this program has RGB images only",
    json.dumps({"inputs": ["images"], "images": images(), "resize": rule("opencv")}): "are resized by cv2.resize",
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
def test_damaged_files_are_one_line(tmp_path, caplog, program, file, content):
    pytest.importorskip("onnxruntime")
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(SystemExit, match=r"of `lightning-rcnn export`: ") as caught:
        runpy.run_path(str(EXAMPLES / program))["main"](str(tmp_path / file))
    assert "\n" not in caught.value.code
    assert not caplog.text


@pytest.mark.parametrize("program", ["onnx_inference.py", "pt2_inference.py"])
@pytest.mark.parametrize("content", [None, b"", b"no image", b"\x89PNG\r\n\x1a\n", b"BM" + bytes(60)])
def test_unreadable_images_are_one_line(tmp_path, program, content):
    pytest.importorskip("onnxruntime")
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    example = runpy.run_path(str(EXAMPLES / program))["main"]
    inspect.unwrap(example).__globals__["open_file"] = lambda file: (SimpleNamespace(get_outputs=list), {})
    with pytest.raises(SystemExit, match=r"a\.png: cannot be read as an image: ") as caught:
        example("file", str(tmp_path / "a.png"))
    assert "\n" not in caught.value.code


def test_the_client_says_in_one_line_what_it_cannot_send(tmp_path):
    client = runpy.run_path(str(EXAMPLES / "serve_client.py"))["main"]
    for image, address in ((tmp_path / "none.png", "http://127.0.0.1:1"), (Path(__file__), "http://127.0.0.1:1")):
        with pytest.raises(SystemExit, match=rf"{image.name}: ") as caught:
            client(address, str(image))
        assert "\n" not in caught.value.code
