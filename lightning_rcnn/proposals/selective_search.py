"""Selective search: regions that look like one thing, without learning (Uijlings et al., IJCV 2013).

An image is over-segmented, and the most similar neighbors are merged until one region is left; every region on the
way is a proposal. "quality" does it in five color spaces, at several scales and with four measures of similarity,
"fast" with fewer. R-CNN and Fast R-CNN take their proposals from here. The implementation is OpenCV's.
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
_MOST_ELONGATED = 4


def selective_search(image: Tensor, mode: SelectiveSearchMode = "fast", width: int = 500) -> np.ndarray:
    """Propose boxes for one image.

    The same image gives the same boxes in the same order, whatever was looked at before, on systems with POSIX's C
    library; OpenCV orders regions by numbers of its `rand()`, which is seeded here.

    Args:
        image: uint8 [3, h, w], RGB.
        mode: "fast", some 2000 boxes for a photograph, or "quality", some 10000.
        width: pixels to which the image is scaled before, up or down (500 in R-CNN, section 4.2); an image more than
            four times as high as wide becomes narrower, since its pixels are what the search takes time for.

    Returns:
        float32 [P, 4], xyxy in pixels of `image`, best first. An image of one color is one box.

    Raises:
        InputError: OpenCV with its contributed modules is not installed; an unknown mode; no positive width.
    """
    if mode not in get_args(SelectiveSearchMode):
        raise InputError(f"selective search: mode {mode!r} is none of {', '.join(get_args(SelectiveSearchMode))}")
    if width < 1:
        raise InputError(f"selective search: width {width} is not a positive number of pixels")
    cv2 = _opencv()
    _, image_height, image_width = image.shape
    scale = min(width / image_width, _MOST_ELONGATED * width / image_height)
    size = max(1, round(image_width * scale)), max(1, round(image_height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy()[..., ::-1])  # OpenCV's colors are BGR
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
    """Proposals with scores for one image, as they are stored.

    Attributes:
        mode, width: as for `selective_search`.
        limit: the most boxes that are kept.
    """

    mode: SelectiveSearchMode
    width: int
    limit: int

    @property
    def method(self) -> str:
        """All that decides the boxes, in words."""
        version = _opencv().__version__
        return f"selective search, {self.mode}, width {self.width}, best {self.limit}, OpenCV {version}"

    def __call__(self, image: Tensor) -> np.ndarray:
        """Float32 [P, 5]: boxes, and scores that fall evenly from 1, because there is an order but no measure."""
        boxes = selective_search(image, self.mode, self.width)[: self.limit]
        scores = 1 - np.arange(len(boxes), dtype=np.float32) / max(1, len(boxes))
        return np.concatenate([boxes, scores[:, None]], axis=1)


@cache
def _opencv() -> ModuleType:
    """OpenCV, imported when it is first needed, on one thread: what is done in parallel is images."""
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
