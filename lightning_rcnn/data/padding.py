"""Padded shapes: the few (height, width) to which batches are filled up.

A network that is compiled, captured in a graph or tuned by cuDNN does this once for each shape of its input, so the
images of a batch are padded not to the largest among them but to the smallest of a short list that holds them all.
The list follows from the resize rule: a picture's shorter edge becomes `min_size`, its longer one depends on its aspect
ratio, and photographs have few of these. Pictures of one padded shape are put together by the planner (`plan.py`).

Shape letters: N pictures, K padded shapes. Sizes and shapes are int64 (height, width).
"""

from collections.abc import Sequence

import numpy as np

from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.errors import InputError

DIVISOR = 32
"""The stride of the coarsest map of ResNet and VGG: edges are multiples of it, as in torchvision and detectron2."""


def padded_shapes(rule: ResizeRule) -> np.ndarray:
    """The shapes for pictures under `rule`, smallest area first.

    Square pictures, 4:3 pictures both ways (640 x 480 under 800/1333 becomes 1067 x 800, padded 1088 x 800), the most
    elongated ones both ways, and the square that holds them all, for batches that mix.

    Returns:
        int64 [K, 2] with K <= 6.
    """
    short, long = _round_up(rule.min_size), _round_up(rule.max_size)
    middle = min(_round_up(round(rule.min_size * 4 / 3)), long)
    return sort_shapes([(short, short), (short, middle), (middle, short), (short, long), (long, short)])


def sort_shapes(shapes: Sequence[Sequence[int]]) -> np.ndarray:
    """Bring a list of shapes into the planner's form.

    Args:
        shapes: (height, width) each, in any order.

    Returns:
        int64 [K, 2] without repetitions, smallest area first, with the shape that holds all of them at the end.

    Raises:
        InputError: a shape is not two positive multiples of `DIVISOR`.
    """
    for shape in shapes:
        if len(shape) != 2 or any(edge <= 0 or edge % DIVISOR for edge in shape):
            raise InputError(f"padded shape {list(shape)}: give [height, width], both multiples of {DIVISOR}")
    envelope = (max(height for height, _ in shapes), max(width for _, width in shapes))
    distinct = {(int(height), int(width)) for height, width in [*shapes, envelope]}
    return np.array(sorted(distinct, key=lambda shape: (shape[0] * shape[1], shape)), dtype=np.int64)


def resized_sizes(rule: ResizeRule, heights: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Sizes after `rule`, by its own arithmetic.

    Args:
        rule: the resize rule.
        heights, widths: int [N], original frame.

    Returns:
        int64 [N, 2].
    """
    pairs = np.asarray(heights, dtype=np.int64) << 32 | np.asarray(widths, dtype=np.int64)
    distinct, which = np.unique(pairs, return_inverse=True)
    resized = [rule.size(pair >> 32, pair & 0xFFFFFFFF) for pair in distinct.tolist()]
    return np.array(resized, dtype=np.int64).reshape(-1, 2)[which]


def smallest_holding(sizes: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """The first of `shapes` that holds each of `sizes`.

    Args:
        sizes: int64 [N, 2].
        shapes: int64 [K, 2], smallest area first.

    Returns:
        int64 [N]; -1 where none is large enough.
    """
    holds = np.all(sizes[:, None, :] <= shapes[None, :, :], axis=-1)
    return np.where(np.any(holds, axis=1), np.argmax(holds, axis=1), -1)


def _round_up(edge: int) -> int:
    return -(-edge // DIVISOR) * DIVISOR
