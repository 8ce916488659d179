"""Sharded training: every rank keeps a part of each weight, of its gradient and of its optimizer state.

Source: torch's `fully_shard` (FSDP2; Zhao et al. 2023, arXiv 2304.11277; Rajbhandari et al. 2020, arXiv 1910.02054,
stage 3). Parts say which of their layers are gathered one at a time, in `sharded_layers`: the blocks of a transformer.
All other weights are one more group, which stays gathered from the first layer of a step to the last.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from lightning_rcnn.distributed import overwrite_from_rank_zero

DATA_PARALLEL = "data_parallel"
"""Dimension of Lightning's device mesh over which weights are sharded."""
_ENTRIES = ("predict", "evaluate")
"""Methods of a detector that compute with its weights and are called beside `forward`."""


def sharded_layers(detector: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers that parts offer to be gathered one at a time: name, module."""
    for prefix, part in detector.named_modules():
        for layer in getattr(part, "sharded_layers", ()):
            yield f"{prefix}.{layer}".lstrip("."), part.get_submodule(layer)


def shard(detector: nn.Module, mesh: DeviceMesh) -> None:
    """Shard the weights of a detector over the ranks of a mesh, in place; they become `DTensor`s.

    All ranks start with the weights and buffers of rank 0, as in DDP.

    Args:
        detector: detector that is not sharded yet, on any device.
        mesh: mesh of one dimension, all ranks.
    """
    _take_from_rank_zero(chain(detector.parameters(), detector.buffers()), torch.device(mesh.device_type))
    for _, layer in sharded_layers(detector):
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    # Its weights are the last of the forward pass and the first of the backward pass, so they stay gathered between.
    fully_shard(detector, mesh=mesh, reshard_after_forward=False)
    for name in _ENTRIES:
        register_fsdp_forward_method(detector, name)


def is_sharded(detector: nn.Module) -> bool:
    """Tell whether the weights of a detector are sharded."""
    return isinstance(detector, FSDPModule)


def free_gathered(detector: nn.Module) -> None:
    """Free the gathered weights that an evaluation left, so that `parameters()` are the shards again."""
    for module in detector.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def class_before_sharding(detector: nn.Module) -> type:
    """Return the class of a detector; `fully_shard` derives one from it and from `FSDPModule`."""
    own = type(detector)
    return own.__mro__[own.__mro__.index(FSDPModule) + 1] if is_sharded(detector) else own


def own_part(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this rank keeps, sharing memory; a plain tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gathered(tensor: Tensor) -> Tensor:
    """Return the whole of a tensor, on all ranks together; a plain tensor as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def as_sharded(whole: Tensor, like: Tensor) -> Tensor:
    """Return this rank's part of a tensor that all ranks have, if `like` of the same shape is sharded.

    Args:
        whole: tensor on any device.
        like: tensor whose layout and device it gets.
    """
    if not isinstance(like, DTensor) or whole.shape != like.shape:
        return whole
    whole = whole.to(like.to_local().device)
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def _take_from_rank_zero(tensors: Iterable[Tensor], device: torch.device) -> None:
    """Overwrite tensors with those of rank 0, one at a time on the device: the ranks may not talk on another one."""
    for tensor in tensors:
        there = tensor.detach().to(device)
        overwrite_from_rank_zero(there)
        tensor.detach().copy_(there)
