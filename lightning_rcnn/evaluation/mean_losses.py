"""Mean losses of a validation, as one process with all images in one batch would have them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_rcnn.distributed import gather_on_all_ranks
from lightning_rcnn.functional.losses import LossSum

TOTAL = "loss"
"""Name of the sum of all losses."""


class MeanLosses:
    """Adds up losses and the numbers of samples they are sums over, and divides once, over all ranks.

    So the mean does not depend on the batch size or the number of ranks, and empty slots, which have no samples, do
    not count. Nothing waits for the device before `compute`.
    """

    def __init__(self) -> None:
        self._sums: dict[str, list[Tensor]] = {}

    def update(self, sums: Mapping[str, LossSum]) -> None:
        """Add the losses of a batch."""
        for name, loss in sums.items():
            self._sums.setdefault(name, []).append(torch.stack([loss.total.float(), loss.number.float()]).detach())

    def compute(self) -> dict[str, float]:
        """Return their sum, `loss`, and each loss, the same on all ranks; empty if no rank has any."""
        # On the host: not every device has float64, and float32 does not hold the sum of many.
        held = {name: torch.stack(parts).cpu().double().sum(0).tolist() for name, parts in self._sums.items()}
        totals: dict[str, list[tuple[float, float]]] = {}
        for part in gather_on_all_ranks(held):
            for name, pair in part.items():
                totals.setdefault(name, []).append(pair)
        means = {
            name: sum(total for total, _ in pairs) / max(1.0, sum(number for _, number in pairs))
            for name, pairs in totals.items()
        }
        return {TOTAL: sum(means.values()), **means} if means else {}

    def reset(self) -> None:
        """Forget all losses."""
        self._sums = {}
