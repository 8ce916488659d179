"""A random choice of examples of bounded size, out of a stream that several ranks see in parts.

Shape letters: E examples, F features, T targets.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_rcnn.distributed import gather_on_all_ranks


class Examples(NamedTuple):
    """`features` float32 [E, F], `targets` float32 [E, T], and random `keys` float32 [E]."""

    features: Tensor
    targets: Tensor
    keys: Tensor


class ExamplePool:
    """Keeps the examples with the highest keys: which, depends on nothing but the keys.

    Args:
        limit: the most examples that are kept; up to a quarter more are held.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._parts: list[Examples] = []
        self._lowest = -torch.inf

    def add(self, examples: Examples) -> None:
        """Add examples, on the CPU."""
        candidates = _taken(examples, torch.nonzero(examples.keys >= self._lowest).squeeze(1))
        if len(candidates.keys):
            self._parts.append(candidates)
        if sum(len(part.keys) for part in self._parts) > 1.25 * self.limit:
            together = self._together()
            best = together.keys.topk(self.limit)
            self._parts = [_taken(together, best.indices)]
            self._lowest = best.values[-1].item()

    def chosen(self) -> Examples | None:
        """Those of this rank that are among the highest keys of all ranks; None if there are none.

        All ranks have to call it together.
        """
        own = self._together() if self._parts else None
        keys = torch.cat(gather_on_all_ranks(own.keys if own is not None else torch.zeros(0)))
        if own is None or len(keys) <= self.limit:
            return own
        lowest = keys.topk(self.limit).values[-1]
        return _taken(own, torch.nonzero(own.keys >= lowest).squeeze(1))

    def _together(self) -> Examples:
        return Examples(*map(torch.cat, zip(*self._parts, strict=True)))


def _taken(examples: Examples, indices: Tensor) -> Examples:
    return Examples(*(tensor[indices] for tensor in examples))
