"""Split checkpoints: a file, and a folder beside it with the weights and optimizer states, to which all ranks write.

The file is an ordinary checkpoint in which these tensors have a shape and no values (they are on torch's meta device).
It is replaced when the folder is complete, so that there is a whole checkpoint at every moment. The folder is torch's
distributed checkpoint (`torch.distributed.checkpoint`), which any number of ranks can read. Two folders take turns.
"""

import copy
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter, SavePlan, SavePlanner
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from lightning_rcnn.errors import InputError

FOLDER_KEY = "tensors_in"
"""Key of a checkpoint for the name of the folder with its tensors."""
WEIGHTS = ("state_dict", "current_model_state")
"""Keys of a checkpoint for the weights; with EMA, the first are the averages and the second the weights."""
OPTIMIZERS = "optimizer_states"
"""Key of a checkpoint for the states of its optimizers."""


class PartsWriter(FileSystemWriter):
    """Writes the part of a rank; a full disk is an error of the system, which torch hides behind one of its own."""

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write what a plan says.

        Raises:
            OSError: it cannot be written.
        """
        try:
            return super().write_data(plan, planner)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def reason_of(error: BaseException) -> str:
    """Return in one line why the parts of a checkpoint cannot be written or read: torch's text has a traceback."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__


def is_split(content: Any) -> bool:
    """Tell whether the content of a file is a split checkpoint."""
    return isinstance(content, Mapping) and isinstance(content.get(FOLDER_KEY), str)


def next_folder(path: Path, content: Any) -> Path:
    """Return the folder for the tensors of a new checkpoint: that of two which the one at `path` does not use.

    Args:
        path: file of the checkpoint.
        content: what is in the file now; None if it does not exist.
    """
    first, second = possible_folders(path)
    return second if is_split(content) and content[FOLDER_KEY] == first.name else first


def possible_folders(path: Path) -> tuple[Path, Path]:
    """Return the two folders of which a checkpoint at `path` uses one."""
    return path.with_name(f"{path.name}.tensors-0"), path.with_name(f"{path.name}.tensors-1")


def change_tensors(value: Any, change: Callable[[str, Tensor], Tensor], name: str = "") -> Any:
    """Return a copy of nested dictionaries and lists with every tensor changed.

    Args:
        value: dictionary, list, tensor or anything else.
        change: keys of the tensor from the outermost on, joined by slashes; tensor -> another one.
        name: keys above `value`.
    """
    return change_by_keys(value, lambda keys, tensor: change("/".join(map(str, keys)), tensor), (name,) if name else ())


def change_by_keys(value: Any, change: Callable[[tuple[Any, ...], Tensor], Tensor], keys: tuple[Any, ...] = ()) -> Any:
    """Return a copy of nested dictionaries and lists with every tensor changed.

    An ordered dictionary stays one, with the versions of modules that torch attaches to a state dict.

    Args:
        value: dictionary, list, tensor or anything else.
        change: keys of the tensor from the outermost on; tensor -> another one. No two tensors have the same keys, but
            joined to one name, `{"a/b": ...}` and `{"a": {"b": ...}}` are the same.
        keys: keys above `value`.
    """
    if isinstance(value, Tensor):
        return change(keys, value)
    if isinstance(value, Mapping):
        items = {key: change_by_keys(item, change, (*keys, key)) for key, item in value.items()}
        return _like_state_dict(items, value) if isinstance(value, OrderedDict) else items
    if isinstance(value, list | tuple):
        values = [change_by_keys(item, change, (*keys, number)) for number, item in enumerate(value)]
        return tuple(values) if isinstance(value, tuple) else values
    return copy.deepcopy(value)


def _like_state_dict(items: dict[Any, Any], state_dict: OrderedDict[Any, Any]) -> OrderedDict[Any, Any]:
    """Return items as an ordered dictionary with the attributes of another, such as `_metadata`."""
    ordered = OrderedDict(items)
    vars(ordered).update(copy.deepcopy(vars(state_dict)))
    return ordered


def take_tensors(checkpoint: dict[str, Any], folder: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Split a checkpoint.

    Args:
        checkpoint: content of a checkpoint.
        folder: name of the folder for the tensors.

    Returns:
        The content of the file, which shares nothing with `checkpoint`; and the tensors of the folder by name,
        not copied.

    Raises:
        InputError: two tensors of the folder would have the same name.
    """
    tensors: dict[str, Tensor] = {}

    def copied(_: str, tensor: Tensor) -> Tensor:
        return tensor.detach().to("cpu", copy=True)

    def take(name: str, tensor: Tensor) -> Tensor:
        if not tensor.ndim:  # counts, which a file holds best; an optimizer changes its own in place
            return copied(name, tensor)
        if name in tensors:
            raise InputError(f"{name}: two tensors of a checkpoint have this name; give split_checkpoints false")
        tensors[name] = tensor
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")

    # All is copied: in the background, the file is written after later steps.
    content = {
        key: change_tensors(value, take if key in (*WEIGHTS, OPTIMIZERS) else copied, key)
        for key, value in checkpoint.items()
    }
    return {**content, FOLDER_KEY: folder}, tensors


def read_tensors(content: Any, name: str, path: Path, like: Callable[[str, Tensor], Tensor]) -> Any:
    """Read the tensors below one key of a split checkpoint.

    Args:
        content: what is below the key: nested dictionaries and lists, whose tensors without values are read.
        name: the key.
        path: folder with the tensors.
        like: name, tensor without values -> tensor of this shape to read into, plain or sharded.

    Returns:
        A copy of `content` with values.

    Raises:
        InputError: the folder is missing or damaged.
    """
    wanted: dict[str, Tensor] = {}

    def allocate(key: str, tensor: Tensor) -> Tensor:
        if not tensor.is_meta:
            return tensor
        wanted[key] = like(key, tensor)
        return wanted[key]

    filled = change_tensors(content, allocate, name)
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; it has the tensors of the checkpoint beside it: keep them together")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            # Each rank knows what it has to read; the folder says in which files it is.
            dcp.load(wanted, storage_reader=FileSystemReader(path), no_dist=True)
    except (CheckpointException, OSError, RuntimeError, KeyError, EOFError) as error:
        raise InputError(
            f"{path}: the tensors of a checkpoint cannot be read ({reason_of(error)}); is it damaged?"
        ) from error
    return filled


def missing_files(folder: Path) -> list[str]:
    """Return the names of files that belong to the tensors of a checkpoint and are not in their folder."""
    names = {entry.relative_path for entry in FileSystemReader(folder).read_metadata().storage_data.values()}
    # Asked by name: a listing of a network file system may be older than the files.
    return sorted(name for name in names if not (folder / name).is_file())


def joined(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the content of a split checkpoint as that of a whole one; any other as it is.

    Args:
        content: content of the file.
        path: the file.

    Raises:
        InputError: see `read_tensors`.
    """
    whole = with_values(content, path, (*WEIGHTS, OPTIMIZERS))
    return {key: value for key, value in whole.items() if key != FOLDER_KEY}


def files_of(path: Path, content: Any) -> list[Path]:
    """Return the files of a checkpoint: its own, and those in the folder if it is split."""
    folder = [path.with_name(content[FOLDER_KEY])] if is_split(content) else []
    return [path, *(file for within in folder for file in sorted(within.iterdir()))]


def with_values(content: dict[str, Any], path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the content of a checkpoint with the values of all tensors below some keys, whole and on the host.

    Args:
        content: content of the file; a checkpoint that is not split is returned as it is.
        path: the file.
        keys: keys of the content.

    Raises:
        InputError: see `read_tensors`.
    """
    if not is_split(content):
        return content
    folder = path.with_name(content[FOLDER_KEY])
    found = {key: read_tensors(content[key], key, folder, _on_host) for key in keys if key in content}
    return {**content, **found}


def _on_host(_: str, tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype)
