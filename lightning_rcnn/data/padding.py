"""Padded shapes: the few (height, width) to which batches are padded.

Compilation, CUDA graphs and cuDNN's tuning take time for each new input shape. So a batch is padded not to its largest
image but to the smallest shape of a short list that holds all its images. The list follows from the resize rule: an
image's shorter edge becomes `min_size`, the longer edge depends on the aspect ratio, and photos have few aspect ratios.
The planner (`plan.py`) puts images with the same padded shape together.

Shape letters: N images, K padded shapes. Sizes and shapes are int64 (height, width) in pixels.
"""

from collections.abc import Sequence

import numpy as np

from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.errors import InputError

DIVISOR = 32
"""The stride of the coarsest map of ResNet and VGG: edges are multiples of it, as in torchvision and detectron2."""


def padded_shapes(rule: ResizeRule) -> np.ndarray:
    """Return the padded shapes for images under `rule`, smallest area first.

    They fit square images, 4:3 images both ways (640 x 480 under 800/1333 becomes 1067 x 800, padded 1088 x 800) and
    the most elongated images both ways. One more square holds all of these, for mixed batches.

    Returns:
        int64 [K, 2] with K <= 6.
    """
    short, long = round_up(rule.min_size), round_up(rule.max_size)
    middle = min(round_up(round(rule.min_size * 4 / 3)), long)
    return sort_shapes([(short, short), (short, middle), (middle, short), (short, long), (long, short)])


def sort_shapes(shapes: Sequence[Sequence[int]]) -> np.ndarray:
    """Convert a list of shapes to the planner's form.

    Args:
        shapes: (height, width) of each shape in pixels, in any order.

    Returns:
        int64 [K, 2] without duplicates, smallest area first; the last shape holds all of them.

    Raises:
        InputError: a shape is not two positive multiples of `DIVISOR`.
    """
    for shape in shapes:
        if len(shape) != 2 or any(edge <= 0 or edge % DIVISOR for edge in shape):
            raise InputError(
                f"data.shapes: {list(shape)} is not a padded shape; give [height, width], both multiples of {DIVISOR}"
            )
    envelope = (max(height for height, _ in shapes), max(width for _, width in shapes))
    distinct = {(int(height), int(width)) for height, width in [*shapes, envelope]}
    return np.array(sorted(distinct, key=lambda shape: (shape[0] * shape[1], shape)), dtype=np.int64)


def resized_sizes(rule: ResizeRule, heights: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Compute the sizes of images after `rule`.

    Args:
        rule: resize rule.
        heights, widths: sizes in pixels, int [N], original frame.

    Returns:
        Resized (height, width), int64 [N, 2].
    """
    pairs = np.asarray(heights, dtype=np.int64) << 32 | np.asarray(widths, dtype=np.int64)
    distinct, indices = np.unique(pairs, return_inverse=True)
    resized = [rule.size(pair >> 32, pair & 0xFFFFFFFF) for pair in distinct.tolist()]
    return np.array(resized, dtype=np.int64).reshape(-1, 2)[indices]


def shrunk_to_fit(sizes: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Shrink sizes that exceed a padded shape in proportion, as `render` shrinks images.

    Args:
        sizes: (height, width) of images, int64 [N, 2].
        shape: padded (height, width), int64 [2].
    """
    fit = np.minimum(1.0, (shape / sizes).min(axis=1, keepdims=True))
    return np.where(fit < 1.0, np.maximum(1, (sizes * fit).astype(np.int64)), sizes)


def round_up(edge: int) -> int:
    """Round an edge up to a multiple of `DIVISOR`."""
    return -(-edge // DIVISOR) * DIVISOR


def smallest_holding(sizes: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Find the smallest shape that holds each size.

    Args:
        sizes: (height, width) of images, int64 [N, 2].
        shapes: padded (height, width), int64 [K, 2], smallest area first.

    Returns:
        Indices of shapes, int64 [N]; -1 where no shape is large enough.
    """
    holds = np.all(sizes[:, None, :] <= shapes[None, :, :], axis=-1)
    return np.where(np.any(holds, axis=1), np.argmax(holds, axis=1), -1)


def mixed_shape(sizes: np.ndarray, shapes: np.ndarray) -> tuple[int, int]:
    """Return the padded (height, width) of a batch with the highest and the widest images.

    The planner puts what is left of each shape into mixed batches, so one of nearly every epoch has it.

    Args:
        sizes: (height, width) of images, int64 [N, 2].
        shapes: padded (height, width), int64 [K, 2], smallest area first; the last one holds all.
    """
    height, width = shapes[smallest_holding(sizes.max(axis=0, keepdims=True), shapes)[0]].tolist()
    return height, width
