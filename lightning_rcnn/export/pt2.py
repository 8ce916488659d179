"""`.pt2` files of `torch.export`: a graph that torch and torchvision run without our package."""

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor
from torch.export import ExportedProgram

from lightning_rcnn.export.metadata import KEY
from lightning_rcnn.export.program import Outputs, Runner
from lightning_rcnn.export.quiet import quietly

EXTRA_FILE = f"{KEY}.json"
"""Name of our JSON among the extra files of the archive."""
_LEVELS = {"torch.export": logging.CRITICAL, "torch._export.serde.serialize": logging.ERROR}
"""The first logs the traceback of an error that is raised, too; the second names sizes that a graph has no use for."""


def write_pt2(program: ExportedProgram, metadata: str, file: BinaryIO) -> None:
    """Write a program of standard operators, with its metadata as an extra file.

    A program with example inputs checks, where it is loaded, all that the tracer has assumed about sizes; but that
    concerns only how maps are laid out in memory, and would refuse images of other proportions (see `program.py`).
    """
    program.example_inputs = None
    package = io.BytesIO()  # torch hides the reason if a disk is full
    torch.export.save(program, package, extra_files={EXTRA_FILE: metadata})
    file.write(package.getbuffer())


def open_pt2(path: Path) -> tuple[Runner, str]:
    """Open a file; return the function that runs it, and its metadata, empty in a file of another origin."""
    extra = {EXTRA_FILE: ""}
    with quietly(_LEVELS), path.open("rb") as file:
        module = torch.export.load(file, extra_files=extra).module()

    @torch.inference_mode()
    def run(arguments: Sequence[Tensor]) -> Outputs:
        return module(*arguments)

    return run, extra[EXTRA_FILE]
