"""Whether all nodes of a training see the same run folder, found before the first step."""

from pathlib import Path
from typing import Any
from uuid import uuid4

from lightning.pytorch import Trainer

from lightning_rcnn.callbacks.run_folder import run_folder
from lightning_rcnn.callbacks.sharded_strategy import ShardedStrategy
from lightning_rcnn.errors import InputError


def check_shared_folder(trainer: Trainer) -> None:
    """Refuse split checkpoints in a folder that each node has for itself, such as its own copy of a folder in a cloud.

    Each node would keep its parts, and nobody would have a whole checkpoint.

    Raises:
        InputError: it is so.
    """
    strategy = trainer.strategy
    if trainer.num_nodes == 1 or not isinstance(strategy, ShardedStrategy) or not strategy.split_checkpoints:
        return
    folder = run_folder(trainer)
    if not is_shared(folder, strategy):
        raise InputError(
            f"{folder}: the {trainer.num_nodes} nodes do not share it, and each would keep its part of a split "
            "checkpoint to itself; give a --run_dir that all nodes share (of one in a cloud XDG_CACHE_HOME says where "
            "its copy lies), or split_checkpoints false"
        )


def is_shared(folder: Path, strategy: Any) -> bool:
    """Tell on all ranks whether all see a file that rank 0 makes in a folder.

    Args:
        folder: the folder, the same path on all ranks.
        strategy: Lightning's strategy, by which ranks talk.
    """
    # A new name: a client of NFS remembers for a while that there was no file of a name for which it has asked.
    probe = folder / strategy.broadcast(f".shared-{uuid4().hex}")
    if strategy.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
    strategy.barrier("a file in the run folder")
    try:
        return bool(strategy.reduce_boolean_decision(probe.is_file()))
    finally:
        if strategy.is_global_zero:
            probe.unlink(missing_ok=True)
