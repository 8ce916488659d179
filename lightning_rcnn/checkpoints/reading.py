"""Files of weights, whoever wrote them: torch's, in both of its forms, and pickles of arrays."""

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
    while isinstance(content, Mapping):
        wrapping = next((key for key in _WRAPPINGS if isinstance(content.get(key), Mapping)), None)
        if wrapping is None:
            break
        content = content[wrapping]
    weights = {}
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value)
        if isinstance(value, Tensor):
            weights[str(name)] = value
    if not weights:
        raise InputError(f"{path}: holds no weights (a mapping of names to arrays)")
    return weights


def _read_torch(path: Path, mmap: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises many kinds for what it does not like
        if "WeightsUnpickler" in str(error) or "Weights only load failed" in str(error):
            raise InputError(
                f"{path}: holds more than weights and plain values, and is not read: that could run a program"
            ) from error
        raise InputError(f"{path}: not a readable torch file ({str(error).splitlines()[0]})") from error
