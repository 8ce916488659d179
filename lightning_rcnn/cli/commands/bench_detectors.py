"""`lightning-rcnn bench step|infer`."""

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from lightning_rcnn.bench.detectors import (
    Architecture,
    CompilationPlan,
    Contender,
    DetectorName,
    Scene,
    StreamedBatches,
    contenders,
    race,
)
from lightning_rcnn.bench.detectors.contenders import Task
from lightning_rcnn.bench.report import contender_precision, title_of, write_figures
from lightning_rcnn.bench.step_profile import profile_step
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.errors import InputError

BackboneName = Literal["resnet18", "resnet34", "resnet50", "resnet101"]
SHORT = {"torchvision": "torchvision", "lightning-rcnn": "ours", "NCHW": "NCHW", "channels last": "NHWC"}
"""What a table of 80 characters has room for."""


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
    numbers. The first ratio is against torchvision as it is run by default (float32, NCHW), the second against
    torchvision in the same precision and layout.

    Args:
        device: where to run.
        detector: Faster or Mask R-CNN.
        backbone: of both, with a feature pyramid.
        batch_size: images in a step.
        height: of the images, pixels.
        width: of the images, pixels.
        objects: in each image.
        classes: without background.
        repeats: timed turns of each contender.
        seed: of weights and images.
        compilation: also time ours compiled, as a training with `--compilation.scope` is.
        capture: the compiled one is captured as CUDA graphs.
        json: also write the figures to this file.
        profile: show instead where the time and the memory of our step go, in the precision that a training takes here,
            and write a trace.
        shards: packed data for the profile, in the place of one generated batch: the loader's batches, and how long the
            steps wait for them.
        trace: file for the trace, to be opened in chrome://tracing or ui.perfetto.dev.
    """
    if capture and (compilation == "none" or device == "cpu"):
        raise InputError("--capture: only what is compiled for a GPU is captured; set --compilation and --device cuda")
    plan = None if compilation == "none" else CompilationPlan(compilation, capture)
    if profile and plan is not None:
        raise InputError("--profile: what is compiled has no parts any more; leave --compilation out")
    if shards is not None and not profile:
        raise InputError("--shards: the detectors are compared on a generated batch; give --profile as well")
    if json is not None:
        require_file(json, "--json")
    torch.manual_seed(seed)
    place = _checked(device)
    architecture = Architecture(detector, backbone, classes, min(height, width), max(height, width))
    size = batch_size, height, width
    if not profile:
        _race("step", architecture, Scene.random(*size, objects, classes), place, repeats, json, plan)
        return
    if shards is None:
        scene = Scene.random(*size, objects, classes).to(place)
        generated = scene.inputs(), scene.targets(architecture.has_masks)
        profile_step(architecture, lambda: generated, [], size, place, repeats, json, trace)
        return
    rule = ResizeRule(architecture.min_size, architecture.max_size)
    batches = StreamedBatches(shards, batch_size, rule, architecture.has_masks, place)
    architecture = replace(architecture, num_classes=batches.num_classes)
    profile_step(architecture, batches.next, batches.waits, size, place, repeats, json, trace)


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
    json: Path | None = None,
) -> None:
    """Time the detection of a batch against torchvision's, in one run.

    From images to boxes and, with Mask R-CNN, masks of the images' size, with the same random weights: so each image
    has as many detections as may be. Ratios as in `bench step`.

    Args:
        device: where to run.
        detector: Faster or Mask R-CNN.
        backbone: of both, with a feature pyramid.
        batch_size: images in a batch.
        height: of the images, pixels.
        width: of the images, pixels.
        classes: without background.
        repeats: timed turns of each contender.
        seed: of weights and images.
        json: also write the figures to this file.
    """
    if json is not None:
        require_file(json, "--json")
    architecture = Architecture(detector, backbone, classes, min(height, width), max(height, width))
    torch.manual_seed(seed)
    scene = Scene.random(batch_size, height, width, 1, classes)
    _race("infer", architecture, scene, _checked(device), repeats, json)


def _checked(device: str) -> torch.device:
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no CUDA device here")
    return torch.device(device)


def _race(
    task: Task,
    architecture: Architecture,
    scene: Scene,
    device: torch.device,
    repeats: int,
    json: Path | None,
    compilation: CompilationPlan | None = None,
) -> None:
    runners = contenders(scene, architecture, task, device, compilation)
    race(runners, repeats, device)
    results = [_figures(runner, runners, len(scene.images)) for runner in runners]
    table = Table(
        "detector",
        "numbers",
        "layout",
        *(Column(header, justify="right") for header in ("ms", "spread", "img/s", "MiB", "default", "same")),
        title=title_of(task, architecture, (len(scene.images), *scene.images.shape[2:]), device),
        caption="ms: median; spread: between the quartiles; default, same: times as fast as torchvision in float32 and "
        "NCHW, and in the same numbers and layout",
        box=SIMPLE_HEAD,
        padding=0,
    )
    for result in results:
        low, high = result["quartiles"]
        table.add_row(
            f"ours, {result['way']}" if result["way"] else SHORT[result["library"]],
            result["precision"],
            SHORT[result["layout"]],
            f"{1e3 * result['median_seconds']:.0f}",
            f"{100 * (high - low) / result['median_seconds']:.0f}%",
            f"{result['images_per_second']:.1f}",
            f"{result['peak_bytes'] / 2**20:.0f}" if result["peak_bytes"] else "-",
            f"{result['ratio_to_default']:.2f} x",
            f"{result['ratio_to_same']:.2f} x",
        )
    Console().print(table)
    print(f"A training takes {contender_precision(device)} here (precision auto).")
    write_figures(json, table.title, device, {"results": results})


def _figures(runner: Contender, runners: list[Contender], num_images: int) -> dict[str, Any]:
    theirs = {(r.precision, r.layout): statistics.median(r.seconds) for r in runners if r.library == "torchvision"}
    median = statistics.median(runner.seconds)
    low, _, high = (
        statistics.quantiles(runner.seconds, n=4, method="inclusive") if len(runner.seconds) > 1 else [median] * 3
    )
    return {
        "library": runner.library,
        "way": runner.way,
        "precision": runner.precision,
        "layout": runner.layout,
        "median_seconds": median,
        "quartiles": (low, high),
        "seconds": runner.seconds,
        "images_per_second": num_images / median,
        "peak_bytes": runner.peak_bytes,
        "ratio_to_default": theirs["float32", "NCHW"] / median,
        "ratio_to_same": theirs[runner.precision, runner.layout] / median,
    }
