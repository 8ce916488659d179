"""Both libraries' detectors as things to be run once: a training step, or the detection of a batch."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.profiler import record_function
from torchvision.models.detection import FasterRCNN as TorchvisionFasterRCNN
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.bench.detectors.scene import Scene
from lightning_rcnn.checkpoints.torchvision import export
from lightning_rcnn.compilation import Scope, compile_training
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.masks.paste import paste_densely
from lightning_rcnn.precision import BF16, FLOAT32, autocast

DetectorName = Literal["faster_rcnn", "mask_rcnn"]
Task = Literal["step", "infer"]
Precision = Literal["float32", "bfloat16"]
_AUTOCAST: dict[Precision, str] = {"float32": FLOAT32, "bfloat16": BF16}
Layout = Literal["NCHW", "channels last"]
Library = Literal["torchvision", "lightning-rcnn"]


@dataclass(frozen=True)
class Architecture:
    """What both libraries build.

    Attributes:
        detector: which of the two.
        backbone: a ResNet, with a feature pyramid.
        num_classes: without background.
        min_size, max_size: the network's rule for images, under which those of the scene stay as they are.
    """

    detector: DetectorName
    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101"]
    num_classes: int
    min_size: int
    max_size: int

    @property
    def has_masks(self) -> bool:
        """Whether the detector has masks."""
        return self.detector == "mask_rcnn"

    def ours(self) -> FasterRCNN | MaskRCNN:
        """Our detector, with random weights and its default numbers."""
        names = [f"class {label}" for label in range(1, self.num_classes + 1)]
        kind = MaskRCNN if self.has_masks else FasterRCNN
        sizes = PreprocessingSettings(min_size=self.min_size, max_size=self.max_size)
        return kind(names, backbone=ResNetFPN(self.backbone), preprocessing=sizes)

    def torchvision(self, ours: Detector) -> nn.Module:
        """Torchvision's with the same weights, and its default numbers."""
        body = resnet_fpn_backbone(
            backbone_name=self.backbone, weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5
        )
        anchors = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)
        kind = TorchvisionMaskRCNN if self.has_masks else TorchvisionFasterRCNN
        theirs = kind(body, self.num_classes + 1, self.min_size, self.max_size, rpn_anchor_generator=anchors)
        theirs.load_state_dict(export(ours.state_dict(), Path("our weights")))
        return theirs


@dataclass(frozen=True)
class CompilationPlan:
    """How to train compiled: arguments of `compile_training`."""

    scope: Scope
    capture: bool

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.scope} {'captured' if self.capture else 'compiled'}"


@dataclass
class Contender:
    """One detector in one precision and layout.

    Attributes:
        library, precision, layout: which it is.
        run: does once what is timed.
        way: how it is compiled, for people; empty if it is not.
        seconds: one figure for each repeat.
        peak_bytes: the most memory that one run needed on top of what lay there before; 0 where it cannot be told.
    """

    library: Library
    precision: Precision
    layout: Layout
    run: Callable[[], object]
    way: str = ""
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0


def contenders(
    scene: Scene, architecture: Architecture, task: Task, device: torch.device, compilation: CompilationPlan | None
) -> list[Contender]:
    """Torchvision's as people run it (NCHW; float32 or automatic mixed precision), theirs and ours channels last.

    All have the same weights, and so the same proposals.

    Args:
        scene: what they look at.
        architecture: of all.
        task: what they do.
        device: where.
        compilation: of another one of ours in each precision, trained compiled; None for none.
    """
    scene = scene.to(device)
    original = architecture.ours()
    found = []
    for library, precision, layout, plan in _settings(compilation):
        ours = copy.deepcopy(original)
        detector: nn.Module = ours if library == "lightning-rcnn" else architecture.torchvision(ours)
        if library == "torchvision" and layout == "channels last":
            detector = detector.to(memory_format=torch.channels_last)
        detector = detector.to(device).train(task == "step")
        if plan is not None:
            assert isinstance(detector, Detector)
            compile_training(detector, plan.scope, plan.capture)
        run: Callable[[], object]
        if task == "step":
            run = training_step(detector, _losses(library, detector, scene, architecture.has_masks), precision, device)
        else:
            run = _inference(_detection(library, detector, scene), precision, device)
        found.append(Contender(library, precision, layout, run, "" if plan is None else plan.words))
    return found


def _settings(
    compilation: CompilationPlan | None,
) -> Iterator[tuple[Library, Precision, Layout, CompilationPlan | None]]:
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions:
        yield "torchvision", precision, "NCHW", None
        yield "torchvision", precision, "channels last", None
        yield "lightning-rcnn", precision, "channels last", None
        if compilation is not None:
            yield "lightning-rcnn", precision, "channels last", compilation


def _losses(library: Library, detector: nn.Module, scene: Scene, has_masks: bool) -> Callable[[], dict[str, Tensor]]:
    if library == "torchvision":
        images, truth = scene.torchvision_images(), scene.torchvision_targets(has_masks)
        return lambda: detector(images, truth)
    assert isinstance(detector, Detector)
    inputs, targets = scene.inputs(), scene.targets(has_masks)
    return lambda: detector.losses(inputs, targets)


def _detection(library: Library, detector: nn.Module, scene: Scene) -> Callable[[], object]:
    """Boxes, and masks as pixels of the whole image, which is how torchvision gives them."""
    if library == "torchvision":
        images = scene.torchvision_images()
        return lambda: detector(images)
    assert isinstance(detector, Detector)
    inputs, (height, width) = scene.inputs(), scene.images.shape[-2:]

    def detect() -> object:
        detections, _ = detector.predict(inputs)
        if detections.masks is None:
            return detections
        images = zip(detections.masks, detections.boxes, detections.labels > 0, strict=True)
        return detections, [
            paste_densely(masks[is_there], boxes[is_there], height, width, detector.mask_paste)
            for masks, boxes, is_there in images
        ]

    return detect


def training_step(
    detector: nn.Module, losses: Callable[[], dict[str, Tensor]], precision: Precision, device: torch.device
) -> Callable[[], None]:
    """What runs forward, backward, clipping of gradients and SGD once.

    The learning rate is 0: with weights that move, one detector's proposals would meet more objects than another's, and
    its mask head twice as many regions.
    """
    parameters = list(detector.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.0, momentum=0.9)

    def step() -> None:
        torch.compiler.cudagraph_mark_step_begin()  # captured graphs may use their memory again
        with autocast(_AUTOCAST[precision], device):
            total = torch.stack(list(losses().values())).sum()
        optimizer.zero_grad()
        total.backward()
        with record_function("part: optimizer"):
            torch.nn.utils.clip_grad_norm_(parameters, 10.0)
            optimizer.step()

    return step


def _inference(detect: Callable[[], object], precision: Precision, device: torch.device) -> Callable[[], object]:
    def infer() -> object:
        with torch.inference_mode(), autocast(_AUTOCAST[precision], device):
            return detect()

    return infer
