"""Tell federated losses how many training images have each class."""

from collections.abc import Sequence

import torch
from lightning.pytorch import Trainer

from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.image_classes import image_classes
from lightning_rcnn.errors import InputError
from lightning_rcnn.roi_heads.class_losses import FederatedClassLoss


def set_class_images(losses: Sequence[FederatedClassLoss], trainer: Trainer) -> None:
    """Set the numbers of training images in federated losses before a training.

    Args:
        losses: losses of the detector.
        trainer: trainer whose data module is set up.

    Raises:
        InputError: the data do not tell the classes of their images.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]  # added later
    if not isinstance(data, DetectionDataModule):
        raise InputError(
            "model.box: FederatedLoss needs to know how many images have each class; train with a DetectionDataModule"
        )
    index = data.indexes["train"]
    images = image_classes(index, [0] * len(index.shards), [index.name])
    for loss in losses:
        loss.class_images.copy_(torch.from_numpy(images.images_of_class))
