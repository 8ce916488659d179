"""Preprocessing of images for a network: size, padding, channel order, mean and standard deviation.

Shape letters: N images, C channels, H and W padded height and width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_rcnn.data.pixel_format import RGB, PixelFormat, per_channel
from lightning_rcnn.data.resize import ResizeMethod, ResizeRule
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import Part
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Positive, PositiveCount
from lightning_rcnn.structures import Inputs

ChannelOrder = Literal["rgb", "bgr"]
MemoryFormatName = Literal["channels_last", "contiguous"]
_COLORS = 3


@dataclass(frozen=True)
class PreprocessingSettings(Settings):
    """Settings of the preprocessing.

    Args:
        min_size: shorter edge of the resized image, pixels; also in training unless the data sets another one.
        max_size: limit of the longer edge, pixels.
        resize: "antialiased" or "pillow" (detectron2's rule), "bilinear" (torchvision's) or "opencv" (mmdetection's);
            see `ResizeRule`.
        size_divisor: edges of a padded image in `detect` are multiples of this, pixels; 1 for no padding, as in
            detectron2 with one feature map. Batches of a data module have the shapes of `data.shapes`.
        pixel_range: value of white before normalization: 1 (torchvision) or 255 (detectron2).
        pixel_mean, pixel_std: mean and standard deviation per channel, in the order of `channel_order`. Three numbers
            serve any number of channels: one channel gets their mean, others repeat them in their order, as the weights
            of the first convolution are repeated.
        channel_order: "rgb" (torchvision) or "bgr" (detectron2): the order that the backbone was trained with. With
            "bgr" the first three channels are reversed, if there are so many.
        memory_format: "channels_last" (faster) or "contiguous" (torchvision's, for bitwise equality).
        pixels: channels of the images and range of their values. The command line takes them from the shards.

    Raises:
        InputError: the numbers do not fit the channels.
    """

    conventions = ("channel_order", "pixel_range", "pixel_mean", "pixel_std")

    min_size: PositiveCount = 800
    max_size: PositiveCount = 1333
    resize: ResizeMethod = "antialiased"
    size_divisor: PositiveCount = 32
    pixel_range: Positive = 1.0
    pixel_mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    pixel_std: tuple[Positive, ...] = (0.229, 0.224, 0.225)
    channel_order: ChannelOrder = "rgb"
    memory_format: MemoryFormatName = "channels_last"
    pixels: PixelFormat = RGB

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("pixel_mean", "pixel_std"):
            if len(getattr(self, name)) not in (_COLORS, self.pixels.channels):
                raise InputError(
                    f"PreprocessingSettings.{name}: {len(getattr(self, name))} numbers for {self.pixels.channels} "
                    "channels; give three, or one for each channel"
                )

    def per_channel(self, numbers: Sequence[float]) -> list[float]:
        """Return a number for each channel of the images; see `pixel_mean`."""
        channels = self.pixels.channels
        return list(numbers) if len(numbers) == channels else per_channel(numbers, channels)

    def build(self) -> "Preprocessing":
        """Build the module."""
        return Preprocessing(self)


class Preprocessing(Part):
    """Preprocessing of images. It has no weights, and adds nothing to a state dict.

    Args:
        settings: sizes and conventions.
    """

    profiled: ClassVar[Mapping[str, str]] = {"normalize": "input"}
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, settings: PreprocessingSettings) -> None:
        super().__init__()
        self.settings = settings
        self.resize_rule = ResizeRule(settings.min_size, settings.max_size, settings.resize)
        is_last = settings.memory_format == "channels_last"
        self.memory_format = torch.channels_last if is_last else torch.contiguous_format
        mean, std = (torch.tensor(settings.per_channel(own)) for own in (settings.pixel_mean, settings.pixel_std))
        self.register_buffer("pixel_mean", mean[:, None, None], persistent=False)
        self.register_buffer("pixel_std", std[:, None, None], persistent=False)

    @property
    def pixels(self) -> PixelFormat:
        """Channels of the images, and range of their values."""
        return self.settings.pixels

    def normalize(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        """Normalize images: channel order, mean and standard deviation, and zeros in the padding.

        Args:
            images: [N, C, H, W], 0 to 255; RGB unless `pixels` says otherwise.
            image_sizes: int64 [N, 2], (height, width) without padding.

        Returns:
            float32 [N, C, H, W].
        """
        pixels = self._ordered(images) / (255 / self.settings.pixel_range)
        rows = torch.arange(images.shape[2], device=images.device) < image_sizes[:, :1]
        columns = torch.arange(images.shape[3], device=images.device) < image_sizes[:, 1:]
        is_image = (rows[:, :, None] & columns[:, None, :])[:, None]
        pixels = torch.where(is_image, (pixels - self.pixel_mean) / self.pixel_std, 0.0)
        return pixels.contiguous(memory_format=self.memory_format)

    def _ordered(self, images: Tensor) -> Tensor:
        """Bring channels into the order of the backbone."""
        channels = images.shape[1]
        if self.settings.channel_order == "rgb" or channels < _COLORS:
            return images
        if channels == _COLORS:
            return images.flip(1)
        return torch.cat([images[:, :_COLORS].flip(1), images[:, _COLORS:]], dim=1)

    def resize(self, image: Tensor) -> Tensor:
        """Resize one image [C, h, w] of 0 to 255, on the host as in training."""
        # torch resizes uint8 with antialiasing on the CPU only.
        return self.resize_rule(image.cpu())

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the padded (height, width) of a resized image that is alone in its batch."""
        divisor = self.settings.size_divisor
        return height + -height % divisor, width + -width % divisor

    def batch(self, resized: Sequence[Tensor]) -> Inputs:
        """Collate resized images of one padded size into a batch on the device of this module."""
        device = self.pixel_mean.device
        height, width = self.padded_size(*resized[0].shape[-2:])
        padded = [
            F.pad(image.to(device), (0, width - image.shape[-1], 0, height - image.shape[-2])) for image in resized
        ]
        sizes = torch.tensor([list(image.shape[-2:]) for image in resized], device=device)
        return Inputs(torch.stack(padded), sizes, torch.zeros(len(resized), dtype=torch.int64, device=device))
