"""Transforms of training images: ours, and any of (image, target), such as torchvision's.

Everything random depends on (seed, epoch, sample, position in the list), so a resumed training sees the same images as
an uninterrupted one.
"""

from lightning_rcnn.data.transforms.base import Random as Random
from lightning_rcnn.data.transforms.base import TrainingImage as TrainingImage
from lightning_rcnn.data.transforms.base import Transform as Transform
from lightning_rcnn.data.transforms.colors import Colors as Colors
from lightning_rcnn.data.transforms.flips import HorizontalFlip as HorizontalFlip
from lightning_rcnn.data.transforms.flips import VerticalFlip as VerticalFlip
from lightning_rcnn.data.transforms.resize import Resize as Resize
