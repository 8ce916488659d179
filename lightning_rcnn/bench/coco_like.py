"""A data set on paper, with sizes and numbers of objects spread like those of COCO train2017.

Shape letter: N images.
"""

from typing import NamedTuple

import numpy as np

from lightning_rcnn.data.plan import random_keys

NUM_IMAGES = 118_287
"""Images of train2017."""
NUM_EMPTY = 1_021
"""Images of train2017 without objects."""
MOST_OBJECTS = 93
SIZES = {
    (640, 480): 52,
    (640, 427): 48,
    (427, 640): 19,
    (480, 640): 16,
    (500, 334): 12,
    (500, 375): 9,
    (375, 500): 8,
    (640, 640): 8,
    (640, 360): 7,
    (560, 640): 6,
    (334, 500): 5,
    (640, 560): 4,
    (640, 220): 3,
    (640, 320): 2,
    (360, 640): 1,
}
"""(width, height) -> how many of 200 images of COCO (50 of train2017, 50 of val2017, 100 of val2014) are next to it."""
_SCALE, _POWER = 6.4, 1.13
"""Of 1 + floor(scale * (-ln u)^power), u uniform: mean 7.3 of images with objects (COCO: 860,001 objects on 117,266
images), median 5 (4 by COCO's statistics), 99% below 36 (33)."""
SHARD_SIZE = 500


class CocoLike(NamedTuple):
    """Sizes and objects of images.

    Attributes:
        heights, widths: int64 [N], pixels.
        objects: number of objects of each image, int64 [N].
        shard_sizes: number of images of each shard, int64.
    """

    heights: np.ndarray
    widths: np.ndarray
    objects: np.ndarray
    shard_sizes: np.ndarray


def coco_like(num_images: int = NUM_IMAGES) -> CocoLike:
    """Draw images; the same on all machines."""
    sizes = np.array(list(SIZES), dtype=np.int64)
    ends = np.cumsum(list(SIZES.values()))
    drawn = sizes[np.searchsorted(ends, _uniform(num_images, "sizes") * ends[-1], side="right")]
    objects = 1 + (_SCALE * (-np.log(_uniform(num_images, "objects"))) ** _POWER).astype(np.int64)
    objects = np.minimum(objects, MOST_OBJECTS)
    objects[_uniform(num_images, "empty") < NUM_EMPTY / NUM_IMAGES] = 0
    shard_sizes = np.full(-(-num_images // SHARD_SIZE), SHARD_SIZE, dtype=np.int64)
    shard_sizes[-1] -= shard_sizes.sum() - num_images
    return CocoLike(drawn[:, 1], drawn[:, 0], objects, shard_sizes)


def _uniform(num: int, purpose: str) -> np.ndarray:
    """Return random float64 [num] above 0 and below 1."""
    return ((random_keys(num, 0, 0, purpose) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
