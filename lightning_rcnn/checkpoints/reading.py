"""Files of weights, whoever wrote them: torch's, in both of its forms, and pickles of arrays."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.checkpoints.pickles import read_pickle
from lightning_rcnn.errors import InputError

_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""How a file of torch before 1.6 begins: a pickle of a number that nobody else writes."""
_WRAPPINGS = ("model", "state_dict", "blobs")
"""Under which the weights are kept: detectron2's and torchvision's trainings, Lightning's, Detectron's."""
_OF_PARALLEL_TRAINING = "module."
"""What all names begin with where the weights were taken from torch's DistributedDataParallel."""
_REFUSED_BY_TORCH = re.compile(r"GLOBAL ([\w.]+) was not")


def read_content(path: Path) -> Any:
    """What a file holds; arrays and containers only, nothing in it is executed.

    Raises:
        InputError: no such file, or not a whole one of these kinds.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as file:
        beginning = file.read(len(_OLD_TORCH))
    if zipfile.is_zipfile(path):
        _check_archive(path)
        return _read_torch(path, mmap=True)
    if beginning == _OLD_TORCH:
        return _read_torch(path, mmap=False)
    if beginning.startswith(b"PK"):
        raise InputError(f"{path}: the end of the file is missing; it was written or downloaded in part")
    if not beginning.startswith((b"\x80", b"(", b"}")):
        raise InputError(f"{path}: neither a file of torch nor a pickle")
    return read_pickle(path)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a file, by name.

    Raises:
        InputError: see `read_content`; or it holds no weights.
    """
    return weights_in(read_content(path), path)


def weights_in(content: Any, path: Path) -> dict[str, Tensor]:
    """The weights in the content of a file, out of whatever else is kept beside them.

    Raises:
        InputError: there are none.
    """
    for _ in range(2):
        inner = (content.get(key) for key in _WRAPPINGS) if isinstance(content, Mapping) else ()
        content = next((value for value in inner if isinstance(value, Mapping)), content)
    weights = {}
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value)
        if isinstance(value, Tensor):
            if not _has_all_numbers(value):
                raise InputError(f"{path}: {str(name)!r} is no array with all of its numbers in the file")
            weights[str(name)] = value
    if not weights:
        raise InputError(f"{path}: holds no weights (a mapping of names to arrays)")
    if all(name.startswith(_OF_PARALLEL_TRAINING) for name in weights):
        weights = {name.removeprefix(_OF_PARALLEL_TRAINING): value for name, value in weights.items()}
    return weights


def _has_all_numbers(value: Tensor) -> bool:
    """Not so are empty, sparse and quantised tensors, and those that show the same numbers again and again."""
    if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized:
        return False
    return 0 < value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _check_archive(path: Path) -> None:
    """What torch writes is not compressed; what is compressed could be as large as anything."""
    try:
        with zipfile.ZipFile(path) as archive:
            is_compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable torch file ({error}); is it damaged?") from error
    if is_compressed:
        raise InputError(f"{path}: a compressed archive, which torch does not write; unpack it first")


def _read_torch(path: Path, mmap: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises many kinds for what it does not like
        if "WeightsUnpickler" in str(error) or "Weights only load failed" in str(error):
            refused = _REFUSED_BY_TORCH.search(str(error))
            raise InputError(
                f"{path}: holds more than weights and plain values{f' ({refused[1]})' if refused else ''}, and is not "
                "read: that could run a program; where it was made, save the weights alone"
            ) from error
        raise InputError(f"{path}: not a readable torch file ({str(error).splitlines()[0]})") from error
