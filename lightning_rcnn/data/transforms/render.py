"""Bring a transformed image into the resized frame: cut out its window, resize, and flip it into its slot."""

from torch import Tensor

from lightning_rcnn.data.canvas import resize_on_canvas
from lightning_rcnn.data.geometry import AxisAlignedMap
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.slots import write_image
from lightning_rcnn.data.transforms.base import TrainingImage
from lightning_rcnn.data.transforms.view import displayed_pixels, displayed_size, map_into, visible_part, window_of


def render(sample: TrainingImage, rule: ResizeRule, slot: Tensor) -> tuple[Tensor, AxisAlignedMap]:
    """Bring an image into the resized frame.

    Args:
        sample: image after its transforms.
        rule: resize rule.
        slot: slot of the image in its batch, [C, H, W]. If transforms changed the size of the image so that it does not
            fit after the resize, it is shrunk in proportion.

    Returns:
        The image, a view [C, h', w'] of the slot, and the map of points into its frame.
    """
    size = rendered_size(sample, rule, (slot.shape[-2], slot.shape[-1]))
    resized = _resized(sample, rule, size)
    flips = ((-2, sample.is_upside_down), (-1, sample.is_mirrored))
    axes = tuple(axis for axis, is_flipped in flips if is_flipped)
    return write_image(resized, slot, axes), map_into(sample, size)


def rendered_size(sample: TrainingImage, rule: ResizeRule, limit: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) that an image gets; it is shrunk in proportion to fit a slot of (height, width)."""
    height, width = sample.final_size or rule.size(*displayed_size(sample))
    fit = min(1.0, limit[0] / height, limit[1] / width)
    return (height, width) if fit == 1.0 else (max(1, int(height * fit)), max(1, int(width * fit)))


def _resized(sample: TrainingImage, rule: ResizeRule, size: tuple[int, int]) -> Tensor:
    """Return the window, transposed if recorded but not flipped, resized to (height, width)."""
    window, visible = window_of(sample), visible_part(sample)
    left, top, right, bottom = visible
    is_on_canvas = window != visible and left < right and top < bottom
    is_narrow = 1 in (size[1], displayed_size(sample)[1])  # of which torch resizes no part right
    if not is_on_canvas or is_narrow or size == displayed_size(sample):
        return rule.resize(displayed_pixels(sample), size)
    pixels, corner = sample.image[:, top:bottom, left:right], (left - window[0], top - window[1])
    if sample.is_transposed:
        pixels, corner = pixels.mT, corner[::-1]
    return resize_on_canvas(pixels, corner, displayed_size(sample), sample.fill, size, rule.resize_corner)
