"""Weights in 16 bits: a file of half the size that computes as before.

Weights are stored as float16 and widened in the graph, which every format and runtime can do. To compute in 16 bits is
another matter: few runtimes can on a processor, and boxes need float32.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lightning_rcnn.errors import InputError

LAYERS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
"""Layers whose weights are stored in 16 bits; biases and norms, which are small, are not."""


class _Widened(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.float()


def with_half_weights(detector: Any) -> Any:
    """Copy a detector with the weights of its layers rounded to float16, in which they are stored.

    Args:
        detector: the detector, an `nn.Module`.

    Raises:
        InputError: a weight exceeds the range of float16.
    """
    halved = copy.deepcopy(detector)
    for name, layer in list(halved.named_modules()):
        if not isinstance(layer, LAYERS):
            continue
        weight = layer.weight.detach().half()
        if not weight.isfinite().all():
            limit = torch.finfo(torch.float16).max
            raise InputError(f"part {name}: a weight is beyond {limit:g}, the range of float16; leave out half")
        layer.weight = nn.Parameter(weight, requires_grad=False)
        parametrize.register_parametrization(layer, "weight", _Widened(), unsafe=True)
    return halved
