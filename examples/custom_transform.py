"""A transform of your own, in the form of torchvision.transforms.v2: (image, target) to (image, target).

Name it by its class path, beside ours and those of torchvision:

data:
  train_transforms:
    - class_path: HorizontalFlip
    - class_path: examples.custom_transform.Darken
      init_args: {p: 0.3}
    - class_path: torchvision.transforms.v2.RandomRotation
      init_args: {degrees: [-10, 10]}
"""

from typing import Any

import torch
from torch import nn


class Darken(nn.Module):
    """Halves the brightness of some images. Draws from torch's generator, which is seeded for each sample.

    Args:
        p: probability.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, image: Any, target: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Change the image, uint8 [3, h, w]; boxes and masks stay what they are."""
        return (image // 2 if torch.rand(()) < self.p else image), target
