"""What the benchmarks of detectors count, on figures and scenes that can be checked by hand."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.autograd import DeviceType

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.bench.detectors import (
    Architecture,
    CompilationPlan,
    Contender,
    Scene,
    build_contenders,
    contenders,
    training_step,
)
from lightning_rcnn.bench.detectors.exported import exported_detections
from lightning_rcnn.bench.detectors.parts import SPAN, add_up, spans_around_parts
from lightning_rcnn.bench.memory import peak_memory
from lightning_rcnn.cli.commands import bench_detectors
from lightning_rcnn.data.pack.shapes import shapes_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.errors import InputError
from lightning_rcnn.export import exporting
from lightning_rcnn.export.graph import ExportGraph
from lightning_rcnn.parts import part

CPU = torch.device("cpu")


def small_mask_rcnn():
    backbone = part(ResNetFPN, name="resnet18", channels=16)
    return MaskRCNN(["cat", "dog"], backbone=backbone, box={"head": {"width": 16}}, mask={"width": 16})


def test_both_libraries_get_the_same_masks():
    torch.manual_seed(0)
    scene = Scene.random(2, 40, 60, 3, 2)
    bitmaps = scene.targets(with_masks=True).masks
    for image, target in enumerate(scene.torchvision_targets(with_masks=True)):
        assert target["masks"].shape == (3, 40, 60)
        for number, (left, top, right, bottom) in enumerate(target["boxes"].long().tolist()):
            height, width = bitmaps.sizes[image, number].tolist()
            assert (height, width) == (bottom - top, right - left)
            bits = np.unpackbits(bitmaps.bits[bitmaps.first_byte[image, number] :].numpy())[: height * width]
            whole = target["masks"][number].numpy()
            assert np.array_equal(bits.reshape(height, width), whole[top:bottom, left:right])
            assert bits.sum() == whole.sum() > 0


@pytest.mark.end_to_end
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak since a moment")
def test_the_peak_of_memory_is_that_of_one_run():
    size = 48 * 2**20
    assert 0.9 * size < peak_memory(lambda: torch.ones(size, dtype=torch.uint8).max(), CPU) < 2 * size
    assert peak_memory(lambda: None, CPU) < size / 4


def event(name, start, parent=None, sequence_nr=-1, microseconds=0.0, kept=0, device_type=DeviceType.CPU):
    return SimpleNamespace(
        name=name,
        time_range=SimpleNamespace(start=start),
        cpu_parent=parent,
        sequence_nr=sequence_nr,
        self_cpu_time_total=microseconds,
        self_cpu_memory_usage=kept,
        self_device_time_total=2 * microseconds,
        self_device_memory_usage=kept,
        device_type=device_type,
    )


def test_backward_counts_for_the_part_that_made_the_node():
    backbone = event(f"{SPAN}backbone", 0, microseconds=1)
    proposals = event(f"{SPAN}proposals", 20, microseconds=1)
    node = event("autograd::engine::evaluate_function: ConvolutionBackward0", 50, sequence_nr=7, microseconds=2)
    gradient = event("autograd::engine::evaluate_function: torch::autograd::AccumulateGrad", 60, microseconds=5)
    events = [
        backbone,
        event("aten::empty", 1, backbone, sequence_nr=7, microseconds=1),  # makes no node, so the next has its number
        event("aten::conv2d", 2, backbone, sequence_nr=7, microseconds=10, kept=400),
        proposals,
        event("lightning_rcnn::non_maximum_suppression", 21, proposals, microseconds=30),
        event("aten::sum", 40, sequence_nr=8, microseconds=3),
        node,
        event("aten::convolution_backward", 51, node, microseconds=20, kept=-400),
        gradient,
    ]
    parts = {part.name: part for part in add_up(events, on_device=False)}
    assert parts["backbone"].forward == pytest.approx(12e-6)
    assert parts["backbone"].backward == pytest.approx(22e-6)
    assert parts["backbone"].kept_bytes == 400
    assert parts["suppression"].forward == pytest.approx(30e-6)
    assert parts["proposals"].forward == pytest.approx(1e-6)
    assert parts["optimizer"].backward == pytest.approx(5e-6)
    assert parts["losses and the rest"].forward == pytest.approx(3e-6)


def test_a_kernel_counts_once_for_the_operator_that_launched_it():
    """torch lists it again as an event of the device, and our spans once more as they lay on the device."""
    span = event(f"{SPAN}backbone", 0)
    operator = event("aten::conv2d", 1, span, sequence_nr=3, microseconds=10)
    kernel = event("implicit_gemm", 5, microseconds=10, device_type=DeviceType.CUDA)
    annotation = event(f"{SPAN}backbone", 5, microseconds=10, device_type=DeviceType.CUDA)
    (part,) = add_up([span, operator, kernel, annotation], on_device=True)
    assert (part.name, part.forward) == ("backbone", pytest.approx(20e-6))


def test_spans_leave_no_trace():
    detector = small_mask_rcnn()
    modules = {name: set(vars(module)) for name, module in detector.named_modules()}
    pool, forward = detector.pooler.pool, detector.backbone.forward
    with spans_around_parts(detector):
        assert detector.pooler.pool != pool
        assert detector.backbone.forward != forward
    assert detector.pooler.pool == pool
    assert detector.backbone.forward == forward
    assert {name: set(vars(module)) for name, module in detector.named_modules()} == modules


def test_ratios_are_against_the_default_and_against_the_same(monkeypatch, tmp_path, capsys):
    speeds = {("torchvision", "float32", "NCHW"): 4.0, ("torchvision", "bfloat16", "channels last"): 2.0}
    speeds[("lightning-rcnn", "bfloat16", "channels last")] = 1.0

    def build_contenders(*_):
        return [Contender(*setting, lambda: None) for setting in speeds]

    def take_turns(runners, measure, repeats, *_, **__):
        return [[speeds[runner.library, runner.precision, runner.layout]] * repeats for runner in runners]

    monkeypatch.setattr(bench_detectors, "build_contenders", build_contenders)
    monkeypatch.setattr(bench_detectors, "take_turns", take_turns)
    monkeypatch.setattr(bench_detectors, "peak_memory", lambda run, device: 0)
    bench_detectors.infer(batch_size=2, height=64, width=64, json=tmp_path / "figures.json")
    ours = json.loads((tmp_path / "figures.json").read_text())["results"][-1]
    assert (ours["ratio_to_default"], ours["ratio_to_same"], ours["images_per_second"]) == (4.0, 2.0, 2.0)
    row = capsys.readouterr().out.split("ours", 1)[1].splitlines()[0]
    assert row.split() == ["bfloat16", "NHWC", "1000", "0%", "2.0", "-", "4.00", "x", "2.00", "x"]


def test_a_device_that_is_not_there_is_named():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(InputError, match="--device cuda"):
        bench_detectors.step(device="cuda")


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"profile": True, "compilation": "parts"}, "--profile"),
        ({"shards": "set"}, "--shards"),
        ({"repeats": 0}, "--repeats 0: has to be above 0"),
        ({"batch_size": -1}, "--batch_size -1"),
        ({"width": 63}, "--width 63: has to be 64 or more"),
    ],
)
def test_impossible_options_are_named(options, flag):
    with pytest.raises(InputError, match=flag):
        bench_detectors.step(**options)


def test_what_is_not_compiled_for_a_gpu_cannot_be_captured():
    with pytest.raises(InputError, match="--capture"):
        bench_detectors.step(device="cpu", compilation="parts", capture=True)


@pytest.mark.end_to_end
def test_another_one_of_ours_is_compiled():
    architecture = Architecture("faster_rcnn", "resnet18", 2, 64, 64)
    scene = Scene.random(1, 64, 64, 1, 2)
    runners = build_contenders(scene, architecture, "step", CPU, CompilationPlan("parts", capture=False))
    assert [(runner.precision, runner.compilation) for runner in runners if runner.library == "lightning-rcnn"] == [
        ("float32", ""), ("float32", "parts compiled"), ("bfloat16", ""), ("bfloat16", "parts compiled")
    ]  # fmt: skip


@pytest.mark.end_to_end
def test_all_have_the_same_weights(monkeypatch):
    seen = []
    monkeypatch.setattr(contenders, "training_step", lambda detector, *_: seen.append(detector))
    build_contenders(
        Scene.random(1, 64, 64, 1, 2), Architecture("faster_rcnn", "resnet18", 2, 64, 64), "step", CPU, None
    )
    first = [next(iter(detector.backbone.body.parameters())) for detector in seen]
    assert len(first) == 6
    assert all(weight.equal(first[0]) for weight in first)


@pytest.mark.end_to_end
def test_exported_files_find_what_the_detector_finds(monkeypatch):
    detector, scene = small_mask_rcnn().eval(), Scene.random(2, 64, 96, 1, 2)
    graph = ExportGraph(detector)
    fake = exporting.Format(lambda program, text, file: file.write(b"x"), lambda path: (lambda x: graph(*x), ""))
    monkeypatch.setitem(exporting.FORMATS, "pt2", fake)
    monkeypatch.setattr(exporting, "trace", lambda *_: None)
    ((name, detect),) = exported_detections(detector, scene, ["pt2"])
    detections, masks = detect()
    with torch.inference_mode():
        expected = detector.predict(scene.inputs())[0]
    assert name == "pt2"
    assert torch.equal(detections.boxes, expected.boxes)
    assert [mask.shape for mask in masks] == [(len(mask), 64, 96) for mask in masks]


@pytest.mark.end_to_end
def test_a_profile_on_shards_shows_what_is_waited_for_data(tmp_path):
    write_shards(shapes_source(6, seed=0), tmp_path / "set", name="shapes", workers=1)
    bench_detectors.step(
        detector="mask_rcnn", batch_size=2, height=64, width=96, repeats=1, profile=True, shards=str(tmp_path / "set"),
        trace=tmp_path / "trace.json", json=tmp_path / "parts.json",
    )  # fmt: skip
    figures = json.loads((tmp_path / "parts.json").read_text())
    parts = {part["name"]: part for part in figures["parts"]}
    assert parts["waiting for data"]["forward"] > 0
    assert {"masks", "backbone"} <= set(parts)
    assert figures["device"]


def test_a_step_leaves_the_next_one_the_same_work():
    torch.manual_seed(0)
    detector, scene = small_mask_rcnn().train(), Scene.random(2, 64, 96, 3, 2)
    inputs, targets = scene.inputs(), scene.targets(with_masks=True)
    before = detector.losses(inputs, targets)
    training_step(detector, lambda: detector.losses(inputs, targets), "float32", CPU)()
    assert detector.losses(inputs, targets) == before


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["faster_rcnn", "mask_rcnn"])
def test_benchmarks_run(detector, tmp_path):
    options = {"detector": detector, "batch_size": 1, "height": 64, "width": 96, "objects": 2, "repeats": 1}
    bench_detectors.step(**options, json=tmp_path / "step.json")
    del options["objects"]
    bench_detectors.infer(**options, formats=["pt2", "onnx"], json=tmp_path / "infer.json")
    for name, number in (("step", 6), ("infer", 9)):
        assert len(json.loads((tmp_path / f"{name}.json").read_text())["results"]) == number
    bench_detectors.step(**options, profile=True, trace=tmp_path / "trace.json", json=tmp_path / "parts.json")
    assert (tmp_path / "trace.json").stat().st_size > 0
    parts = {part["name"]: part for part in json.loads((tmp_path / "parts.json").read_text())["parts"]}
    expected = {"backbone", "RPN", "proposals", "suppression", "targets", "RoI pooling", "box head", "optimizer"}
    expected |= {"masks"} if detector == "mask_rcnn" else set()
    assert expected <= set(parts)
    assert parts["backbone"]["forward"] > 0
    assert parts["backbone"]["backward"] > 0
    assert parts["backbone"]["kept_bytes"] > 0
