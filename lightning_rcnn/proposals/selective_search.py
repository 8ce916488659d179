"""Selective search, region proposals without learning (Uijlings et al., IJCV 2013).

An image is over-segmented, and the most similar neighbors are merged until one region is left; every region on the
way is a proposal. "quality" uses five color spaces, several scales and four measures of similarity, "fast" fewer. R-CNN
and Fast R-CNN use these proposals. The implementation is OpenCV's.

Shape letters: h, w height and width of the image, P proposals.
"""

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Literal, get_args

import numpy as np
from torch import Tensor

from lightning_rcnn.errors import InputError

SelectiveSearchMode = Literal["fast", "quality"]

_SEED = 2013
_MAX_ASPECT_RATIO = 4
"""Height over width beyond which an image is scaled to less than the requested width."""


def selective_search(image: Tensor, mode: SelectiveSearchMode = "fast", width: int = 500) -> np.ndarray:
    """Propose boxes for one image.

    The same image gives the same boxes in the same order on POSIX systems: OpenCV orders regions by random numbers of
    the C library's `rand()`, which is seeded for each image.

    Args:
        image: uint8 [3, h, w], RGB.
        mode: "fast", about 2000 boxes for a photograph, or "quality", about 10000.
        width: width to which the image is scaled first, pixels (500 in R-CNN, section 4.2). An image more than four
            times as high as wide becomes narrower, since the time grows with the number of pixels.

    Returns:
        Float32 [P, 4], xyxy in pixels of `image`, best first. An image of one color gives one box.

    Raises:
        InputError: OpenCV with its contributed modules is not installed, the mode is unknown, or the width is not
            positive.
    """
    if mode not in get_args(SelectiveSearchMode):
        raise InputError(f"selective search: unknown mode {mode!r}; use {' or '.join(get_args(SelectiveSearchMode))}")
    if width < 1:
        raise InputError(f"selective search: width {width} is not a positive number of pixels")
    cv2 = _opencv()
    _, image_height, image_width = image.shape
    scale = min(width / image_width, _MAX_ASPECT_RATIO * width / image_height)
    size = max(1, round(image_width * scale)), max(1, round(image_height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy()[..., ::-1])  # OpenCV expects BGR
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(cv2.resize(pixels, size, interpolation=interpolation))
    search.switchToSelectiveSearchFast() if mode == "fast" else search.switchToSelectiveSearchQuality()
    _seed_c_library()
    corners = np.asarray(search.process(), np.float32).reshape(-1, 4)  # x, y, width, height
    corners[:, 2:] += corners[:, :2]
    back = np.array([image_width / size[0], image_height / size[1]] * 2, np.float32)
    return np.minimum(corners * back, np.array([image_width, image_height] * 2, np.float32))


@dataclass(frozen=True)
class SelectiveSearch:
    """A proposal method for one image at a time, with scores.

    Attributes:
        mode, width: arguments of `selective_search`.
        limit: maximum number of boxes kept.
    """

    mode: SelectiveSearchMode
    width: int
    limit: int

    @property
    def method(self) -> str:
        """Describe all settings that determine the boxes."""
        version = _opencv().__version__
        return f"selective search, {self.mode}, width {self.width}, best {self.limit}, OpenCV {version}"

    def __call__(self, image: Tensor) -> np.ndarray:
        """Propose boxes with scores, float32 [P, 5].

        Selective search ranks boxes without scoring them, so the scores decrease evenly from 1.
        """
        boxes = selective_search(image, self.mode, self.width)[: self.limit]
        scores = 1 - np.arange(len(boxes), dtype=np.float32) / max(1, len(boxes))
        return np.concatenate([boxes, scores[:, None]], axis=1)


@cache
def _opencv() -> ModuleType:
    """Import OpenCV at first use, on one thread: images are processed in parallel instead."""
    try:
        import cv2
        import cv2.ximgproc.segmentation
    except ImportError as error:
        raise InputError(
            f"selective search needs OpenCV with its contributed modules ({error}); "
            "pip install opencv-contrib-python-headless, and remove other opencv-python packages, which hide it"
        ) from error
    cv2.setNumThreads(1)
    return cv2


def _seed_c_library() -> None:
    if os.name == "posix":
        ctypes.CDLL(None).srand(_SEED)
