"""Large-scale jitter: a random scale, and a crop to a fixed size."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from lightning_rcnn.data.transforms.base import Random, TrainingImage, Transform
from lightning_rcnn.data.transforms.checks import checked_share, limits
from lightning_rcnn.data.transforms.cut import cut
from lightning_rcnn.data.transforms.view import displayed_size, in_image
from lightning_rcnn.errors import InputError


class ScaleJitter(Transform):
    """Resizes an image by a random factor, and cuts it to `target_size` where it became larger.

    It must be last in the list; only `CopyPaste` may follow. It replaces the resize rule: all batches of the training
    have `target_size`, rounded up to multiples of 32, and smaller images are padded. The factor is relative to the size
    at which the image just fits.

    Source: Ghiasi et al. 2021, section 4 ("large scale jittering"); `ResizeScale` and `FixedSizeCrop` of detectron2,
    and `torchvision.transforms.v2.ScaleJitter`, which does not crop. An image that is too large is cut first, in whole
    pixels, and then resized, which gives the same with less work. A crop may show no object; the image then has only
    background.

    Args:
        target_size: (height, width) of the batches in pixels.
        scale_range: smallest and largest factor.
        min_visible: share of an object's area that must be left, 0 to 1; an object with less goes. By default any part
            counts, as in torchvision. Boxes are clipped, and follow what is left of a mask.

    Raises:
        InputError: a size is less than 1, or a factor or `min_visible` is out of range.
    """

    needs_pixels: ClassVar[bool] = False

    def __init__(
        self,
        target_size: Sequence[int] = (1024, 1024),
        scale_range: Sequence[float] = (0.1, 2.0),
        min_visible: float = 0.0,
    ) -> None:
        if len(target_size) != 2 or min(target_size) < 1:
            raise InputError(
                f"data.train_transforms: ScaleJitter: target_size is {list(target_size)}; give [height, width] of at "
                "least 1 pixel"
            )
        self.target_size = (target_size[0], target_size[1])
        self.scale_range = limits("ScaleJitter", "scale_range", scale_range, 0.01, 100)
        self.min_visible = checked_share("ScaleJitter", min_visible)

    def __call__(self, sample: TrainingImage, random: Random) -> TrainingImage:
        """Draw the factor and the position of the crop, and record both."""
        size = displayed_size(sample)
        fit = min(target / edge for target, edge in zip(self.target_size, size, strict=True))
        factor = fit * random.uniform(*self.scale_range)
        (top, bottom, height), (left, right, width) = (
            _edge(edge, target, factor, random) for edge, target in zip(size, self.target_size, strict=True)
        )
        if (bottom - top, right - left) != size:
            sample = cut(sample, in_image(sample, (left, top, right, bottom)), self.min_visible)
        return replace(sample, final_size=(height, width))


def _edge(edge: int, target: int, factor: float, random: Random) -> tuple[int, int, int]:
    """Return the first and last pixel of the part that is kept, and its length after the resize."""
    share = random.uniform()
    scaled = max(1, int(edge * factor))
    if scaled <= target:
        return 0, edge, scaled
    kept = min(edge, max(1, round(target / factor)))
    start = int((edge - kept + 1) * share)
    return start, start + kept, target
