"""Drawing of masks: a half-transparent fill, under which the image stays visible, and an outline.

Shape letters: h and w height and width of an array of pixels.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from lightning_rcnn.masks.run_length import Crop, RunLength, decode_crops
from lightning_rcnn.visualization.palette import Color

_FILL, _OUTLINE = 100, 255
"""Opacities, 0 to 255."""
_STRIPE = 4
"""Width of the stripes that fill a crowd, in widths of the outline."""


def scaled_crops(masks: Sequence[RunLength], size: tuple[int, int]) -> Iterator[Crop]:
    """Scale the masks of one image to a canvas, one mask after the other.

    Args:
        masks: of one image.
        size: (width, height) of the canvas, pixels.

    Yields:
        A crop for each mask, in the frame of the canvas: the pixels of which the mask covers half or more.
    """
    if not masks:
        return
    height, width = masks[0]["size"]
    scale_x, scale_y = size[0] / width, size[1] / height
    margin = 1 + math.ceil(1 / min(scale_x, scale_y))
    for crop in decode_crops(masks, margin):
        yield crop if scale_x == scale_y == 1 or not crop.pixels.size else _scaled(crop, scale_x, scale_y)


def draw_mask(canvas: Image.Image, crop: Crop, fill: Color, outline: Color, line: int, is_crowd: bool) -> None:
    """Draw one mask in place; only its own crop is computed.

    Args:
        canvas: RGB image to draw on.
        crop: the mask, in the frame of the canvas.
        fill: color of the inside; of every other stripe for a crowd.
        outline: color of the line along the mask's edge, on the inside.
        line: thickness of that line on large masks, pixels; it is thinner on small ones.
        is_crowd: whether the mask stands for a group.
    """
    inside = crop.pixels
    if not inside.any():
        return
    line = max(1, min(line, round(math.sqrt(inside.sum()) / 12)))
    core = _eroded(inside, line)
    filled = core & _stripes(core.shape, _STRIPE * line) if is_crowd else core
    for color, opacity, where in ((fill, _FILL, filled), (outline, _OUTLINE, inside & ~core)):
        canvas.paste(color, (crop.left, crop.top), Image.fromarray(where.view(np.uint8) * np.uint8(opacity)))


def label_map(masks: Sequence[RunLength], labels: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Draw the label of each pixel, uint8 [h, w]; 0 where there is no mask.

    Args:
        masks: of one image, in any resolution.
        labels: labels of the masks, 1..255. Where masks overlap, the label of the first one counts.
        size: (width, height) of the map, pixels.
    """
    label_of_pixel = np.zeros(size[::-1], dtype=np.uint8)
    for crop, label in zip(scaled_crops(masks[::-1], size), reversed(labels), strict=True):
        rows, columns = crop.pixels.shape
        label_of_pixel[crop.top : crop.top + rows, crop.left : crop.left + columns][crop.pixels] = label
    return label_of_pixel


def _scaled(crop: Crop, scale_x: float, scale_y: float) -> Crop:
    """Scale a crop; its margin completes the pixels that the mask covers in part."""
    rows, columns = crop.pixels.shape
    left, top = math.ceil(crop.left * scale_x), math.ceil(crop.top * scale_y)
    right, bottom = math.floor((crop.left + columns) * scale_x), math.floor((crop.top + rows) * scale_y)
    if right <= left or bottom <= top:
        return Crop(np.zeros((0, 0), dtype=bool), 0, 0)
    source = (
        max(left / scale_x - crop.left, 0.0),
        max(top / scale_y - crop.top, 0.0),
        min(right / scale_x - crop.left, float(columns)),
        min(bottom / scale_y - crop.top, float(rows)),
    )
    coverage = Image.fromarray(crop.pixels.view(np.uint8) * np.uint8(255))
    coverage = coverage.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=source)
    covered = np.asarray(coverage)
    # A mask that covers half of no pixel is shown by the pixels that it covers most.
    return Crop(covered >= max(1, min(128, int(covered.max()))), top, left)


def _eroded(mask: np.ndarray, distance: int) -> np.ndarray:
    """Erode a mask [h, w] by `distance` rows and columns; everything beyond the array is outside."""
    eroded = np.pad(mask, distance)
    for axis in (0, 1):
        lines = eroded.swapaxes(0, axis)
        # Test whether all 2 * distance + 1 neighbors are inside, by windows that double in length.
        window = 1
        while window < 2 * distance + 1:
            step = min(window, 2 * distance + 1 - window)
            lines = lines[:-step] & lines[step:]
            window += step
        eroded = lines.swapaxes(0, axis)
    return eroded


def _stripes(shape: tuple[int, ...], width: int) -> np.ndarray:
    """Mark every other diagonal stripe of this width, from the lower left to the upper right; bool [h, w]."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows + columns) // width % 2 == 0
