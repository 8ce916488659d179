"""Which slots a head works on: the one place that tells a device on which padding may be skipped from the others."""

import torch
from torch import Tensor


def slots_to_compute(is_occupied: Tensor) -> Tensor:
    """Flat indices, int64 [B], of the slots that a head is applied to.

    On the CPU, where reading a mask waits for nothing, these are the occupied ones, and one more if there are none, so
    that every parameter takes part in every step. Elsewhere shapes stay fixed, and these are all slots; so also where a
    compiler looks on.

    Args:
        is_occupied: bool [...].
    """
    flat = is_occupied.flatten()
    has_values = type(flat) is Tensor and not torch.compiler.is_compiling()
    if flat.device.type != "cpu" or not has_values:
        return torch.arange(flat.numel(), device=flat.device)
    occupied = torch.nonzero(flat).squeeze(1)
    return occupied if len(occupied) else torch.zeros(1, dtype=torch.int64)
