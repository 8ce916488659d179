"""Give images the artifacts of JPEG compression."""

import io
from dataclasses import replace

import numpy as np
import simplejpeg
import torch
from PIL import Image

from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform
from lightning_rcnn.data.transforms.checks import limits, probability


class JPEG(Transform):
    """Compresses an image as JPEG, which leaves artifacts, as `torchvision.transforms.v2.JPEG` does.

    Args:
        p: probability, 0 to 1.
        quality: lowest and highest quality, 1 to 100.

    Raises:
        InputError: `p` is not a probability, or `quality` is out of range.
    """

    def __init__(self, p: float = 0.1, quality: tuple[int, int] = (30, 95)) -> None:
        self.p = probability("JPEG", p)
        self.quality = limits("JPEG", "quality", quality, 1, 100)

    def refusal(self, pixels: PixelFormat) -> str:
        """Refuse what JPEG cannot store."""
        return "" if pixels.is_rgb else "stores RGB of 8 bits only; take it out"

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Compress and decompress the image."""
        is_compressed, quality = random.uniform() < self.p, random.whole(*self.quality)
        if not is_compressed:
            return sample
        file = io.BytesIO()
        # simplejpeg's encoder has no accurate transform for subsampled colors; its decoder has, and is the faster one.
        Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        pixels = np.asarray(simplejpeg.decode_jpeg(file.getvalue(), "RGB"))
        return replace(sample, image=torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
