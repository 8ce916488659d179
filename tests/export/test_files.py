"""Exported files, in processes and runtimes that have none of our code: the detections of the detector itself."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch.utils import cpp_extension

from lightning_rcnn import FasterRCNN
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.cli import main
from lightning_rcnn.cli.commands import detect as detect_command
from lightning_rcnn.detection.exported import ExportedDetector
from lightning_rcnn.detectors.inference import detect_tensors
from lightning_rcnn.export.check import graph_inputs
from lightning_rcnn.export.graph import ExportGraph
from lightning_rcnn.export.program import limited
from lightning_rcnn.masks.paste import paste_densely
from lightning_rcnn.parts import part

pytestmark = pytest.mark.end_to_end

EXAMPLES = Path(__file__).parents[2] / "examples"
CLASSES = ["circle", "square", "triangle"]


def photos(folder):
    return [str(path) for path in sorted((folder / "photos").iterdir())]


def scenes(folder):
    return [torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in photos(folder)]


def batches(folder):
    """Single images of three sizes, a batch of four with padding, and strips whose coarser maps have one position."""
    images = scenes(folder)
    strips = [[images[0][:, :3]], [images[1][..., :1]], [images[2][:, :40, :2]] * 2]
    return [[image] for image in images[:3]] + [images] + strips


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
    without = "".join(f"sys.modules[{name!r}] = None\n" for name in forbidden)
    code = f"import sys, runpy\n{without}runpy.run_path({str(EXAMPLES / program)!r}, run_name='__main__')"
    command = [sys.executable, "-c", code, str(file), *photos(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_printed(done.stdout, folder, detector, threshold)


def assert_printed(printed, folder, detector, threshold):
    """Compare lines about each image with what `detect` finds."""
    expected = []
    for path, found in zip(photos(folder), detector.detect(photos(folder), threshold=threshold), strict=True):
        expected.append(path)
        for box, label, score in zip(found["boxes"], found["labels"], found["scores"], strict=True):
            corners = ", ".join(f"{value:.0f}" for value in box.tolist())
            expected.append(f"  {detector.class_names[label - 1]} {score:.2f} at {corners}")
    assert len(expected) > 20
    # A value that lies between two whole numbers may be rounded to either.
    differing = sum(ours != theirs for ours, theirs in zip(expected, printed.splitlines(), strict=True))
    assert differing <= 2


def detect_the_same(file, folder, detector, threshold, out):
    """The opened file in the place of the checkpoint of `detect`, with images of three sizes together."""
    words = f"detect --checkpoint {file} --images {folder / 'photos'} --out {out} --threshold {threshold}"
    assert main([*words.split(), "--batch_size", "3", "--workers", "0", "--no_images"]) == 0
    entries = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [entry["image"] for entry in entries] == photos(folder)
    for entry, expected in zip(entries, detector.detect(photos(folder), threshold=threshold), strict=True):
        assert [CLASSES.index(found["class"]) + 1 for found in entry["objects"]] == expected["labels"].tolist()
        boxes = torch.tensor([found["bbox"] for found in entry["objects"]]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        torch.testing.assert_close(boxes, expected["boxes"], rtol=0, atol=0.02)
        assert all(found["segmentation"] for found in entry["objects"])


def test_onnx_has_standard_operators_and_the_detections_of_the_detector(
    detector, folder, onnx_file, tmp_path, monkeypatch
):
    onnx = pytest.importorskip("onnx")
    file, printed = onnx_file
    assert "allowed" in printed
    assert f"The same detections as {folder / 'best.ckpt'}" in printed
    opened = ExportedDetector(file)
    monkeypatch.setattr(detect_command, "open_detector", lambda path: opened)
    same_detections(detector, opened.run, folder, boxes=1e-2, scores=1e-5)
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
    assert about["suppression"] == {"iou": 0.5, "across_classes": False}
    assert about["versions"]["torch"] == torch.__version__
    say_the_same("onnx_inference.py", file, folder, detector, 0.05, ["torch", "torchvision", "lightning_rcnn"])
    detect_the_same(file, folder, detector, 0.05, tmp_path / "found")


def test_pt2_runs_without_us_and_has_the_detections_of_the_detector(detector, folder, tmp_path, monkeypatch, capfd):
    file = folder / "detector.pt2"
    settings = detector.box.settings
    rows = detector.export(file, images=scenes(folder), threshold=0.5, detections=20)
    assert detector.box.settings is settings
    assert sum(row.detections for row in rows) > 20
    assert max(row.boxes for row in rows) < 1e-4
    # The scaled predictors multiply the rounding; `test_exporting.py` holds plain ones to 1e-6.
    assert max(max(row.scores, row.masks) for row in rows) < 1e-5
    capfd.readouterr()
    opened = ExportedDetector(file)
    assert not "".join(capfd.readouterr()), "torch logs which sizes a graph does not use"
    monkeypatch.setattr(detect_command, "open_detector", lambda path: opened)
    with limited(detector, 0.5, 20):
        same_detections(detector, opened.run, folder, boxes=1e-4, scores=1e-5)
        detect_the_same(file, folder, detector, 0.5, tmp_path / "found")
        say_the_same("pt2_inference.py", file, folder, detector, 0.5, ["lightning_rcnn"])
    # Under autocast it computes in 16 bits, as its detector does. The weights are random: many scores are close.
    openings, objects = {file: opened, folder / "best.ckpt": detector}, []
    monkeypatch.setattr(detect_command, "open_detector", openings.__getitem__)
    for number, checkpoint in enumerate(openings):
        out = tmp_path / str(number)
        words = f"detect --checkpoint {checkpoint} --images {folder / 'photos'} --out {out} --no_images --workers 0"
        with limited(detector, 0.5, 20):
            assert main([*words.split(), "--precision", "bf16-mixed"]) == 0
        objects.append([json.loads(line)["objects"] for line in (out / "results.jsonl").read_text().splitlines()])
    pairs = [
        any(one["class"] == other["class"] and np.allclose(one["bbox"], other["bbox"], atol=3) for other in found)
        for found, expected in zip(*objects, strict=True)
        for one in expected
    ]
    assert len(pairs) > 20
    assert np.mean(pairs) > 0.8


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_a_compiled_package_runs_in_cpp_and_in_detect(folder, tmp_path):
    torch.manual_seed(0)
    detector = FasterRCNN(
        ["círculo", 'a "square"', "三角形 🔺"],
        backbone=part(ResNetFPN, name="resnet18", channels=32),
        rpn={"pre_nms_top_n": [100, 100], "post_nms_top_n": [50, 50]},
        box={"head": {"width": 64}},
        preprocessing={"min_size": 96, "max_size": 160},
    ).eval()
    package, program = tmp_path / "compiled.pt2", tmp_path / "detect"
    detector.class_names += [f"class {number}" for number in range(10_000)]  # so many names only have to be read
    rows = detector.export(package, "aoti", images=scenes(folder))
    assert max(row.boxes for row in rows) < 1e-2
    folders = cpp_extension.include_paths()
    libraries = Path(torch.__file__).parent / "lib"
    command = ["g++", "-std=c++20", "-O1", EXAMPLES / "aoti_inference.cpp", "-o", program]
    places = (libraries, sysconfig.get_config_var("LIBDIR"))
    command += [f"-I{path}" for path in folders] + [f"-{kind}{path}" for path in places for kind in ("L", "Wl,-rpath,")]
    python = f"-lpython{sysconfig.get_python_version()}"
    linked = ["-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu", "-ltorch_python", "-lc10", python, "-ldl"]
    subprocess.run([*map(str, command), *linked], check=True)
    images = [tmp_path / f"{Path(path).stem}.ppm" for path in photos(folder)]
    for path, image in zip(photos(folder), images, strict=True):
        Image.open(path).save(image)
    (operators,) = Path(torchvision.__file__).parent.glob("_C*.so")
    arguments = [package, operators, *images]
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.replace(".ppm", ".png").replace(str(tmp_path), str(folder / "photos"))
    assert_printed(printed, folder, detector, 0.05)
    found = ExportedDetector(package)
    same_boxes = zip(detect_tensors(found, scenes(folder)), detect_tensors(detector, scenes(folder)), strict=True)
    for ours, expected in same_boxes:
        torch.testing.assert_close(ours.boxes, expected.boxes, rtol=0, atol=1e-2)


def test_an_onnx_file_computes_in_its_own_precision(folder, onnx_file, tmp_path, capsys):
    words = f"detect --checkpoint {onnx_file[0]} --images {folder / 'photos'} --out {tmp_path / 'out'}"
    assert main([*words.split(), "--precision", "bf16-mixed"]) == 1
    assert "--precision bf16-mixed: .onnx files and compiled ones compute in 32-true" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_server_answers_many_clients_at_once(detector, folder, onnx_file):
    pytest.importorskip("litserve")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, EXAMPLES / "serve.py", onnx_file[0], str(port)], start_new_session=True)
    try:
        address, last = f"http://127.0.0.1:{port}", time.monotonic() + 300
        while not _is_healthy(address):
            assert server.poll() is None
            assert time.monotonic() < last
            time.sleep(0.2)
        command = [sys.executable, EXAMPLES / "serve_client.py", address, *photos(folder)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert_printed(printed, folder, detector, 0.05)
        good = json.dumps({"image": base64.b64encode(Path(photos(folder)[0]).read_bytes()).decode()}).encode()
        requests = [good, b'{"image": "no image"}', good, b'{"picture": 3}', b"[]", good, b"no JSON", good] * 2
        with ThreadPoolExecutor(len(requests)) as clients:
            answers = list(clients.map(lambda content: _answer(address, content), requests))
        expected = answers[0]
        assert len(expected["objects"]) > 2
        for content, answer in zip(requests, answers, strict=True):
            assert answer == (expected if content is good else 422)
        server.terminate()
        assert server.wait(60) == 0
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answer(address, content):
    """Return the answer to a request, or the status of an error."""
    try:
        with urlopen(Request(f"{address}/predict", content, {"Content-Type": "application/json"})) as response:
            return json.load(response)
    except HTTPError as error:
        return error.code


def _is_healthy(address):
    try:
        return urlopen(f"{address}/health").status == 200
    except OSError:
        return False
