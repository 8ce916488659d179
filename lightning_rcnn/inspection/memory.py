"""Estimate the memory of a training step on a GPU, without one.

Most of it are the feature maps that the backward pass needs. They are counted exactly: backbone, region proposal
network and heads run once on the meta device, which computes shapes only, and what autograd keeps is added up. The rest
(gradients in flight, workspaces, the context of CUDA) is a stated share.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call

CONTEXT_BYTES = 0.7e9
"""CUDA's context and cuDNN's and cuBLAS's workspaces."""
IN_FLIGHT = 1.25
"""Kept maps and the gradients and workspaces of the layer at work, relative to the maps alone."""
_SIDE = 256
"""Edge of the image on the meta device, pixels."""


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a training step in 32 bits; in 16 bits, maps and regions need half.

    Attributes:
        fixed: weights, their gradients and the state of the optimizer, and CUDA's context.
        per_pixel: maps, for each pixel of the padded images.
        per_image: pooled regions of an image.
    """

    fixed: float
    per_pixel: float
    per_image: float

    def batch_size(self, memory: float, pixels: float, *, bits: int) -> int:
        """Return how many images of `pixels` padded pixels fit into `memory` bytes, with 16 or 32 bits."""
        one = (self.per_pixel * pixels + self.per_image) * bits / 32
        return max(0, int((memory - self.fixed) / one))


def step_memory(detector: Any, optimizer_states: int) -> StepMemory | None:
    """Estimate the memory of a training step.

    Args:
        detector: detector with a `backbone`, and perhaps `rpn`, `pooler`, `box` and `mask`.
        optimizer_states: numbers that the optimizer keeps for each weight: 1 for momentum, 2 for Adam.

    Returns:
        The estimate; None for a network that cannot run on the meta device.
    """
    weights = sum(weight.numel() for weight in detector.parameters())
    trained = sum(weight.numel() for weight in detector.parameters() if weight.requires_grad)
    dense = [detector.backbone] + ([detector.rpn.head] if hasattr(detector, "rpn") else [])
    maps = _kept_bytes(dense, torch.empty(1, detector.backbone.in_channels, _SIDE, _SIDE, device="meta"))
    regions = [_kept_bytes(modules, pooled) for modules, pooled in _region_networks(detector)]
    if maps is None or None in regions:
        return None
    fixed = 4 * (weights + (1 + optimizer_states) * trained) + CONTEXT_BYTES
    return StepMemory(fixed, IN_FLIGHT * maps / _SIDE**2, IN_FLIGHT * sum(filter(None, regions)))


def _region_networks(detector: Any) -> Iterator[tuple[list[nn.Module], Tensor]]:
    """Yield the networks on the pooled regions of an image, with an input on the meta device."""
    if not hasattr(detector, "box") or not hasattr(detector, "pooler"):
        return
    backbone, box = detector.backbone, detector.box
    stages = [detector.pooler.stage] if detector.pooler.has_stage else []
    channels = backbone.out_channels
    size = (box.settings.samples_per_image, channels, box.pooled_size, box.pooled_size)
    yield [*stages, box.head], torch.empty(size, device="meta")
    if hasattr(detector, "keypoint"):
        side = detector.keypoint.pooled_size
        yield [detector.keypoint.head], torch.empty((box.max_positives, channels, side, side), device="meta")
    if hasattr(detector, "mask"):
        side = detector.mask.pooled_size
        channels = backbone.region_channels if stages else channels
        yield [detector.mask.head], torch.empty((box.max_positives, channels, side, side), device="meta")


def _kept_bytes(modules: list[nn.Module], inputs: Tensor) -> float | None:
    """Return the bytes that autograd keeps of modules, one after the other; weights do not count."""
    states = [
        {
            name: nn.Parameter(value.to("meta"), value.requires_grad)
            if isinstance(value, nn.Parameter)
            else value.to("meta")
            for name, value in [*module.named_parameters(), *module.named_buffers()]
        }
        for module in modules
    ]
    own = {value.untyped_storage()._cdata for state in states for value in state.values()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in own:
            kept[storage] = tensor  # held, so that no other storage gets its address
        return tensor

    try:
        with saved_tensors_hooks(keep, lambda tensor: tensor), torch.random.fork_rng(devices=[]), torch.enable_grad():
            outputs: Any = inputs
            for module, state in zip(modules, states, strict=True):
                outputs = functional_call(module, state, (outputs,))
    except Exception:  # a custom network may fail in any way on the meta device
        return None
    return float(sum(tensor.untyped_storage().nbytes() for tensor in kept.values()))
