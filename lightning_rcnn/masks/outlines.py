"""Outlines of masks along the borders of their pixels, as edges or as one polygon.

Shape letters: h, w height and width of a crop, e edges, p points of a ring.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np


def as_polygon(crop: np.ndarray, top: int, left: int) -> list[float]:
    """Return one polygon [x, y, x, y, ...] that has exactly the pixels of a mask by the COCO API's rule.

    A mask of several parts, or with holes, has several rings. Lines that are passed there and back connect them, which
    adds no pixel by the even-odd rule.

    Args:
        crop: bool [h, w], with at least one pixel set.
        top, left: row and column of its first pixel in the image.
    """
    return join_rings(pixel_rings(crop, top, left))


def join_rings(rings: Sequence[np.ndarray]) -> list[float]:
    """Return one polygon [x, y, x, y, ...] of several closed outlines [p, 2], with a line there and back to each."""
    polygon, *others = rings
    for ring in others:
        nearest = int(np.abs(polygon - ring[0]).sum(axis=1).argmin())
        polygon = np.concatenate([polygon[: nearest + 1], ring, ring[:1], polygon[nearest:]])
    return polygon.ravel().tolist()


def pixel_rings(crop: np.ndarray, top: int, left: int) -> list[np.ndarray]:
    """Return the closed outlines of a mask, outer ones and holes.

    Args:
        crop: bool [h, w].
        top, left: row and column of its first pixel in the image.

    Returns:
        Corners [p, 2] of each ring, float64 (x, y) in pixels of the image.
    """
    edges = pixel_edges(crop, top, left).tolist()
    ends: defaultdict[tuple[float, float], list[tuple[float, float]]] = defaultdict(list)
    for x1, y1, x2, y2 in edges:
        ends[x1, y1].append((x2, y2))
    rings = []
    for x, y, *_ in edges:
        while ends[x, y]:
            point, ring = (x, y), []
            while ends[point]:
                ring.append(point)
                point = ends[point].pop()
            rings.append(np.array(ring, np.float64))
    return rings


def pixel_edges(crop: np.ndarray, top: int, left: int) -> np.ndarray:
    """Return the edges between pixels of value 1 and 0, as long as possible.

    Args:
        crop: bool [h, w], pixels of a mask.
        top, left: row and column of its first pixel in the image.

    Returns:
        float64 [e, 4], from (x1, y1) to (x2, y2) in pixels of the image, with the inside on their right.
    """
    pixels = np.zeros((crop.shape[0] + 2, crop.shape[1] + 2), np.int8)
    pixels[1:-1, 1:-1] = crop
    y, x_from, x_to = _borders(pixels)
    x, y_to, y_from = _borders(pixels.T)  # upward where the inside begins
    edges = np.concatenate([np.array([x_from, y, x_to, y]), np.array([x, y_from, x, y_to])], axis=1).T
    return edges + np.array([left, top, left, top], np.float64)


def _borders(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the borders between lines as (line, begin, end): forward if the next line is inside, else backward.

    Args:
        pixels: int8 [lines, pixels per line], 0 and 1, surrounded by zeros.
    """
    line_length = pixels.shape[1]
    steps = (pixels[1:] - pixels[:-1]).ravel()
    changes = np.flatnonzero(steps[1:] != steps[:-1])
    begins, ends = changes[steps[changes + 1] != 0], changes[steps[changes] != 0]
    line, begin = np.divmod(begins, line_length)
    end = ends - line * line_length
    is_forward = steps[begins + 1] > 0
    return line, np.where(is_forward, begin, end), np.where(is_forward, end, begin)
