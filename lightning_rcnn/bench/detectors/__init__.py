"""Times detectors against torchvision's of the same architecture and weights, and shows where a step's time goes."""

from lightning_rcnn.bench.detectors.contenders import (
    Architecture,
    BackboneName,
    CompilationPlan,
    Contender,
    DetectorName,
    Task,
    build_contenders,
    training_precision,
    training_step,
)
from lightning_rcnn.bench.detectors.parts import PartUsage, profile_parts
from lightning_rcnn.bench.detectors.scene import MIN_SIDE, Scene
from lightning_rcnn.bench.detectors.step_profile import profile_step
from lightning_rcnn.bench.detectors.streamed import StreamedBatches

__all__ = [
    "MIN_SIDE",
    "Architecture",
    "BackboneName",
    "CompilationPlan",
    "Contender",
    "DetectorName",
    "PartUsage",
    "Scene",
    "StreamedBatches",
    "Task",
    "build_contenders",
    "profile_parts",
    "profile_step",
    "training_precision",
    "training_step",
]
