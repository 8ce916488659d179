"""Times a training step against torchvision's detector of the same architecture on the same images."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN as TorchvisionFasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.structures import Inputs, Targets

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Scene:
    """What both detectors train on: noise with boxes, already of the network's size.

    Attributes:
        images: uint8 [N, 3, H, W].
        boxes: float32 [N, M, 4].
        labels: int64 [N, M].
    """

    images: Tensor
    boxes: Tensor
    labels: Tensor

    @classmethod
    def random(cls, num_images: int, height: int, width: int, num_objects: int, num_classes: int) -> "Scene":
        """Boxes of 5 to 45% of the image's sides, anywhere."""
        size = torch.tensor([width, height])
        sides = (0.05 + 0.4 * torch.rand(num_images, num_objects, 2)) * size
        corners = torch.rand(num_images, num_objects, 2) * (size - sides)
        return cls(
            torch.randint(0, 256, (num_images, 3, height, width), dtype=torch.uint8),
            torch.cat((corners, corners + sides), dim=-1),
            torch.randint(1, num_classes + 1, (num_images, num_objects)),
        )

    def to(self, device: torch.device) -> "Scene":
        """The same scene on `device`."""
        return Scene(self.images.to(device), self.boxes.to(device), self.labels.to(device))


@dataclass
class Contender:
    """One detector in one precision.

    Attributes:
        name: for the table.
        step: runs forward, backward and the optimiser once.
        seconds: one figure for each repeat.
    """

    name: str
    step: Callable[[], None]
    seconds: list[float] = field(default_factory=list)


def contenders(
    scene: Scene, backbone: str, num_classes: int, device: torch.device
) -> dict[tuple[str, Precision], Contender]:
    """Both detectors with their default numbers, in both precisions. torchvision's is NCHW, as people run it."""
    height, width = scene.images.shape[-2:]
    sizes = {"min_size": min(height, width), "max_size": max(height, width)}
    names = [f"class {label}" for label in range(1, num_classes + 1)]
    scene = scene.to(device)
    found: dict[tuple[str, Precision], Contender] = {}
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions:
        theirs = TorchvisionFasterRCNN(
            resnet_fpn_backbone(backbone_name=backbone, weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5),
            num_classes + 1,
            rpn_anchor_generator=AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5),
            **sizes,
        )
        ours = FasterRCNN(names, backbone=backbone, **sizes)  # type: ignore[arg-type]
        for library, detector, losses in (
            ("torchvision", theirs, _torchvision_losses(theirs, scene)),
            ("lightning-rcnn", ours, _own_losses(ours, scene)),
        ):
            step = _training_step(detector.to(device).train(), losses, precision, device)
            found[library, precision] = Contender(f"{library} {precision}", step)
    return found


def _torchvision_losses(detector: nn.Module, scene: Scene) -> Callable[[], dict[str, Tensor]]:
    images = list(scene.images / 255)
    truth = [{"boxes": boxes, "labels": labels} for boxes, labels in zip(scene.boxes, scene.labels, strict=True)]
    return lambda: detector(images, truth)


def _own_losses(detector: FasterRCNN, scene: Scene) -> Callable[[], dict[str, Tensor]]:
    num_images = len(scene.images)
    sizes = torch.tensor([scene.images.shape[-2:]] * num_images, device=scene.images.device)
    inputs = Inputs(scene.images, sizes, torch.arange(num_images, device=scene.images.device))
    targets = Targets(scene.boxes, scene.labels, torch.zeros_like(scene.labels, dtype=torch.bool))
    return lambda: detector.losses(inputs, targets)


def _training_step(
    detector: nn.Module, losses: Callable[[], dict[str, Tensor]], precision: Precision, device: torch.device
) -> Callable[[], None]:
    optimizer = torch.optim.SGD(detector.parameters(), lr=1e-4, momentum=0.9)

    def step() -> None:
        context: AbstractContextManager = nullcontext()
        if precision == "bfloat16":
            context = torch.autocast(device.type, torch.bfloat16)
        with context:
            total = torch.stack(list(losses().values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step


def race(runners: Sequence[Contender], repeats: int, warm_up: int = 2) -> None:
    """Times every contender's step, turn by turn, so that a busy machine slows all of them alike."""
    for repeat in range(warm_up + repeats):
        for runner in runners:
            start = time.perf_counter()
            runner.step()
            if repeat >= warm_up:
                runner.seconds.append(time.perf_counter() - start)
