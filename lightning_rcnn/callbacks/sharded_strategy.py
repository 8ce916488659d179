"""The strategy of a sharded training, and the checkpoints that it writes and reads."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from lightning.fabric.plugins.collectives.torch_collective import default_pg_timeout
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from torch import Tensor
from torch.optim import Optimizer

from lightning_rcnn.callbacks.background_checkpoints import BackgroundCheckpointIO
from lightning_rcnn.callbacks.checkpoint_io import AtomicCheckpointIO
from lightning_rcnn.checkpoints.reading import read_content
from lightning_rcnn.checkpoints.split import (
    FOLDER_KEY,
    OPTIMIZERS,
    WEIGHTS,
    PartsWriter,
    change_tensors,
    is_split,
    missing_files,
    next_folder,
    possible_folders,
    read_tensors,
    reason_of,
    take_tensors,
)
from lightning_rcnn.data.stores.addresses import is_remote
from lightning_rcnn.errors import InputError
from lightning_rcnn.sharding import as_sharded, gathered


class ShardedStrategy(ModelParallelStrategy):
    """Shards weights, gradients and optimizer states over all ranks (FSDP2): see `sharding.py`.

    The losses are those of DDP. A whole checkpoint is the same file that any other training writes and reads; with
    either kind, a training resumes on any number of ranks, sharded or not.

    Args:
        split_checkpoints: whether all ranks write their own part of a checkpoint, into a folder beside its file,
            instead of rank 0 the whole of it: for models whose weights and optimizer state rank 0 should not gather.
        timeout: time limit of a collective operation.
    """

    def __init__(self, split_checkpoints: bool = False, timeout: timedelta | None = default_pg_timeout) -> None:
        super().__init__(save_distributed_checkpoint=split_checkpoints, timeout=timeout)
        self.split_checkpoints = split_checkpoints
        self._writers: Any = None  # process group of the threads that write
        self._folder: Path | None = None  # with the optimizer states of the checkpoint that is loaded

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """False: weights can be loaded as soon as they are sharded, before the optimizer exists, as in DDP."""
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        """True: the state of the optimizer is loaded when it exists."""
        return True

    def setup_environment(self) -> None:
        """Put all ranks in one line."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    def setup(self, trainer: Trainer) -> None:
        """Build the optimizer; and keep evaluations out of torch's inference mode.

        Weights that were gathered in inference mode could not be used in training.
        """
        loops = (trainer.fit_loop.epoch_loop.val_loop, trainer.validate_loop, trainer.test_loop, trainer.predict_loop)
        for loop in loops:
            loop.inference_mode = False
        super().setup(trainer)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the weights, sharded."""
        assert self.lightning_module is not None
        return self.lightning_module.state_dict()

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the state of the optimizer, sharded."""
        return optimizer.state_dict()

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; call this on all ranks.

        Raises:
            InputError: it cannot be written; the one that was there before is untouched.
        """
        target = str(self.broadcast(filepath))
        if not self.split_checkpoints:
            whole = change_tensors(checkpoint, self._on_rank_zero)
            if self.is_global_zero:
                self.checkpoint_io.save_checkpoint(whole, target, storage_options)
            return
        if is_remote(target):
            raise InputError(f"{target}: split checkpoints need a folder; give one, or split_checkpoints false")
        path, writer = Path(target), self.checkpoint_io
        if isinstance(writer, BackgroundCheckpointIO):
            writer.wait()  # which folder is free is known only then
        folder = path.with_name(self.broadcast(self._free_folder(path) if self.is_global_zero else ""))
        content, tensors = take_tensors(checkpoint, folder.name)
        files = PartsWriter(folder)
        if isinstance(writer, BackgroundCheckpointIO):
            if self._writers is None:
                self._writers = torch.distributed.new_group(backend="gloo")
            saved = dcp.async_save(tensors, storage_writer=files, process_group=self._writers)
            assert isinstance(saved, Future)
            writer.submit(partial(self._complete, content, path, saved.result))
        else:
            self._complete(content, path, partial(dcp.save, tensors, storage_writer=files))
            self.barrier("checkpoint")

    def _complete(self, content: dict[str, Any], path: Path, save: Callable[[], Any]) -> None:
        """Write the file of a split checkpoint when its folder is complete, and remove the folder before."""
        writer = self.checkpoint_io
        with writer.only_warns_if_expendable(path) if isinstance(writer, AtomicCheckpointIO) else nullcontext():
            self._write_split(content, path, save)

    def _write_split(self, content: dict[str, Any], path: Path, save: Callable[[], Any]) -> None:
        folder = path.with_name(content[FOLDER_KEY])
        try:
            save()
        except (OSError, RuntimeError, dcp.CheckpointException) as error:
            if self.is_global_zero:  # the disk may be full, and the next start writes before it comes here
                shutil.rmtree(folder, ignore_errors=True)
            raise InputError(
                f"{folder}: cannot be written ({reason_of(error)}); the previous checkpoint is untouched: make room "
                "and resume with --ckpt_path last"
            ) from error
        if self.is_global_zero:
            if missing := missing_files(folder):
                raise InputError(
                    f"{folder}: {', '.join(missing[:3])} of other nodes cannot be seen here, so nobody has the whole "
                    "checkpoint: give a folder that all nodes share, or split_checkpoints false"
                )
            writer = self.checkpoint_io
            (writer.write if isinstance(writer, AtomicCheckpointIO) else writer.save_checkpoint)(content, path)
            for other in possible_folders(path):
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)

    def teardown(self) -> None:
        """Wait for checkpoints that are being written, and end as Lightning's."""
        self.checkpoint_io.teardown()
        super().teardown()

    def remove_checkpoint(self, filepath: str | Path) -> None:
        """Remove a checkpoint, and the folder of a split one."""
        super().remove_checkpoint(filepath)
        if self.is_global_zero and self.split_checkpoints:
            for folder in possible_folders(Path(filepath)):
                shutil.rmtree(folder, ignore_errors=True)

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint; its weights are sharded as those of the model, its optimizer states come later.

        Raises:
            InputError: it cannot be read.
        """
        if isinstance(self.checkpoint_io, AtomicCheckpointIO):
            self.checkpoint_io.wait()
        path = Path(self.broadcast(checkpoint_path))  # after rank 0 has waited
        checkpoint = dict(read_content(path))
        assert self.lightning_module is not None
        own: Mapping[str, Tensor] = self.lightning_module.state_dict()

        def like(name: str, tensor: Tensor) -> Tensor:
            return _empty_like(own.get(name.partition("/")[2]), tensor)

        def sharded(name: str, tensor: Tensor) -> Tensor:
            weight = own.get(name.partition("/")[2])
            return tensor if weight is None else as_sharded(tensor, weight)

        self._folder = path.with_name(checkpoint[FOLDER_KEY]) if is_split(checkpoint) else None
        for key in WEIGHTS:
            if key in checkpoint and self._folder is not None:
                checkpoint[key] = read_tensors(checkpoint[key], key, self._folder, like)
            elif key in checkpoint:
                checkpoint[key] = change_tensors(checkpoint[key], sharded, key)
        return checkpoint

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Load the weights, which `load_checkpoint` has sharded."""
        assert self.lightning_module is not None
        self.lightning_module.load_state_dict(checkpoint["state_dict"], strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Load the states of the optimizers, in the order of their parameters, and shard them."""
        for number, (optimizer, state) in enumerate(zip(self.optimizers, checkpoint[OPTIMIZERS], strict=True)):
            weights = dict(zip(_numbers(state), _weights(optimizer), strict=True))
            prefix = f"{OPTIMIZERS}/{number}/state"

            def like(name: str, tensor: Tensor, weights: Mapping[str, Tensor] = weights) -> Tensor:
                return _empty_like(weights[name.split("/")[3]], tensor)

            def sharded(name: str, tensor: Tensor, weights: Mapping[str, Tensor] = weights) -> Tensor:
                return as_sharded(tensor, weights[name.split("/")[3]])

            if self._folder is None:
                values = change_tensors(state["state"], sharded, prefix)
            else:
                values = read_tensors(state["state"], prefix, self._folder, like)
            optimizer.load_state_dict({**state, "state": values})

    def _on_rank_zero(self, _: str, tensor: Tensor) -> Tensor:
        """Gather a tensor; only rank 0 keeps it, on the host."""
        whole = gathered(tensor.detach())
        return whole.cpu() if self.is_global_zero else whole.new_empty(0)

    def _free_folder(self, path: Path) -> str:
        """Return the name of the folder for the next checkpoint, and remove what a killed process left there."""
        folder = next_folder(path, read_content(path) if path.is_file() else None)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        return folder.name


# `--trainer.strategy sharded`, as Lightning's own strategies have names.
StrategyRegistry.register("sharded", ShardedStrategy, description=ShardedStrategy.__doc__ or "")


def _empty_like(weight: Tensor | None, tensor: Tensor) -> Tensor:
    """Return an empty tensor with the layout of a weight if it has the shape of one, else a plain one on the host."""
    if weight is None or weight.shape != tensor.shape:
        return torch.empty(tensor.shape, dtype=tensor.dtype)
    return torch.empty_like(weight.detach(), dtype=tensor.dtype)


def _numbers(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield the numbers by which the state of an optimizer names parameters, in the order of its groups."""
    return chain.from_iterable(map(str, group["params"]) for group in state["param_groups"])


def _weights(optimizer: Optimizer) -> Iterator[Tensor]:
    return chain.from_iterable(group["params"] for group in optimizer.param_groups)
