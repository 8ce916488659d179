"""A sampling of your own: how often an epoch has each image on average.

Name it by its class path:

data:
  sampling:
    class_path: examples.custom_sampling.PowerOfFrequency
    init_args: {power: 0.5, epoch_size: 6}
"""

from dataclasses import dataclass

import numpy as np

from lightning_rcnn.data.image_classes import ImageClasses
from lightning_rcnn.data.sampling import Sampling


@dataclass(frozen=True)
class PowerOfFrequency(Sampling):
    """An image counts 1 / n ** power, where n is the number of images with its rarest class.

    Args:
        power: 0 for each image once; 1 for about as many images of each class.
    """

    power: float = 0.5

    @property
    def needs_labels(self) -> bool:
        """Tell that the labels are needed; they are read from a torch `Dataset` then."""
        return True

    def averages(self, images: ImageClasses) -> np.ndarray:
        """Return float64 [N], whose sum is the length of an epoch if no `epoch_size` is given."""
        weights = images.largest_of(np.maximum(images.images_of_class, 1.0) ** -self.power, of_empty=0.0)
        return weights * len(images) / weights.sum()
