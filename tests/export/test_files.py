"""Exported files, in processes and runtimes that have none of our code: the detections of the detector itself."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_rcnn.cli import main
from lightning_rcnn.export.check import graph_inputs
from lightning_rcnn.export.graph import ExportGraph
from lightning_rcnn.export.onnx import open_onnx
from lightning_rcnn.export.program import limited
from lightning_rcnn.export.pt2 import open_pt2
from lightning_rcnn.masks.paste import paste_densely

EXAMPLES = Path(__file__).parents[2] / "examples"
CLASSES = ["circle", "square", "triangle"]


def scenes(folder):
    return [
        torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in sorted((folder / "photos").iterdir())
    ]


def batches(folder):
    """Single images of three sizes, and a batch of four with padding."""
    images = scenes(folder)
    return [[image] for image in images[:3]] + [images]


def same_detections(detector, run, folder, *, boxes, scores):
    """Compare slot by slot, without the matching of our own check."""
    graph, total = ExportGraph(detector), 0
    for images in batches(folder):
        arguments = graph_inputs(detector, images)
        with torch.inference_mode():
            expected, found = graph(*arguments), run(arguments)
        assert found["labels"].equal(expected["labels"])
        assert found["count"].equal(expected["count"])
        torch.testing.assert_close(found["boxes"], expected["boxes"], rtol=0, atol=boxes)
        torch.testing.assert_close(found["scores"], expected["scores"], rtol=0, atol=scores)
        for slot, image in enumerate(images):
            count = int(expected["count"][slot])
            ours, theirs = (
                paste_densely(
                    outputs["masks"][slot, :count],
                    outputs["boxes"][slot, :count],
                    *image.shape[1:],
                    detector.mask_paste,
                )
                for outputs in (expected, found)
            )
            assert (ours & theirs).sum() >= 0.999 * (ours | theirs).sum()
            total += count
    assert total > 20


def say_the_same(program, file, folder, detector, threshold, forbidden):
    """Run an example without packages that it must not need, and compare what it prints with `detect`."""
    paths = [str(path) for path in sorted((folder / "photos").iterdir())]
    without = "".join(f"sys.modules[{name!r}] = None\n" for name in forbidden)
    code = f"import sys, runpy\n{without}runpy.run_path({str(EXAMPLES / program)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code, str(file), *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = []
    for path, found in zip(paths, detector.detect(paths, threshold=threshold), strict=True):
        expected.append(path)
        for box, label, score in zip(found["boxes"], found["labels"], found["scores"], strict=True):
            corners = ", ".join(f"{value:.0f}" for value in box.tolist())
            expected.append(f"  {CLASSES[label - 1]} {score:.2f} at {corners}")
    assert len(expected) > 20
    # A value that lies between two whole numbers may be rounded to either.
    differing = sum(ours != theirs for ours, theirs in zip(expected, done.stdout.splitlines(), strict=True))
    assert differing <= 2


def detect_the_same(file, folder, detector, threshold, out):
    """The file in the place of the checkpoint of `detect`, with images of three sizes together."""
    words = f"detect --checkpoint {file} --images {folder / 'photos'} --out {out} --threshold {threshold}"
    assert main([*words.split(), "--batch_size", "3", "--workers", "0", "--no_images"]) == 0
    entries = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    paths = [str(path) for path in sorted((folder / "photos").iterdir())]
    assert [entry["image"] for entry in entries] == paths
    for entry, expected in zip(entries, detector.detect(paths, threshold=threshold), strict=True):
        assert [CLASSES.index(found["class"]) + 1 for found in entry["objects"]] == expected["labels"].tolist()
        boxes = torch.tensor([found["bbox"] for found in entry["objects"]]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        torch.testing.assert_close(boxes, expected["boxes"], rtol=0, atol=0.02)
        assert all(found["segmentation"] for found in entry["objects"])


def test_onnx_has_standard_operators_and_the_detections_of_the_detector(detector, folder, tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    file = folder / "detector.onnx"
    words = f"export --checkpoint {folder / 'best.ckpt'} --images {folder / 'photos'} --out {file}".split()
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "allowed" in printed
    assert f"The same detections as {folder / 'best.ckpt'}" in printed
    same_detections(detector, open_onnx(file), folder, boxes=1e-2, scores=1e-5)
    model = onnx.load(file)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert not model.functions
    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("NonMaxSuppression"), kinds.count("RoiAlign")) == (2, 8)
    shape = [axis.dim_param or axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ["batch", 3, "height", "width"]
    about = json.loads({entry.key: entry.value for entry in model.metadata_props}["lightning_rcnn"])
    assert about["class_names"] == detector.class_names
    assert about["category_ids"] == [4, 5, 9]
    assert about["versions"]["torch"] == torch.__version__
    say_the_same("onnx_inference.py", file, folder, detector, 0.05, ["torch", "torchvision", "lightning_rcnn"])
    detect_the_same(file, folder, detector, 0.05, tmp_path / "found")


def test_pt2_runs_without_us_and_has_the_detections_of_the_detector(detector, folder):
    file = folder / "detector.pt2"
    settings = detector.box.settings
    rows = detector.export(file, images=scenes(folder), threshold=0.5, detections=20)
    assert detector.box.settings is settings
    assert sum(row.detections for row in rows) > 20
    assert max(row.boxes for row in rows) < 1e-4
    # The scaled predictors multiply the rounding; `test_exporting.py` holds plain ones to 1e-6.
    assert max(max(row.scores, row.masks) for row in rows) < 1e-5
    run = open_pt2(file)
    with limited(detector, 0.5, 20):
        same_detections(detector, run, folder, boxes=1e-4, scores=1e-5)
        say_the_same("pt2_inference.py", file, folder, detector, 0.5, ["lightning_rcnn"])
