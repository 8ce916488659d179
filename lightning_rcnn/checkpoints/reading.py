"""Reading of weight files: torch's, in both of its formats, and pickles of arrays."""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.checkpoints.passed_over import STAND_INS, PassedOverArray
from lightning_rcnn.checkpoints.pickles import read_pickle
from lightning_rcnn.checkpoints.split import WEIGHTS, files_of, is_split, possible_folders, with_values
from lightning_rcnn.errors import InputError
from lightning_rcnn.stale_files import read_past_stale

_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""First bytes of a file of torch before 1.6: a pickle of its magic number."""
_ARCHIVE = b"PK\x03\x04"
"""First bytes of a file of torch since 1.6: an archive of the zip format."""
_WRAPPINGS = ("model", "state_dict", "blobs")
"""Keys that hold the weights: in checkpoints of detectron2 and torchvision, of Lightning, of Detectron."""
_AROUND = ("module.", "_orig_mod.", "model.")
"""Prefixes of all names: of torch's DistributedDataParallel and compiler, of a LightningModule around a detector."""
_REFUSED_BY_TORCH = re.compile(r"GLOBAL ([\w.]+) was not")


@dataclass(frozen=True)
class WeightFile:
    """The weights of a file.

    Attributes:
        path: the file, for messages.
        weights: the weights by name.
        meta: what the file says of its training under `meta`, such as mmdetection's configuration.
    """

    path: Path
    weights: Mapping[str, Tensor]
    meta: Mapping[str, Any] = field(default_factory=dict)


def read_content(path: Path) -> Any:
    """Return the content of a file: arrays and containers only; nothing in it is executed.

    Raises:
        InputError: no such file, a file of another format, or a damaged one.
    """
    return read_past_stale(partial(_read_content, path), path)


def _read_content(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as file:
        beginning = file.read(len(_OLD_TORCH))
    if beginning.startswith(_ARCHIVE):
        _check_archive(path)
        return _read_torch(path, mmap=True)
    if beginning == _OLD_TORCH:
        return _read_torch(path, mmap=False)
    if not beginning.startswith((b"\x80", b"(", b"}")):
        raise InputError(f"{path}: neither a file of torch nor a pickle; give a checkpoint (.ckpt, .pth, .pkl)")
    return read_pickle(path)


def checkpoint_files(path: Path) -> list[Path]:
    """Return the files of a checkpoint; its own is read only if there are folders that may belong to it.

    Raises:
        InputError: see `read_content`.
    """
    may_be_split = any(folder.is_dir() for folder in possible_folders(path))
    return files_of(path, read_content(path) if may_be_split else None)


def read_weights(path: Path) -> WeightFile:
    """Read the weights in a file.

    Raises:
        InputError: see `read_content`; or the file holds no weights.
    """
    return weights_in(read_content(path), path)


def weights_in(content: Any, path: Path) -> WeightFile:
    """Pick the weights out of the content of a file, which may hold more.

    Args:
        content: content of the file, as `read_content` returns it.
        path: the file.

    Raises:
        InputError: the content holds no weights.
    """
    if is_split(content):
        content = with_values(content, path, WEIGHTS[:1])
    meta = content.get("meta") if isinstance(content, Mapping) else None
    for _ in range(2):
        inner = (content.get(key) for key in _WRAPPINGS) if isinstance(content, Mapping) else ()
        content = next((value for value in inner if isinstance(value, Mapping)), content)
    weights = {}
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value)
        if isinstance(value, PassedOverArray):
            raise InputError(f"{path}: {str(name)!r} is an array of numpy in a file of torch; save tensors there")
        if isinstance(value, Tensor):
            if not _has_all_numbers(value):
                raise InputError(f"{path}: {str(name)!r} is no array with all of its numbers in the file")
            weights[str(name)] = value
    if not weights:
        raise InputError(f"{path}: holds no weights (a mapping of names to arrays)")
    while prefix := next((prefix for prefix in _AROUND if all(name.startswith(prefix) for name in weights)), None):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return WeightFile(path, weights, meta if isinstance(meta, Mapping) else {})


def _has_all_numbers(value: Tensor) -> bool:
    """Tell whether a tensor stores every number: not if empty, sparse, quantized or expanded."""
    if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized:
        return False
    return 0 < value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _check_archive(path: Path) -> None:
    """Refuse an archive without its end, and a compressed one, which torch does not write: it can be of any size."""
    try:
        with zipfile.ZipFile(path) as archive:
            is_compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        # Not asked first: it takes what cannot be read now, as on a network file system, for another format.
        if isinstance(error, zipfile.BadZipFile) and not zipfile.is_zipfile(path):
            raise InputError(f"{path}: the end of the file is missing; it was written or downloaded in part") from error
        raise InputError(f"{path}: not a readable torch file ({error}); is it damaged?") from error
    if is_compressed:
        raise InputError(f"{path}: a compressed archive, which torch does not write; unpack it first")


def _read_torch(path: Path, mmap: bool) -> Any:
    try:
        with torch.serialization.safe_globals(STAND_INS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises errors of many kinds
        if "WeightsUnpickler" in str(error) or "Weights only load failed" in str(error):
            refused = _REFUSED_BY_TORCH.search(str(error))
            raise InputError(
                f"{path}: holds more than weights and plain values{f' ({refused[1]})' if refused else ''}, and "
                "reading it could run a program; save the weights alone where it was made"
            ) from error
        raise InputError(f"{path}: not a readable torch file ({str(error).splitlines()[0]})") from error
