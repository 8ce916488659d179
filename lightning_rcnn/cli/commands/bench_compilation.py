"""`lightning-rcnn bench compilation`."""

from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table

from lightning_rcnn.bench.detectors import MIN_SIDE, Architecture, BackboneName, DetectorName, Scene
from lightning_rcnn.bench.detectors.compilations import plans, time_step
from lightning_rcnn.bench.report import write_report
from lightning_rcnn.bench.timing import quartiles
from lightning_rcnn.cli.option_checks import require_at_least, require_device, require_positive
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.errors import InputError


def compilation(
    device: Literal["cpu", "cuda"] = "cpu",
    detector: DetectorName = "faster_rcnn",
    backbone: BackboneName = "resnet18",
    batch_size: int = 8,
    height: int = 240,
    width: int = 320,
    objects: int = 12,
    classes: int = 3,
    repeats: int | None = None,
    seed: int = 0,
    json: Path | None = None,
) -> None:
    """Time our training step as written, compiled and, on a GPU, captured.

    On a GPU ten steps run first in which any host sync is an error. What fails is shown, the others still run, and the
    command ends with an error. `bench step --compilation` compares a compiled step with torchvision's.

    Args:
        device: device of the step.
        detector: Faster or Mask R-CNN.
        backbone: backbone under a feature pyramid.
        batch_size: images in a step.
        height: height of the images, pixels.
        width: width of the images, pixels.
        objects: objects in each image.
        classes: number of classes without background.
        repeats: number of timed steps; by default 5 on the CPU, 30 on a GPU.
        seed: seed of weights and images.
        json: also write the figures to this file.

    Raises:
        InputError: a way to run the step failed.
    """
    require_positive(batch_size=batch_size, objects=objects, classes=classes, repeats=repeats)
    require_at_least(MIN_SIDE, height=height, width=width)
    chosen = require_device(device)
    if json is not None:
        require_file(json, "--json")
    if device == "cuda":
        torch.backends.cudnn.benchmark = True  # as in a training
    architecture = Architecture(detector, backbone, classes, min(height, width), max(height, width))
    title = architecture.title("step", (batch_size, height, width), chosen)
    console = Console()
    table = Table("step", "ms", "quartiles", "images/s", "GPU memory (MiB)", "first 5 steps (s)", title=title)
    results: list[dict[str, Any]] = []
    failed = []
    for plan in plans(chosen):
        name = "as written" if plan is None else plan.label
        torch.manual_seed(seed)
        scene = Scene.random(batch_size, height, width, objects, classes)
        try:
            figures = time_step(architecture, scene, plan, chosen, repeats or (30 if device == "cuda" else 5), console)
        except Exception as error:  # the compiler and the GPU fail in many ways
            console.print(f"{name}: {type(error).__name__}: {error}", markup=False, soft_wrap=True)
            failed.append(name)
            continue
        lower, median, upper = quartiles(figures.seconds)
        table.add_row(
            name,
            f"{1e3 * median:.1f}",
            f"{1e3 * lower:.1f} to {1e3 * upper:.1f}",
            f"{batch_size / median:.1f}",
            f"{figures.peak_bytes / 2**20:.0f}" if figures.peak_bytes else "-",
            f"{figures.first_seconds:.1f}",
        )
        results.append({"name": name, **figures._asdict()})
    console.print(table)
    write_report(json, title, chosen, {"results": results, "failed": failed})
    if failed:
        raise InputError(f"bench compilation: failed: {', '.join(failed)}; see the lines above")
