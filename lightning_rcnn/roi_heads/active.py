"""Selection of the regions that a head runs on: the one place where the CPU skips padding."""

import torch
from torch import Tensor


def active_indices(is_active: Tensor) -> Tensor:
    """Return the flat indices, int64 [B], of the regions that a head runs on.

    On the CPU, where reading a mask needs no sync, these are the active regions, or the first one if none is active, so
    that every parameter takes part in every step. On other devices and under a compiler these are all regions, because
    shapes stay fixed.

    Args:
        is_active: bool [...], True for regions that are not padding.
    """
    flat = is_active.flatten()
    has_values = type(flat) is Tensor and not torch.compiler.is_compiling()
    if flat.device.type != "cpu" or not has_values:
        return torch.arange(flat.numel(), device=flat.device)
    active = torch.nonzero(flat).squeeze(1)
    return active if len(active) else torch.zeros(1, dtype=torch.int64)


def active_length(is_active: Tensor) -> int:
    """Return how many of the first regions of each image a head runs on: all active ones are among them.

    On the CPU these are as many as the image with the most needs, at least one; elsewhere all.

    Args:
        is_active: bool [N, R].
    """
    has_values = type(is_active) is Tensor and not torch.compiler.is_compiling()
    if is_active.device.type != "cpu" or not has_values:
        return is_active.shape[1]
    return max(1, int((is_active * torch.arange(1, is_active.shape[1] + 1)).max()))
