"""A question that all ranks are asked at the end of a batch, and that costs them no time."""

import torch
from torch import Tensor
from torch.distributed import (
    ProcessGroup,
    ReduceOp,
    Work,
    all_reduce,
    get_world_size,
    is_available,
    is_initialized,
    new_group,
)


class Agreement:
    """Tells all ranks, at the same place, whether any of them wants something.

    The ranks' answers travel on the hosts, while these go on to the next batch. So one learns of a wish one question
    after it was first told, a device is never waited for, and all ranks learn of it at the same question. All have to
    be made at the same place and asked equally often.
    """

    def __init__(self) -> None:
        self._group: ProcessGroup | None = None
        if is_available() and is_initialized() and get_world_size() > 1:
            group = new_group(backend="gloo")
            assert isinstance(group, ProcessGroup)  # all ranks are in it
            self._group = group
        self._under_way: tuple[Work, Tensor] | None = None

    def ask(self, wanted: bool) -> bool:
        """Whether any rank wanted it at the question before this one; of a single rank, whether it wants it now."""
        if self._group is None:
            return wanted
        answer = self._arrived()
        wish = torch.tensor([int(wanted)])
        work = all_reduce(wish, op=ReduceOp.MAX, group=self._group, async_op=True)
        assert work is not None
        self._under_way = work, wish
        return answer

    def ask_now(self, wanted: bool) -> bool:
        """Whether any rank wants it now; the ranks wait for each other."""
        self.ask(wanted)
        return self._arrived() if self._group is not None else wanted

    def _arrived(self) -> bool:
        if self._under_way is None:
            return False
        work, wish = self._under_way
        self._under_way = None
        work.wait()
        return bool(wish.item())
