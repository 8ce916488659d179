"""What benchmarks of detectors say of themselves: a title, and a JSON file with figures and their conditions."""

import datetime
import json as json_format
import platform
import sys
from pathlib import Path
from typing import Any

import torch
import torchvision

from lightning_rcnn.bench.detectors import Architecture
from lightning_rcnn.bench.detectors.contenders import Precision, Task
from lightning_rcnn.precision import BF16, choose_precision, device_precision

TITLES = {"step": "training step", "infer": "detection", "faster_rcnn": "Faster R-CNN", "mask_rcnn": "Mask R-CNN"}


def title_of(task: Task, architecture: Architecture, size: tuple[int, int, int], device: torch.device) -> str:
    """For a table; `size` is (images, height, width)."""
    num_images, height, width = size
    name = TITLES[architecture.detector]
    return f"{TITLES[task]}, {name} {architecture.backbone} FPN, {num_images} x {height} x {width}, {device}"


def contender_precision(device: torch.device) -> Precision:
    """The numbers that "auto" takes on a device, as contenders name them."""
    return "bfloat16" if choose_precision(accelerator=device.type) == BF16 else "float32"


def write_figures(json: Path | None, title: object, device: torch.device, figures: dict[str, Any]) -> None:
    """Write a file, if one is wanted: figures, and how they were measured."""
    if json is None:
        return
    conditions = {
        "title": title,
        "command": " ".join(sys.argv),
        "date": datetime.date.today().isoformat(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "precision": device_precision(device.type)._asdict(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
    json.write_text(json_format.dumps({**conditions, **figures}, indent=2) + "\n")


def _processor() -> str:
    """The name of the CPU, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
