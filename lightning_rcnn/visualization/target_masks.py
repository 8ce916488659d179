"""Ground-truth masks of a batch, as the network gets them, in pixels of the resized frame for drawing.

Shape letters: N images, M ground truths, E edges of a polygon, H and W padded height and width.
"""

import math

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.masks.run_length import RunLength, encode_crop
from lightning_rcnn.ops.mask_targets import fill_polygons, has_mask
from lightning_rcnn.structures import Bitmaps, Masks, Polygons


def target_masks(masks: Masks, slot: int, height: int, width: int) -> list[RunLength | None]:
    """Return the masks of one image of a batch, None for an object without a mask.

    Args:
        masks: masks of the batch.
        slot: number of the image in the batch.
        height, width: H and W, pixels.
    """
    read = _bitmap if isinstance(masks, Bitmaps) else _filled
    present = has_mask(masks)[slot].tolist()
    return [read(masks, slot, number, height, width) if there else None for number, there in enumerate(present)]  # type: ignore[arg-type]


def _bitmap(masks: Bitmaps, slot: int, number: int, height: int, width: int) -> RunLength:
    """Scale a crop to its place: each pixel takes the bit that holds its center."""
    rows, columns = masks.sizes[slot, number].tolist()
    first = int(masks.first_byte[slot, number])
    packed = masks.bits[first : first + math.ceil(rows * columns / 8)].numpy()
    bits = np.unpackbits(packed, count=rows * columns).reshape(rows, columns)
    left, top, right, bottom = masks.boxes[slot, number].tolist()
    y, row = _centers(top, bottom, rows, height)
    x, column = _centers(left, right, columns, width)
    return encode_crop(bits[np.ix_(row, column)].astype(bool), y, x, height, width)


def _centers(start: float, end: float, num_bits: int, limit: int) -> tuple[int, np.ndarray]:
    """Return the first pixel whose center lies between two edges, and the bit at each such center."""
    first, stop = max(0, math.ceil(start - 0.5)), min(limit, math.ceil(end - 0.5))
    centers = np.arange(first, max(first, stop)) + 0.5
    return first, np.clip(((centers - start) * num_bits / (end - start)).astype(int), 0, num_bits - 1)


def _filled(masks: Polygons, slot: int, number: int, height: int, width: int) -> RunLength:
    """Fill polygons: a pixel is set if its center lies inside, as the mask branch fills the cells of its grid."""
    edges = masks.edges[slot, number]
    corners = edges[(edges != 0).any(dim=1)].reshape(-1, 2)
    low = corners.amin(dim=0).floor().clamp(min=0)
    high = torch.minimum(corners.amax(dim=0).ceil(), torch.tensor([width, height], dtype=corners.dtype))
    columns, rows = (int(side) for side in (high - low).clamp(min=0).tolist())
    side = max(rows, columns, 1)
    region = torch.cat([low, low + side])[None, None]
    one: Tensor = torch.zeros((1, 1), dtype=torch.int64)
    cells = fill_polygons(Polygons(edges[None, None]), region, one, one == 0, size=side)[0, 0]
    left, top = (int(edge) for edge in low.tolist())
    return encode_crop(cells[:rows, :columns].numpy() > 0, top, left, height, width)
