"""The contenders: a training step, or the detection of a batch, of both libraries' detectors."""

import copy
from collections.abc import Callable, Iterator, Sequence
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
from lightning_rcnn.bench.detectors.exported import exported_detections, paste_all
from lightning_rcnn.bench.detectors.scene import Scene
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.torchvision import export
from lightning_rcnn.compilation import Scope, compile_training
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.export.exporting import FormatName
from lightning_rcnn.precision import BF16, FLOAT32, autocast, choose_precision

DetectorName = Literal["faster_rcnn", "mask_rcnn"]
BackboneName = Literal["resnet18", "resnet34", "resnet50", "resnet101"]
Task = Literal["step", "infer"]
Precision = Literal["float32", "bfloat16"]
_TITLES = {"step": "training step", "infer": "detection", "faster_rcnn": "Faster R-CNN", "mask_rcnn": "Mask R-CNN"}
_AUTOCAST: dict[Precision, str] = {"float32": FLOAT32, "bfloat16": BF16}
Layout = Literal["NCHW", "channels last"]
Library = Literal["torchvision", "lightning-rcnn"]
_LAYOUTS: dict[FormatName, Layout] = {"pt2": "channels last", "onnx": "NCHW", "aoti": "channels last"}


@dataclass(frozen=True)
class Architecture:
    """The detector that both libraries build.

    Attributes:
        detector: Faster or Mask R-CNN.
        backbone: name of the ResNet under the feature pyramid.
        num_classes: number of classes without background.
        min_size, max_size: resize rule of the network in pixels, which leaves the scene's images as they are.
    """

    detector: DetectorName
    backbone: BackboneName
    num_classes: int
    min_size: int
    max_size: int

    def title(self, task: Task, size: tuple[int, int, int], device: torch.device) -> str:
        """Describe a benchmark in one line; `size` is (images, height, width)."""
        num_images, height, width = size
        what = f"{_TITLES[task]}, {_TITLES[self.detector]} {self.backbone} FPN"
        return f"{what}, {num_images} x {height} x {width}, {device}"

    @property
    def has_masks(self) -> bool:
        """Tell whether the detector predicts masks."""
        return self.detector == "mask_rcnn"

    def ours(self) -> FasterRCNN | MaskRCNN:
        """Build our detector with random weights and default settings."""
        names = [f"class {label}" for label in range(1, self.num_classes + 1)]
        kind = MaskRCNN if self.has_masks else FasterRCNN
        sizes = PreprocessingSettings(min_size=self.min_size, max_size=self.max_size)
        return kind(names, backbone=ResNetFPN(self.backbone), preprocessing=sizes)

    def torchvision(self, ours: Detector) -> nn.Module:
        """Build torchvision's detector with the weights of ours and default settings."""
        body = resnet_fpn_backbone(
            backbone_name=self.backbone, weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5
        )
        anchors = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)
        kind = TorchvisionMaskRCNN if self.has_masks else TorchvisionFasterRCNN
        theirs = kind(body, self.num_classes + 1, self.min_size, self.max_size, rpn_anchor_generator=anchors)
        theirs.load_state_dict(export(WeightFile(Path("our weights"), ours.state_dict())))
        return theirs


@dataclass(frozen=True)
class CompilationPlan:
    """Arguments of `compile_training`."""

    scope: Scope
    capture: bool

    @property
    def label(self) -> str:
        """Name in tables."""
        return f"{self.scope} {'captured' if self.capture else 'compiled'}"


@dataclass
class Contender:
    """One detector in one precision and layout.

    Attributes:
        library, precision, layout: what tells it from the others.
        run: runs once what is timed.
        compilation: how it is compiled, or the format of an exported file, as a name in tables; empty if neither.
        seconds: wall time of each repeat.
        peak_bytes: memory that one run needed beyond what was in use before; 0 if it cannot be told.
    """

    library: Library
    precision: Precision
    layout: Layout
    run: Callable[[], object]
    compilation: str = ""
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0


def build_contenders(
    scene: Scene,
    architecture: Architecture,
    task: Task,
    device: torch.device,
    compilation: CompilationPlan | None,
    formats: Sequence[FormatName] = (),
) -> list[Contender]:
    """Build torchvision's detector as people run it, the same channels last, and ours, all in both precisions.

    All have the same weights, and so the same proposals.

    Args:
        scene: batch that all look at.
        architecture: architecture of all.
        task: what is timed.
        device: device that all run on.
        compilation: adds ours compiled in each precision; None adds nothing.
        formats: adds ours as exported files, which compute in float32; a .pt2 program also in bfloat16.
    """
    scene = scene.to(device)
    original = architecture.ours()
    runners = []
    for library, precision, layout, plan in _variants(compilation):
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
        runners.append(Contender(library, precision, layout, run, "" if plan is None else plan.label))
    exported = exported_detections(copy.deepcopy(original).to(device).eval(), scene, formats)
    for name, run in exported:
        runners.append(Contender("lightning-rcnn", "float32", _LAYOUTS[name], run, name))
        if name == "pt2":
            in_bf16 = _inference(run, "bfloat16", device)
            runners.append(Contender("lightning-rcnn", "bfloat16", _LAYOUTS[name], in_bf16, name))
    return runners


def _variants(
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
    """Detect boxes, and masks pasted into whole images as torchvision returns them."""
    if library == "torchvision":
        images = scene.torchvision_images()
        return lambda: detector(images)
    assert isinstance(detector, Detector)
    inputs, size = scene.inputs(), scene.images.shape[-2:]
    return lambda: paste_all(detector.predict(inputs)[0], size, detector.mask_paste)


def training_precision(device: torch.device) -> Precision:
    """Return the precision that `--trainer.precision auto` takes on a device."""
    return "bfloat16" if choose_precision(accelerator=device.type) == BF16 else "float32"


def training_step(
    detector: nn.Module, losses: Callable[[], dict[str, Tensor]], precision: Precision, device: torch.device
) -> Callable[[], None]:
    """Return a function that runs forward, backward, gradient clipping and SGD once.

    The learning rate is 0: with weights that change, one detector's proposals would hit more objects than another's,
    and its mask head would see up to twice as many regions.
    """
    parameters = list(detector.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.0, momentum=0.9)

    def step() -> None:
        torch.compiler.cudagraph_mark_step_begin()  # captured graphs may reuse their memory
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
