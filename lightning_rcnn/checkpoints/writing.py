"""Files that appear under their name only when they are whole."""

import os
from pathlib import Path
from typing import Any

import torch


def write_whole(content: Any, path: Path) -> None:
    """Write what torch can save, beside its place, and move it there.

    One name serves all attempts: what a killed process left behind is overwritten by the next.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
