"""The JSON file of every benchmark: its figures, and how they were measured."""

import datetime
import json
import platform
import sys
from pathlib import Path
from typing import Any

import torch
import torchvision

from lightning_rcnn.files import atomic_write
from lightning_rcnn.precision import device_precision


def write_report(path: Path | None, title: str, device: torch.device, figures: dict[str, Any]) -> None:
    """Write figures with command, date, machine and versions.

    Args:
        path: the file; None writes nothing.
        title: what was measured.
        device: the device that was measured.
        figures: plain data, added to the conditions.
    """
    if path is None:
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
    with atomic_write(path) as file:
        file.write(f"{json.dumps({**conditions, **figures}, indent=2)}\n".encode())


def _processor() -> str:
    """Return the model name of the CPU if Linux tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
