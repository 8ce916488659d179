"""`lightning-rcnn bench step|infer`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from lightning_rcnn.bench.detectors import (
    MIN_SIDE,
    Architecture,
    BackboneName,
    CompilationPlan,
    Contender,
    DetectorName,
    Scene,
    StreamedBatches,
    Task,
    build_contenders,
    profile_step,
    training_precision,
)
from lightning_rcnn.bench.memory import peak_memory
from lightning_rcnn.bench.report import write_report
from lightning_rcnn.bench.timing import quartiles, take_turns, timed
from lightning_rcnn.cli.option_checks import require_at_least, require_device, require_positive
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.errors import InputError
from lightning_rcnn.export.exporting import FormatName
from lightning_rcnn.progress import at_work, track

SHORT = {"torchvision": "torchvision", "lightning-rcnn": "ours", "NCHW": "NCHW", "channels last": "NHWC"}
"""Short names, for tables of 80 characters."""


def step(
    device: Literal["cpu", "cuda"] = "cpu",
    detector: DetectorName = "faster_rcnn",
    backbone: BackboneName = "resnet18",
    batch_size: int = 8,
    height: int = 240,
    width: int = 320,
    objects: int = 12,
    classes: int = 3,
    repeats: int = 5,
    seed: int = 0,
    compilation: Literal["none", "parts", "step"] = "none",
    capture: bool = False,
    json: Path | None = None,
    profile: bool = False,
    shards: str | None = None,
    trace: Path = Path("step_trace.json"),
) -> None:
    """Time a whole training step against torchvision's, in one run.

    Forward, backward, clipping and SGD on the same images with the same weights, both detectors with their default
    settings. The first ratio is against torchvision as it is run by default (float32, NCHW), the second against
    torchvision in the same precision and layout.

    Args:
        device: device that both run on.
        detector: Faster or Mask R-CNN.
        backbone: backbone of both, under a feature pyramid.
        batch_size: images in a step.
        height: height of the images, pixels.
        width: width of the images, pixels.
        objects: objects in each image.
        classes: number of classes without background.
        repeats: number of timed turns.
        seed: seed of weights and images.
        compilation: also time ours compiled, as training with `--compilation.scope` does.
        capture: capture the compiled step as CUDA graphs.
        json: also write the figures to this file.
        profile: show instead where the time and the memory of our step go, in the precision that a training takes here,
            and write a trace.
        shards: packed data for the profile instead of a generated batch; the profile then shows how long steps wait for
            the loader.
        trace: file for the trace, to open in chrome://tracing or ui.perfetto.dev.
    """
    require_positive(batch_size=batch_size, objects=objects, classes=classes, repeats=repeats)
    require_at_least(MIN_SIDE, height=height, width=width)
    if capture and (compilation == "none" or device == "cpu"):
        raise InputError("--capture: only a step compiled for a GPU is captured; set --compilation and --device cuda")
    plan = None if compilation == "none" else CompilationPlan(compilation, capture)
    if profile and plan is not None:
        raise InputError("--profile: a compiled step has no parts to show; leave --compilation out")
    if shards is not None and not profile:
        raise InputError("--shards: detectors are compared on a generated batch; add --profile, or leave --shards out")
    chosen = require_device(device)
    for path, option in ((json, "--json"), (trace if profile else None, "--trace")):
        if path is not None:
            require_file(path, option)
    torch.manual_seed(seed)
    architecture = Architecture(detector, backbone, classes, min(height, width), max(height, width))
    size = batch_size, height, width
    if not profile:
        _compare("step", architecture, Scene.random(*size, objects, classes), chosen, repeats, json, plan)
        return
    if shards is None:
        scene = Scene.random(*size, objects, classes).to(chosen)
        generated = scene.inputs(), scene.targets(architecture.has_masks)
        profile_step(architecture, lambda: generated, [], size, chosen, repeats, json, trace)
        return
    rule = ResizeRule(architecture.min_size, architecture.max_size)
    batches = StreamedBatches(shards, batch_size, rule, architecture.has_masks, chosen)
    architecture = replace(architecture, num_classes=batches.num_classes)
    profile_step(architecture, batches.next, batches.waits, size, chosen, repeats, json, trace)


def infer(
    device: Literal["cpu", "cuda"] = "cpu",
    detector: DetectorName = "faster_rcnn",
    backbone: BackboneName = "resnet18",
    batch_size: int = 8,
    height: int = 240,
    width: int = 320,
    classes: int = 3,
    repeats: int = 5,
    seed: int = 0,
    formats: Sequence[FormatName] = (),
    json: Path | None = None,
) -> None:
    """Time the detection of a batch against torchvision's, in one run.

    From images to boxes and, with Mask R-CNN, to masks of the images' size. The weights are random, and so each image
    has as many detections as the limit allows. Ratios as in `bench step`.

    Args:
        device: device that both run on.
        detector: Faster or Mask R-CNN.
        backbone: backbone of both, under a feature pyramid.
        batch_size: images in a batch.
        height: height of the images, pixels.
        width: width of the images, pixels.
        classes: number of classes without background.
        repeats: number of timed turns.
        seed: seed of weights and images.
        formats: also time ours as exported files: pt2, onnx, aoti.
        json: also write the figures to this file.
    """
    require_positive(batch_size=batch_size, classes=classes, repeats=repeats)
    require_at_least(MIN_SIDE, height=height, width=width)
    chosen = require_device(device)
    if json is not None:
        require_file(json, "--json")
    architecture = Architecture(detector, backbone, classes, min(height, width), max(height, width))
    torch.manual_seed(seed)
    scene = Scene.random(batch_size, height, width, 1, classes)
    _compare("infer", architecture, scene, chosen, repeats, json, formats=formats)


def _compare(
    task: Task,
    architecture: Architecture,
    scene: Scene,
    device: torch.device,
    repeats: int,
    json: Path | None,
    compilation: CompilationPlan | None = None,
    formats: Sequence[FormatName] = (),
) -> None:
    console = Console()
    with at_work("building the detectors", console):
        runners = build_contenders(scene, architecture, task, device, compilation, formats)
    for runner in track(runners, "measuring memory, detectors", console):
        runner.run()
        runner.peak_bytes = peak_memory(runner.run, device)
    runs = take_turns(runners, lambda runner: timed(runner.run, device).seconds, repeats, console, warm_up=0)
    for runner, seconds in zip(runners, runs, strict=True):
        runner.seconds = seconds
    results = [_figures(runner, runners, len(scene.images)) for runner in runners]
    title = architecture.title(task, (len(scene.images), *scene.images.shape[2:]), device)
    table = Table(
        "detector",
        "precision",
        "layout",
        *(Column(header, justify="right") for header in ("ms", "spread", "img/s", "MiB", "default", "same")),
        title=title,
        caption="ms: median; spread: between the quartiles; default, same: times as fast as torchvision in float32 and "
        "NCHW, and in the same precision and layout",
        box=SIMPLE_HEAD,
        padding=0,
    )
    for result in results:
        low, high = result["quartiles"]
        table.add_row(
            f"ours, {result['compilation']}" if result["compilation"] else SHORT[result["library"]],
            result["precision"],
            SHORT[result["layout"]],
            f"{1e3 * result['median_seconds']:.0f}",
            f"{100 * (high - low) / result['median_seconds']:.0f}%",
            f"{result['images_per_second']:.1f}",
            f"{result['peak_bytes'] / 2**20:.0f}" if result["peak_bytes"] else "-",
            f"{result['ratio_to_default']:.2f} x",
            f"{result['ratio_to_same']:.2f} x",
        )
    console.print(table)
    console.print(f"A training takes {training_precision(device)} here (precision auto).")
    write_report(json, title, device, {"results": results})


def _figures(runner: Contender, runners: list[Contender], num_images: int) -> dict[str, Any]:
    theirs = {(r.precision, r.layout): quartiles(r.seconds).median for r in runners if r.library == "torchvision"}
    lower, median, upper = quartiles(runner.seconds)
    return {
        "library": runner.library,
        "compilation": runner.compilation,
        "precision": runner.precision,
        "layout": runner.layout,
        "median_seconds": median,
        "quartiles": (lower, upper),
        "seconds": runner.seconds,
        "images_per_second": num_images / median,
        "peak_bytes": runner.peak_bytes,
        "ratio_to_default": theirs["float32", "NCHW"] / median,
        "ratio_to_same": theirs[runner.precision, runner.layout] / median,
    }
