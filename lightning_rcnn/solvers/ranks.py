"""What all ranks of a distributed run hold, in one place; a run of one process is its own only rank."""

from typing import Any

import torch
from torch import Tensor
from torch.distributed import (
    all_gather_object,
    all_reduce,
    broadcast,
    gather_object,
    get_rank,
    get_world_size,
    is_available,
    is_initialized,
)


def sum_over_ranks(numbers: Tensor) -> Tensor:
    """The sum of the same tensor of all ranks, on each."""
    if not _is_distributed():
        return numbers
    total = numbers.clone()
    all_reduce(total)
    return total


def gather_on_rank_zero(value: Any) -> list[Any]:
    """What the ranks hold, in their order, on rank 0; nothing on the others."""
    if not _is_distributed():
        return [value]
    if get_rank() != 0:
        gather_object(value)
        return []
    parts: list[Any] = [None] * get_world_size()
    gather_object(value, parts)
    return parts


def gather_on_all_ranks(value: Any) -> list[Any]:
    """What the ranks hold, in their order."""
    if not _is_distributed():
        return [value]
    parts: list[Any] = [None] * get_world_size()
    all_gather_object(parts, value)
    return parts


def take_from_rank_zero(*tensors: Tensor) -> None:
    """Overwrite tensors with those of rank 0."""
    if _is_distributed():
        with torch.no_grad():
            for tensor in tensors:
                broadcast(tensor, 0)


def _is_distributed() -> bool:
    return is_available() and is_initialized() and get_world_size() > 1
