"""The contenders: our RoIAlign, and torchvision's as people run it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torchvision.ops
from torch import Tensor

from lightning_rcnn.bench.roi_align.workload import Workload
from lightning_rcnn.ops.dispatch import Implementation
from lightning_rcnn.ops.roi_align import multiscale_roi_align

_LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}

Pool = Callable[[], Tensor]


class Times(NamedTuple):
    """Milliseconds of one turn.

    Attributes:
        forward, backward: each direction; on a GPU by its own clock.
        wall: both together, from call to result, by the host's clock.
    """

    forward: float
    backward: float
    wall: float


@dataclass
class Contender:
    """One implementation, with its own copy of the features as leaves.

    Attributes:
        name: name in the table.
        peer: name of the contender that it is compared with.
        features: leaves that receive gradients.
        pool: returns the pooled regions, [R, C, bins, bins].
        times: one entry for each repeat.
    """

    name: str
    peer: str
    features: list[Tensor]
    pool: Pool
    times: list[Times] = field(default_factory=list)

    @property
    def forward_ms(self) -> list[float]:
        """Forward, for each repeat."""
        return [times.forward for times in self.times]

    @property
    def backward_ms(self) -> list[float]:
        """Backward, for each repeat."""
        return [times.backward for times in self.times]

    @property
    def total_ms(self) -> list[float]:
        """Forward and backward together, for each repeat."""
        return [times.forward + times.backward for times in self.times]

    @property
    def wall_ms(self) -> list[float]:
        """Forward and backward from call to result, for each repeat."""
        return [times.wall for times in self.times]

    @property
    def itemsize(self) -> int:
        """Bytes of one number of the features."""
        return self.features[0].element_size()


def cpu_contenders(workload: Workload, rois: Tensor) -> list[Contender]:
    """Both operators in float32 and both layouts; all are compared with torchvision on NCHW, its default."""
    features = workload.features()
    baseline = "torchvision NCHW"
    contenders = []
    for operator, pool_with in (("torchvision", _theirs), ("lightning-rcnn", _ours)):
        for layout in _LAYOUTS:
            leaves = _leaves(features, "cpu", torch.float32, layout)
            contenders.append(Contender(f"{operator} {layout}", baseline, leaves, pool_with(workload, rois, leaves)))
    return contenders


def cuda_contenders(workload: Workload, rois: Tensor) -> list[Contender]:
    """Our kernels in each type and layout, each compared with torchvision's operator on the same features.

    Torchvision's operator lacks bfloat16: autocast converts its input to float32, as in training. In float16 it is
    called without autocast and with regions in float16, because it requires both to have one type.
    """
    features = workload.features()
    rois = rois.to("cuda")
    cases = (("bf16", torch.bfloat16, "NHWC"), ("fp16", torch.float16, "NHWC"))
    contenders = []
    for name, dtype, layout in (*cases, ("fp32", torch.float32, "NHWC"), ("fp32", torch.float32, "NCHW")):
        peer = f"torchvision {name} {layout}"
        leaves = _leaves(features, "cuda", dtype, layout)
        theirs = _theirs(workload, rois.half() if name == "fp16" else rois, leaves)
        contenders.append(Contender(peer, peer, leaves, _autocast(theirs) if name == "bf16" else theirs))
        leaves = _leaves(features, "cuda", dtype, layout)
        contenders.append(
            Contender(f"lightning-rcnn {name} {layout}", peer, leaves, _ours(workload, rois, leaves, impl="cuda"))
        )
    return contenders


def _leaves(features: list[Tensor], device: str, dtype: torch.dtype, layout: str) -> list[Tensor]:
    return [f.to(device, dtype, copy=True, memory_format=_LAYOUTS[layout]).requires_grad_() for f in features]


def _theirs(workload: Workload, rois: Tensor, leaves: list[Tensor]) -> Pool:
    names = [str(level) for level in range(len(leaves))]
    pooler = torchvision.ops.MultiScaleRoIAlign(names, workload.bins, sampling_ratio=2)
    boxes = [rois[rois[:, 0] == image, 1:] for image in range(workload.num_images)]
    image_sizes = [(workload.height, workload.width)] * workload.num_images
    return lambda: pooler(dict(zip(names, leaves, strict=True)), boxes, image_sizes)


def _autocast(pool: Pool) -> Pool:
    def pool_under_autocast() -> Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            return pool()

    return pool_under_autocast


def _ours(workload: Workload, rois: Tensor, leaves: list[Tensor], impl: Implementation = "auto") -> Pool:
    return lambda: multiscale_roi_align(leaves, rois, output_size=workload.bins, scales=workload.scales, impl=impl)
