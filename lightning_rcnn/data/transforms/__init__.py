"""Transforms of training images: ours, and any of (image, target), such as torchvision's.

Everything random depends on (seed, epoch, sample, position in the list), so a resumed training sees the same images as
an uninterrupted one. A sample that an epoch has several times is transformed differently each time.
"""

from lightning_rcnn.data.transforms.affine import Affine as Affine
from lightning_rcnn.data.transforms.base import Random as Random
from lightning_rcnn.data.transforms.base import TrainingImage as TrainingImage
from lightning_rcnn.data.transforms.base import Transform as Transform
from lightning_rcnn.data.transforms.blur import Blur as Blur
from lightning_rcnn.data.transforms.colors import Colors as Colors
from lightning_rcnn.data.transforms.copy_paste import CopyPaste as CopyPaste
from lightning_rcnn.data.transforms.cutout import Cutout as Cutout
from lightning_rcnn.data.transforms.flips import HorizontalFlip as HorizontalFlip
from lightning_rcnn.data.transforms.flips import VerticalFlip as VerticalFlip
from lightning_rcnn.data.transforms.grayscale import Grayscale as Grayscale
from lightning_rcnn.data.transforms.iou_crop import RandomIoUCrop as RandomIoUCrop
from lightning_rcnn.data.transforms.jpeg import JPEG as JPEG
from lightning_rcnn.data.transforms.mixing import MixingTransform as MixingTransform
from lightning_rcnn.data.transforms.mosaic import Mosaic as Mosaic
from lightning_rcnn.data.transforms.noise import Noise as Noise
from lightning_rcnn.data.transforms.photometric import PhotometricDistortion as PhotometricDistortion
from lightning_rcnn.data.transforms.planned import PlannedTransform as PlannedTransform
from lightning_rcnn.data.transforms.quarter_turns import QuarterTurns as QuarterTurns
from lightning_rcnn.data.transforms.resize import Resize as Resize
from lightning_rcnn.data.transforms.scale_jitter import ScaleJitter as ScaleJitter
from lightning_rcnn.data.transforms.size_crop import RandomSizeCrop as RandomSizeCrop
from lightning_rcnn.data.transforms.zoom_out import ZoomOut as ZoomOut
