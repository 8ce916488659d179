"""Random sample of bounded size from a stream of examples that is split among ranks.

Shape letters: E examples, F features, T targets.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_rcnn.distributed import gather_on_all_ranks


class Examples(NamedTuple):
    """Examples: `features` float32 [E, F], `targets` float32 [E, T], and random `keys` float32 [E]."""

    features: Tensor
    targets: Tensor
    keys: Tensor


class ExamplePool:
    """Pool of the examples with the highest keys; the choice depends on the keys alone.

    Args:
        limit: number of examples in the sample; the pool holds up to 1.25 times as many.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._parts: list[Examples] = []
        self._lowest = -torch.inf

    def add(self, examples: Examples) -> None:
        """Add examples on the CPU."""
        candidates = _select(examples, torch.nonzero(examples.keys >= self._lowest).squeeze(1))
        if len(candidates.keys):
            self._parts.append(candidates)
        if sum(len(part.keys) for part in self._parts) > 1.25 * self.limit:
            examples = self._concatenated()
            best = examples.keys.topk(self.limit)
            self._parts = [_select(examples, best.indices)]
            self._lowest = best.values[-1].item()

    def chosen(self) -> Examples | None:
        """Return this rank's examples among the highest keys of all ranks; None if this rank has no examples.

        All ranks must call it together.
        """
        own = self._concatenated() if self._parts else None
        keys = torch.cat(gather_on_all_ranks(own.keys if own is not None else torch.zeros(0)))
        if own is None or len(keys) <= self.limit:
            return own
        lowest = keys.topk(self.limit).values[-1]
        return _select(own, torch.nonzero(own.keys >= lowest).squeeze(1))

    def _concatenated(self) -> Examples:
        return Examples(*map(torch.cat, zip(*self._parts, strict=True)))


def _select(examples: Examples, indices: Tensor) -> Examples:
    return Examples(*(tensor[indices] for tensor in examples))
