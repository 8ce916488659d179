"""Bring a transformed image into the resized frame: resize, then flip."""

from torch import Tensor

from lightning_rcnn.data.geometry import AxisAlignedMap
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.transforms.base import TrainingImage


def render(sample: TrainingImage, rule: ResizeRule, shape: tuple[int, int]) -> tuple[Tensor, AxisAlignedMap]:
    """Bring an image into the resized frame.

    Args:
        sample: image after its transforms.
        rule: resize rule.
        shape: padded (height, width) of the batch in pixels. If transforms changed the size of the image so that it
            does not fit after the rule, it is shrunk in proportion.

    Returns:
        The image [3, h', w'], uint8 or float32 depending on the rule, and the map of points into its frame.
    """
    height, width = sample.image.shape[-2:]
    new_height, new_width = rule.size(height, width)
    fit = min(1.0, shape[0] / new_height, shape[1] / new_width)
    if fit < 1.0:
        new_height, new_width = max(1, int(new_height * fit)), max(1, int(new_width * fit))
    resized = rule.resize(sample.image, (new_height, new_width))
    scale_x, scale_y = new_width / width, new_height / height
    shift_x = shift_y = 0.0
    if sample.is_mirrored:
        resized, scale_x, shift_x = resized.flip(-1), -scale_x, float(new_width)
    if sample.is_upside_down:
        resized, scale_y, shift_y = resized.flip(-2), -scale_y, float(new_height)
    return resized, AxisAlignedMap(scale_x, shift_x, scale_y, shift_y)
