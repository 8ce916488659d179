"""Pasting of predicted masks, from probabilities inside a box to pixels of an image.

A detector predicts a mask probability for each cell of an S x S grid that fills a box. Two rules turn it into pixels.
Both return only the crop in which pixels can be set, never a mask of the image's size:

- "exact" (detectron2): a pixel is set if the probability at its center is at least one half, interpolated bilinearly
  between the centers of cells, with zero outside the grid.
- "integer" (torchvision, Mask R-CNN's own code): the grid gets a margin of one empty cell and the box grows with it.
  The corners of the box are truncated to integers, and the last pixel belongs to it. The grid is resized to the box,
  and a pixel is set if it is above one half.

Shape letters: D detections, S side of the grid, h and w height and width of a crop.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.run_length import Crop, RunLength, encode_crop
from lightning_rcnn.plural import plural

PasteRule = Literal["exact", "integer"]
"""Rule that turns mask probabilities into pixels; see above."""

_PIXELS_AT_ONCE = 2**20
"""Pixels whose probabilities are held at a time, four bytes each."""
_MASKS_AT_ONCE = 64
"""Masks whose weights are computed together; for small masks that is most of the work."""


def paste_all(
    probabilities: Tensor, boxes: Tensor, height: int, width: int, rule: PasteRule = "exact"
) -> Iterator[Crop]:
    """Paste masks into an image, one after the other, so that only one crop is held at a time.

    Args:
        probabilities: floating point [D, S, S], 0 to 1.
        boxes: floating point [D, 4], xyxy in pixels of the image; a box without extent gives an empty crop.
        height, width: size of the image, pixels.
        rule: see above.

    Yields:
        A crop for each mask, inside the image; 0 x 0 if no pixel can be set.
    """
    probabilities, boxes = probabilities.detach().float().cpu(), boxes.detach().float().cpu()
    has_extent = boxes.isfinite().all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    paste = _paste_exactly if rule == "exact" else _paste_by_integers
    crops = (
        crop
        for indices in has_extent.nonzero()[:, 0].split(_MASKS_AT_ONCE)
        for crop in paste(probabilities[indices], boxes[indices], height, width)
    )
    for is_visible in has_extent.tolist():
        yield next(crops) if is_visible else Crop(np.zeros((0, 0), dtype=bool), 0, 0)


def paste_as_run_lengths(
    probabilities: Tensor, boxes: Tensor, height: int, width: int, rule: PasteRule = "exact"
) -> list[RunLength]:
    """Paste masks and encode them one by one in COCO's run-length encoding; arguments as in `paste_all`."""
    return [
        encode_crop(crop.pixels, crop.top, crop.left, height, width)
        for crop in paste_all(probabilities, boxes, height, width, rule)
    ]


def paste_union(probabilities: Tensor, boxes: Tensor, height: int, width: int, rule: PasteRule = "exact") -> RunLength:
    """Paste several masks of one object, such as those of parts in tiles, and encode their union.

    Only the crop that holds them all is held in memory; arguments as in `paste_all`.
    """
    crops = [crop for crop in paste_all(probabilities, boxes, height, width, rule) if crop.pixels.size]
    top, left = (min((getattr(crop, side) for crop in crops), default=0) for side in ("top", "left"))
    bottom = max((crop.top + crop.pixels.shape[0] for crop in crops), default=0)
    right = max((crop.left + crop.pixels.shape[1] for crop in crops), default=0)
    union = np.zeros((bottom - top, right - left), dtype=bool)
    for crop in crops:
        rows, columns = crop.pixels.shape
        union[crop.top - top : crop.top - top + rows, crop.left - left : crop.left - left + columns] |= crop.pixels
    return encode_crop(union, top, left, height, width)


def paste_densely(probabilities: Tensor, boxes: Tensor, height: int, width: int, rule: PasteRule = "exact") -> Tensor:
    """Paste masks into a dense tensor, bool [D, height, width] on the host; arguments as in `paste_all`.

    Raises:
        InputError: see `dense_masks`.
    """
    return dense_masks(paste_all(probabilities, boxes, height, width, rule), len(boxes), height, width)


def dense_masks(crops: Iterable[Crop], number: int, height: int, width: int) -> Tensor:
    """Put crops into masks of the whole image, bool [D, height, width] on the host.

    Args:
        crops: crops of the masks.
        number: their number, D.
        height, width: size of the image, pixels.

    Raises:
        InputError: the masks are larger than the memory.
    """
    try:
        masks = torch.zeros((number, height, width), dtype=torch.bool)
    except RuntimeError as error:  # torch's for too little memory
        gigabytes = number * height * width / 1e9
        raise InputError(
            f"{plural(number, 'mask')} of {height} x {width} pixels take {gigabytes:,.0f} GB, more than there is; give "
            "a higher threshold, or have run lengths by `lightning-rcnn detect` or "
            "`lightning_rcnn.detectors.whole_images.detect_objects`"
        ) from error
    for mask, crop in zip(masks, crops, strict=True):
        rows, columns = crop.pixels.shape
        mask[crop.top : crop.top + rows, crop.left : crop.left + columns] = torch.from_numpy(crop.pixels.copy())
    return masks


def _paste_exactly(probabilities: Tensor, boxes: Tensor, height: int, width: int) -> Iterator[Crop]:
    num_cells = probabilities.shape[-1]
    x1, y1, x2, y2 = boxes.double().numpy().T
    across, down = _Weights(x1, x2, width, num_cells), _Weights(y1, y2, height, num_cells)
    for i, cells in enumerate(probabilities.numpy()):
        columns = cells @ across.weights[i].T
        rows = down.weights[i]
        pixels = np.empty((len(rows), columns.shape[1]), dtype=bool)
        step = max(1, _PIXELS_AT_ONCE // max(1, pixels.shape[1]))
        for first in range(0, len(rows), step):
            pixels[first : first + step] = rows[first : first + step] @ columns >= 0.5
        yield Crop(pixels, int(down.first[i]), int(across.first[i]))


class _Weights:
    """Bilinear weights of the cells at the pixels along one side of boxes.

    The weight of a cell is 1 minus its distance in cells, and 0 from a distance of 1 on. So a pixel outside a box
    cannot reach one half, and only pixels with their center inside are computed.

    Args:
        start, end: float64 [D], edges of the boxes, pixels.
        limit: size of the image along this side, pixels.
        num_cells: S.

    Attributes:
        first: int64 [D], first pixel of each box.
        weights: float32 [h, S] (or [w, S]) for each box.
    """

    def __init__(self, start: np.ndarray, end: np.ndarray, limit: int, num_cells: int) -> None:
        self.first = np.clip(np.ceil(start - 0.5), 0, limit).astype(np.int64)
        last = np.clip(np.floor(end - 0.5), -1, limit - 1).astype(np.int64)
        counts = np.maximum(last + 1 - self.first, 0)
        offsets = counts.cumsum() - counts
        # Pixels of all boxes in one array: for a small box the overhead of NumPy calls exceeds the arithmetic.
        centers = np.arange(counts.sum()) + np.repeat(self.first - offsets + 0.5 - start, counts)
        in_cells = centers * np.repeat(num_cells / (end - start), counts) - 0.5
        weights = in_cells.astype(np.float32)[:, None] - np.arange(num_cells, dtype=np.float32)
        np.abs(weights, out=weights)
        np.subtract(1, weights, out=weights)
        self.weights = np.split(np.maximum(weights, 0, out=weights), offsets[1:])


def _paste_by_integers(probabilities: Tensor, boxes: Tensor, height: int, width: int) -> Iterator[Crop]:
    num_cells = probabilities.shape[-1]
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * ((num_cells + 2) / num_cells)
    center = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    corners = torch.cat([center - half, center + half], dim=1).long()
    for cells, (left, top, right, bottom) in zip(F.pad(probabilities, (1, 1, 1, 1)), corners.tolist(), strict=True):
        shape = (bottom - top + 1, right - left + 1)
        rows = slice(max(-top, 0), max(min(bottom + 1, height) - top, 0))
        columns = slice(max(-left, 0), max(min(right + 1, width) - left, 0))
        pixels = _resize_and_cut(cells[None, None], shape, rows, columns)
        yield Crop(pixels, top + rows.start, left + columns.start)


def _resize_and_cut(cells: Tensor, shape: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
    """Resize `cells` [1, 1, S, S] to `shape` (height, width) and threshold these rows and columns; bool [h, w].

    A large mask is resized in two steps, to its width and then to its height by groups of columns. torch does the same
    in one step, with the same result. For small masks torch sums in another order, which may change the last bit.
    """
    height, width = shape
    if height * width <= _PIXELS_AT_ONCE:
        return (_resize(cells, height, width)[0, 0, rows, columns] > 0.5).numpy()
    wide = _resize(cells, cells.shape[2], width)[..., columns]
    step = max(1, _PIXELS_AT_ONCE // height)
    parts = [(_resize(part, height, part.shape[3])[0, 0, rows] > 0.5).numpy() for part in wide.split(step, dim=3)]
    return np.concatenate(parts, axis=1)


def _resize(cells: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(cells, size=(height, width), mode="bilinear", align_corners=False)
