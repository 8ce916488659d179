"""Which regions a head works on: the one place where a CPU may skip padding and other devices may not."""

import torch
from torch import Tensor


def active_indices(is_active: Tensor) -> Tensor:
    """Return flat indices, int64 [B], of the regions that a head is applied to.

    On the CPU, where reading a mask waits for nothing, these are the active ones, and one more if there are none, so
    that every parameter takes part in every step. On other devices, and under a compiler, shapes stay fixed: these are
    all regions.

    Args:
        is_active: bool [...].
    """
    flat = is_active.flatten()
    has_values = type(flat) is Tensor and not torch.compiler.is_compiling()
    if flat.device.type != "cpu" or not has_values:
        return torch.arange(flat.numel(), device=flat.device)
    active = torch.nonzero(flat).squeeze(1)
    return active if len(active) else torch.zeros(1, dtype=torch.int64)
