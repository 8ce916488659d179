"""`lightning-rcnn bench step`."""

import json as json_format
import statistics
from pathlib import Path
from typing import Literal

import torch
import torchvision
from rich.console import Console
from rich.table import Column, Table

from lightning_rcnn.detectors.benchmark import Scene, contenders, race


def step(
    device: Literal["cpu", "cuda"] = "cpu",
    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = "resnet18",
    batch_size: int = 8,
    height: int = 256,
    width: int = 320,
    objects: int = 12,
    classes: int = 3,
    repeats: int = 5,
    seed: int = 0,
    json: Path | None = None,
) -> None:
    """Time a whole training step of Faster R-CNN against torchvision's, in one run.

    Forward, backward and SGD on the same images, both detectors with their default numbers. The first ratio is
    against torchvision in float32, as it is run by default; the second against torchvision in the same precision.

    Args:
        device: where to run.
        backbone: of both, with a feature pyramid.
        batch_size: images in a step.
        height: of the images, pixels.
        width: of the images, pixels.
        objects: in each image.
        classes: without background.
        repeats: timed turns of each contender, after two untimed ones.
        seed: of weights and images.
        json: also write the figures to this file.
    """
    torch.manual_seed(seed)
    scene = Scene.random(batch_size, height, width, objects, classes)
    runners = contenders(scene, backbone, classes, torch.device(device))
    race(list(runners.values()), repeats)
    medians = {key: statistics.median(runner.seconds) for key, runner in runners.items()}
    title = f"training step, Faster R-CNN {backbone} FPN, {batch_size} x {height} x {width}, {device}"
    table = Table(
        Column("detector", no_wrap=True),
        "step (ms)",
        "range",
        "images/s",
        "vs default",
        "vs same precision",
        title=title,
    )
    results = []
    for key, runner in runners.items():
        median = medians[key]
        against_default = medians["torchvision", "float32"] / median
        against_same = medians["torchvision", key[1]] / median
        table.add_row(
            runner.name,
            f"{1e3 * median:.0f}",
            f"{1e3 * min(runner.seconds):.0f} to {1e3 * max(runner.seconds):.0f}",
            f"{batch_size / median:.1f}",
            f"{against_default:.2f}",
            f"{against_same:.2f}",
        )
        results.append(
            {
                "library": key[0],
                "precision": key[1],
                "median_seconds": median,
                "seconds": runner.seconds,
                "ratio_to_default": against_default,
                "ratio_at_same_precision": against_same,
            }
        )
    Console().print(table)
    if json is not None:
        report = {
            "title": title,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "results": results,
        }
        json.write_text(json_format.dumps(report, indent=2) + "\n")
