"""Times detectors against torchvision's of the same architecture and weights, and shows where a step's time goes."""

from lightning_rcnn.bench.detectors.contenders import (
    Architecture,
    CompilationPlan,
    Contender,
    DetectorName,
    contenders,
)
from lightning_rcnn.bench.detectors.parts import PartUsage, profile_parts
from lightning_rcnn.bench.detectors.scene import Scene
from lightning_rcnn.bench.detectors.streamed import StreamedBatches
from lightning_rcnn.bench.detectors.timing import race

__all__ = [
    "Architecture",
    "CompilationPlan",
    "Contender",
    "DetectorName",
    "PartUsage",
    "Scene",
    "StreamedBatches",
    "contenders",
    "profile_parts",
    "race",
]
