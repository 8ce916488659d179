"""Times RoIAlign against torchvision's `MultiScaleRoIAlign` on the same pyramid and the same regions."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torchvision.ops
from torch import Tensor

from lightning_rcnn.roi.align import multiscale_roi_align


@dataclass(frozen=True)
class Workload:
    """A pyramid and the regions pooled from it.

    Attributes:
        num_images, height, width: of the network's input.
        num_channels: of every level.
        strides: of the levels, finest first.
        num_rois: in all images together.
        bins: of the output, along each side.
        clustered: whether the regions crowd round eight objects an image, as sampled proposals do, or lie anywhere.
    """

    num_images: int
    height: int
    width: int
    num_channels: int
    strides: tuple[int, ...]
    num_rois: int
    bins: int
    clustered: bool

    def features(self) -> list[Tensor]:
        """Random features of every level, float32 NCHW on the CPU."""
        sizes = [(math.ceil(self.height / stride), math.ceil(self.width / stride)) for stride in self.strides]
        return [torch.randn(self.num_images, self.num_channels, height, width) for height, width in sizes]

    def rois(self) -> Tensor:
        """[R, 5], image by image, sides log-normal about 100 pixels."""
        num_sources = 8 * self.num_images if self.clustered else self.num_rois
        sides = torch.exp(0.8 * torch.randn(num_sources, 2) + math.log(100)).clamp(8, self.height)
        centres = torch.rand(num_sources, 2) * torch.tensor([self.width, self.height])
        images = torch.arange(num_sources) * self.num_images // num_sources
        if self.clustered:
            source = torch.arange(self.num_rois) * num_sources // self.num_rois
            sides, centres, images = sides[source], centres[source], images[source]
            centres = centres + 0.15 * sides * torch.randn(self.num_rois, 2)
            sides = sides * torch.exp(0.2 * torch.randn(self.num_rois, 2))
        corners = torch.cat((centres - sides / 2, centres + sides / 2), dim=1)
        limits = torch.tensor([self.width, self.height, self.width, self.height])
        return torch.cat((images[:, None].float(), corners.clamp(min=0).minimum(limits)), dim=1)


@dataclass
class Contender:
    """One way of pooling, with its own copy of the features as leaves.

    Attributes:
        name: for the table.
        features: leaves that receive gradients.
        pool: the features' regions, [R, C, bins, bins].
        forward_ms, backward_ms: one figure for each repeat.
    """

    name: str
    features: list[Tensor]
    pool: Callable[[], Tensor]
    forward_ms: list[float]
    backward_ms: list[float]

    @property
    def total_ms(self) -> list[float]:
        """Forward and backward together, for each repeat."""
        return [forward + backward for forward, backward in zip(self.forward_ms, self.backward_ms, strict=True)]


def cpu_contenders(workload: Workload) -> list[Contender]:
    """Both operators in float32 on NCHW and channels-last features; torchvision on NCHW, its default, comes first."""
    features, rois = workload.features(), workload.rois()
    boxes = [rois[rois[:, 0] == image, 1:] for image in range(workload.num_images)]
    image_sizes = [(workload.height, workload.width)] * workload.num_images
    scales = [1 / stride for stride in workload.strides]

    def theirs(leaves: list[Tensor]) -> Callable[[], Tensor]:
        names = [str(level) for level in range(len(leaves))]
        pooler = torchvision.ops.MultiScaleRoIAlign(names, workload.bins, sampling_ratio=2)
        return lambda: pooler(dict(zip(names, leaves, strict=True)), boxes, image_sizes)

    def ours(leaves: list[Tensor]) -> Callable[[], Tensor]:
        return lambda: multiscale_roi_align(leaves, rois, output_size=workload.bins, scales=scales)

    contenders = []
    for operator, pool in (("torchvision", theirs), ("lightning-rcnn", ours)):
        for layout, memory_format in (("NCHW", torch.contiguous_format), ("NHWC", torch.channels_last)):
            leaves = [f.clone(memory_format=memory_format).requires_grad_() for f in features]
            contenders.append(Contender(f"{operator} {layout}", leaves, pool(leaves), [], []))
    return contenders


def race(contenders: Sequence[Contender], repeats: int, warm_up: int = 2) -> None:
    """Times forward and backward of every contender, turn by turn, so that a busy machine slows all of them alike."""
    for repeat in range(warm_up + repeats):
        for contender in contenders:
            for leaf in contender.features:
                leaf.grad = None
            start = time.perf_counter()
            pooled = contender.pool()
            middle = time.perf_counter()
            grad = torch.randn_like(pooled)
            resumed = time.perf_counter()
            pooled.backward(grad)
            end = time.perf_counter()
            if repeat >= warm_up:
                contender.forward_ms.append(1e3 * (middle - start))
                contender.backward_ms.append(1e3 * (end - resumed))


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, median, upper
