"""lightning-rcnn: region-based detectors on PyTorch Lightning.

The names below are imported at first use, so `import lightning_rcnn` is instant.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "RCNN",
    "Backbone",
    "Batch",
    "CascadeMaskRCNN",
    "CascadeRCNN",
    "DetectionDataModule",
    "Detections",
    "Detector",
    "FastRCNN",
    "FasterRCNN",
    "InputError",
    "KeypointRCNN",
    "MaskRCNN",
    "Part",
    "PointRend",
    "ProposalNetwork",
    "Proposals",
    "RCNNBoxRegression",
    "RCNNClassification",
    "RCNNFineTuning",
    "Settings",
    "Skeleton",
    "Targets",
    "Transform",
    "load",
    "load_detector",
    "pack_samples",
    "read_index",
]

if TYPE_CHECKING:
    from lightning_rcnn.backbones.base import Backbone
    from lightning_rcnn.data.datamodule import DetectionDataModule
    from lightning_rcnn.data.pack.samples import pack_samples
    from lightning_rcnn.data.shards import read_index
    from lightning_rcnn.data.transforms.base import Transform
    from lightning_rcnn.detectors.base import Detector
    from lightning_rcnn.detectors.cascade_rcnn import CascadeMaskRCNN, CascadeRCNN
    from lightning_rcnn.detectors.fast_rcnn import FastRCNN
    from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
    from lightning_rcnn.detectors.keypoint_rcnn import KeypointRCNN
    from lightning_rcnn.detectors.loading import load, load_detector
    from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
    from lightning_rcnn.detectors.point_rend import PointRend
    from lightning_rcnn.detectors.proposal_network import ProposalNetwork
    from lightning_rcnn.detectors.rcnn.box_regression import RCNNBoxRegression
    from lightning_rcnn.detectors.rcnn.classification import RCNNClassification
    from lightning_rcnn.detectors.rcnn.fine_tuning import RCNNFineTuning
    from lightning_rcnn.detectors.rcnn.rcnn import RCNN
    from lightning_rcnn.errors import InputError
    from lightning_rcnn.parts import Part
    from lightning_rcnn.settings import Settings
    from lightning_rcnn.skeleton import Skeleton
    from lightning_rcnn.structures import Batch, Detections, Proposals, Targets

_MODULES = {
    "Backbone": "lightning_rcnn.backbones.base",
    "Batch": "lightning_rcnn.structures",
    "CascadeMaskRCNN": "lightning_rcnn.detectors.cascade_rcnn",
    "CascadeRCNN": "lightning_rcnn.detectors.cascade_rcnn",
    "DetectionDataModule": "lightning_rcnn.data.datamodule",
    "Detections": "lightning_rcnn.structures",
    "Detector": "lightning_rcnn.detectors.base",
    "FastRCNN": "lightning_rcnn.detectors.fast_rcnn",
    "FasterRCNN": "lightning_rcnn.detectors.faster_rcnn",
    "InputError": "lightning_rcnn.errors",
    "KeypointRCNN": "lightning_rcnn.detectors.keypoint_rcnn",
    "MaskRCNN": "lightning_rcnn.detectors.mask_rcnn",
    "Part": "lightning_rcnn.parts",
    "PointRend": "lightning_rcnn.detectors.point_rend",
    "ProposalNetwork": "lightning_rcnn.detectors.proposal_network",
    "Proposals": "lightning_rcnn.structures",
    "RCNN": "lightning_rcnn.detectors.rcnn.rcnn",
    "RCNNBoxRegression": "lightning_rcnn.detectors.rcnn.box_regression",
    "RCNNClassification": "lightning_rcnn.detectors.rcnn.classification",
    "RCNNFineTuning": "lightning_rcnn.detectors.rcnn.fine_tuning",
    "Settings": "lightning_rcnn.settings",
    "Skeleton": "lightning_rcnn.skeleton",
    "Targets": "lightning_rcnn.structures",
    "Transform": "lightning_rcnn.data.transforms.base",
    "load": "lightning_rcnn.detectors.loading",
    "load_detector": "lightning_rcnn.detectors.loading",
    "pack_samples": "lightning_rcnn.data.pack.samples",
    "read_index": "lightning_rcnn.data.shards",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
