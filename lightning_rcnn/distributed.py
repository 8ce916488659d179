"""What asks the ranks of a distributed run; a run of one process is its own only rank."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributed import (
    ProcessGroup,
    ReduceOp,
    Work,
    all_gather_object,
    all_reduce,
    broadcast,
    broadcast_object_list,
    gather_object,
    get_rank,
    get_world_size,
    is_available,
    is_initialized,
    new_group,
)


def is_distributed() -> bool:
    """Tell whether the process group has more than one rank."""
    return is_available() and is_initialized() and get_world_size() > 1


def is_rank_zero() -> bool:
    """Whether this process is the one that answers for all."""
    return not is_distributed() or get_rank() == 0


def sum_over_ranks(numbers: Tensor) -> Tensor:
    """Sum a tensor over all ranks; every rank gets the sum."""
    if not is_distributed():
        return numbers
    total = numbers.clone()
    all_reduce(total)
    return total


def mean_over_ranks(numbers: Tensor) -> Tensor:
    """Average a tensor over all ranks; every rank gets the mean."""
    return sum_over_ranks(numbers) / get_world_size() if is_distributed() else numbers


def gather_on_rank_zero(value: Any) -> list[Any]:
    """Collect the values of all ranks, in their order, on rank 0; the other ranks get an empty list."""
    if not is_distributed():
        return [value]
    if get_rank() != 0:
        gather_object(value)
        return []
    values: list[Any] = [None] * get_world_size()
    gather_object(value, values)
    return values


def values_in_turn(value: Any) -> Iterator[Any]:
    """Pass the values of all ranks to every rank, in their order and one at a time, where a gather holds all at once.

    All ranks have to iterate to the end.
    """
    if not is_distributed():
        yield value
        return
    for rank in range(get_world_size()):
        passed = [value if rank == get_rank() else None]
        broadcast_object_list(passed, src=rank)
        yield passed[0]


def gather_on_all_ranks(value: Any) -> list[Any]:
    """Collect the values of all ranks, in their order, on every rank."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * get_world_size()
    all_gather_object(values, value)
    return values


def share_from_rank_zero(value: Any) -> Any:
    """Send an object of rank 0 to all ranks; what the others pass is ignored."""
    if not is_distributed():
        return value
    shared = [value]
    broadcast_object_list(shared)
    return shared[0]


def overwrite_from_rank_zero(*tensors: Tensor) -> None:
    """Overwrite tensors, in place, with those of rank 0."""
    if is_distributed():
        with torch.no_grad():
            for tensor in tensors:
                broadcast(tensor, 0)


class AsyncFlag:
    """A flag that any rank may raise and all ranks see at the same step, without waiting for each other.

    The ranks' flags are reduced on the hosts, in the background, while the next batch runs. A flag is therefore seen
    one call after it was raised, and no device is waited for. All ranks must create the object at the same place and
    call it equally often.
    """

    def __init__(self) -> None:
        self._group: ProcessGroup | None = None
        if is_distributed():
            group = new_group(backend="gloo")
            assert isinstance(group, ProcessGroup)  # all ranks are in it
            self._group = group
        self._pending: tuple[Work, Tensor] | None = None

    def any_rank(self, raised: bool) -> bool:
        """Tell whether any rank raised the flag at the previous call; with a single rank, whether it raises it now."""
        if self._group is None:
            return raised
        answer = self._result()
        flag = torch.tensor([int(raised)])
        work = all_reduce(flag, op=ReduceOp.MAX, group=self._group, async_op=True)
        assert work is not None
        self._pending = work, flag
        return answer

    def any_rank_now(self, raised: bool) -> bool:
        """Tell whether any rank raises the flag now; the ranks wait for each other."""
        self.any_rank(raised)
        return self._result() if self._group is not None else raised

    def _result(self) -> bool:
        if self._pending is None:
            return False
        work, flag = self._pending
        self._pending = None
        work.wait()
        return bool(flag.item())
