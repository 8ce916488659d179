"""The classes that a configuration may name without their modules: imported here, so that they can be found."""

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from torchvision.transforms.v2 import Transform as TorchvisionTransform

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.dc5 import ResNetDC5
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.mobilenet import MobileNetFPN
from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.backbones.regnet import RegNetFPN
from lightning_rcnn.backbones.swin import SwinFPN
from lightning_rcnn.backbones.timm import TimmFPN
from lightning_rcnn.backbones.vitdet import ViTDet
from lightning_rcnn.callbacks.ema import EMA
from lightning_rcnn.callbacks.sharded_strategy import ShardedStrategy
from lightning_rcnn.data.sampling import Sampling
from lightning_rcnn.data.transforms.base import Transform
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.cascade_rcnn import CascadeMaskRCNN, CascadeRCNN
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.keypoint_rcnn import KeypointRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.detectors.point_rend import PointRend
from lightning_rcnn.detectors.proposal_network import ProposalNetwork
from lightning_rcnn.detectors.rcnn.box_regression import RCNNBoxRegression
from lightning_rcnn.detectors.rcnn.classification import RCNNClassification
from lightning_rcnn.detectors.rcnn.fine_tuning import RCNNFineTuning
from lightning_rcnn.detectors.schedules import ConstantSchedule, CosineSchedule, OneCycleSchedule, StepSchedule

DETECTORS = (
    RCNNFineTuning,
    RCNNClassification,
    RCNNBoxRegression,
    FastRCNN,
    ProposalNetwork,
    FasterRCNN,
    MaskRCNN,
    CascadeRCNN,
    CascadeMaskRCNN,
    PointRend,
    KeypointRCNN,
)
BACKBONES = (ResNetFPN, ResNetC4, ResNetDC5, PlainBackbone, MobileNetFPN, RegNetFPN, SwinFPN, TimmFPN, ViTDet)
SCHEDULES = (StepSchedule, CosineSchedule, OneCycleSchedule, ConstantSchedule)
CALLBACKS = (EMA,)
"""Callbacks beside those that every run has."""
STRATEGIES = (ShardedStrategy,)
"""Strategies beside Lightning's; importing them registers their names, such as `sharded`."""
CLASSES = {
    "model": (Detector,),
    "trainer.callbacks": (Callback,),
    "trainer.logger": (Logger,),
    "data.sampling": (Sampling,),
    "data.train_transforms": (Transform, TorchvisionTransform),
}
"""Key that holds a class -> its base classes; short names are looked up in this order."""
