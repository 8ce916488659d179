"""AOTInductor packages: a `.pt2` archive with a compiled library, for this kind of processor or GPU only.

It needs a C++ compiler here, and torch with torchvision where it runs.
"""

import io
import shutil
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor
from torch.export import ExportedProgram

from lightning_rcnn.errors import InputError
from lightning_rcnn.export.metadata import KEY
from lightning_rcnn.export.program import Outputs, Runner

_COMPILED = "/data/aotinductor/"
"""Folder of compiled libraries in an archive."""


def write_aoti(program: ExportedProgram, metadata: str, file: BinaryIO) -> None:
    """Compile a program of standard operators and write it, with its metadata.

    Raises:
        InputError: there is no C++ compiler, or compilation fails.
    """
    if not any(shutil.which(name) for name in ("g++", "c++", "clang++")):
        raise InputError("the format aoti needs a C++ compiler, and there is none; install g++, or use the format pt2")
    package = io.BytesIO()
    configuration = {"aot_inductor.metadata": {KEY: metadata}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch._inductor.aoti_compile_and_package(program, package_path=package, inductor_configs=configuration)
    except Exception as error:  # the compiler, or the code that it is given, may fail in any way
        line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"the graph cannot be compiled: {line}; use the format pt2") from error
    file.write(package.getvalue())


def open_aoti(path: Path) -> tuple[Runner, str]:
    """Open a package; return the function that runs it, and its metadata, empty in one of another origin."""
    with path.open("rb") as file:
        model = torch._inductor.aoti_load_package(io.BytesIO(file.read()))

    def run(arguments: Sequence[Tensor]) -> Outputs:
        return model(*arguments)

    return run, model.get_metadata().get(KEY, "")


def is_compiled(path: Path) -> bool:
    """Tell whether a `.pt2` file is a package of AOTInductor."""
    with zipfile.ZipFile(path) as archive:
        return any(_COMPILED in name for name in archive.namelist())
