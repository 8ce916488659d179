"""Images with rectangles in one color on black, whose masks and boxes can be read from the pixels."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask

from lightning_rcnn.data.transforms import TrainingImage
from lightning_rcnn.masks.crops import Crop

HEIGHT, WIDTH = 24, 32
RECTANGLES = [(4, 6, 20, 26), (30, 8, 50, 40), (10, 30, 26, 44)]
OTHER_RECTANGLES = [(8, 2, 30, 20), (36, 20, 60, 36), (2, 28, 24, 40)]


def rectangle(x1: int, y1: int, x2: int, y2: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    pixels = np.zeros((height, width), bool)
    pixels[y1:y2, x1:x2] = True
    return pixels


def run_length(pixels: np.ndarray) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(pixels, np.uint8))
    return {"size": list(pixels.shape), "counts": encoded["counts"].decode()}


def outline(x1: float, y1: float, x2: float, y2: float) -> list[list[float]]:
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def dense(mask: Any, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A mask of any form as pixels of the whole image, by the COCO API."""
    if isinstance(mask, Crop):
        pixels = np.zeros((height, width), bool)
        pixels[mask.top : mask.top + mask.pixels.shape[0], mask.left : mask.left + mask.pixels.shape[1]] = mask.pixels
        return pixels
    if isinstance(mask, dict):
        return coco_mask.decode(mask).astype(bool)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(mask, height, width))).astype(bool)


def tight(pixels: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(pixels)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def painted(
    height: int,
    width: int,
    channel: int,
    rectangles: list[tuple[int, int, int, int]],
    as_polygons: bool,
    **recorded: Any,
) -> TrainingImage:
    """Rectangles in one of the colors on black: masks and boxes can be read from the pixels."""
    image = torch.zeros(height, width, 3, dtype=torch.uint8).permute(2, 0, 1)
    for x1, y1, x2, y2 in rectangles:
        image[channel, y1:y2, x1:x2] = 255
    masks = [outline(*edges) if as_polygons else run_length(rectangle(*edges, height, width)) for edges in rectangles]
    number = len(rectangles)
    boxes, labels = np.array(rectangles, np.float32).reshape(-1, 4), np.full(number, channel + 1)
    return TrainingImage(image, boxes, labels, np.zeros(number, bool), list(masks), **recorded)


def grown(pixels: np.ndarray, by: int) -> np.ndarray:
    """A mask [h, w] with a margin of `by` pixels more, or less if negative."""
    side, values = 2 * abs(by) + 1, torch.from_numpy(pixels.astype(np.float32))[None, None]
    sign = 1 if by > 0 else -1
    outside = F.pad(sign * values, [abs(by)] * 4, mode="replicate")
    return (sign * F.max_pool2d(outside, side, stride=1))[0, 0].numpy() > 0


def require_masks_on_pixels(result: TrainingImage) -> np.ndarray:
    """Require that the objects of each color have the masks and boxes of its pixels, within one pixel; return masks."""
    height, width = result.image.shape[-2:]
    masks = np.array([dense(mask, height, width) for mask in result.segmentations], bool).reshape(-1, height, width)
    for channel in range(3):
        union = masks[result.labels == channel + 1].any(axis=0)
        pixels = (result.image[channel] > 127).numpy()
        assert not (grown(union, -1) & ~pixels).any()
        assert not (pixels & ~grown(union, 1)).any()
    for mask, box in zip(masks, result.boxes, strict=True):
        assert np.allclose(box, tight(mask), atol=1.01)
        assert np.all(box == box.clip(0, [width, height] * 2))
    return masks
