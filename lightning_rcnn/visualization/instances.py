"""Masks on a picture: each filled with half-transparent colour, so that what it covers stays visible, and outlined."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from lightning_rcnn.masks.run_length import Crop, RunLength, decode_crops
from lightning_rcnn.visualization.palette import Colour

_FILL, _OUTLINE = 100, 255
"""Opacities, of 255."""
_STRIPE = 4
"""Widths of the outline: of the stripes that fill a crowd."""


def crops_in_picture(masks: Sequence[RunLength], picture_size: tuple[int, int]) -> Iterator[Crop]:
    """Masks of one image in a picture of (width, height) that shows it, perhaps in another size, one after the other.

    Yields:
        For each mask a crop in the frame of the picture: its pixels of which the mask covers half or more.
    """
    if not masks:
        return
    height, width = masks[0]["size"]
    scale_x, scale_y = picture_size[0] / width, picture_size[1] / height
    margin = 1 + math.ceil(1 / min(scale_x, scale_y))
    for crop in decode_crops(masks, margin):
        yield crop if scale_x == scale_y == 1 or not crop.pixels.size else _scaled(crop, scale_x, scale_y)


def draw_mask(picture: Image.Image, crop: Crop, fill: Colour, outline: Colour, line: int, is_crowd: bool) -> None:
    """Draw one mask; nothing but its own surroundings is touched or laid out.

    Args:
        picture: RGB, drawn on.
        crop: of the mask, in the frame of the picture.
        fill: colour of the inside; of every other stripe of it for a crowd.
        outline: colour of the line along its edge, on the inside.
        line: pixels; the thickness of that line on large masks, on small ones it is thinner.
        is_crowd: whether it stands for a group.
    """
    inside = crop.pixels
    if not inside.any():
        return
    line = max(1, min(line, round(math.sqrt(inside.sum()) / 12)))
    core = _eroded(inside, line)
    filled = core & _stripes(core.shape, _STRIPE * line) if is_crowd else core
    for colour, opacity, where in ((fill, _FILL, filled), (outline, _OUTLINE, inside & ~core)):
        picture.paste(colour, (crop.left, crop.top), Image.fromarray(where.view(np.uint8) * np.uint8(opacity)))


def label_map(masks: Sequence[RunLength], labels: Sequence[int], picture_size: tuple[int, int]) -> np.ndarray:
    """Uint8 [h, w]: the label of each pixel of a picture of (width, height), 0 where there is no mask.

    Args:
        masks: of one image, which the picture shows, perhaps in another size.
        labels: of the masks, 1..255. Where several masks lie, the label of the first one counts.
        picture_size: (width, height).
    """
    picture = np.zeros(picture_size[::-1], dtype=np.uint8)
    for crop, label in zip(crops_in_picture(masks[::-1], picture_size), reversed(labels), strict=True):
        rows, columns = crop.pixels.shape
        picture[crop.top : crop.top + rows, crop.left : crop.left + columns][crop.pixels] = label
    return picture


def _scaled(crop: Crop, scale_x: float, scale_y: float) -> Crop:
    """The crop in a frame of another scale. Its margin gives the fractions of a pixel that go with whole pixels."""
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
    # Of a mask that covers half of no pixel, the pixels that it covers most are shown.
    return Crop(covered >= max(1, min(128, int(covered.max()))), top, left)


def _eroded(mask: np.ndarray, distance: int) -> np.ndarray:
    """Bool [h, w]: pixels with none of the outside within `distance`, across and down; beyond the array is outside."""
    eroded = np.pad(mask, distance)
    for axis in (0, 1):
        lines = eroded.swapaxes(0, axis)
        # Whether all of 2 * distance + 1 neighbours are inside, from windows that double.
        window = 1
        while window < 2 * distance + 1:
            step = min(window, 2 * distance + 1 - window)
            lines = lines[:-step] & lines[step:]
            window += step
        eroded = lines.swapaxes(0, axis)
    return eroded


def _stripes(shape: tuple[int, ...], width: int) -> np.ndarray:
    """Bool [h, w]: every other stripe of this width, from the lower left to the upper right."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows + columns) // width % 2 == 0
