"""Read the numbers in a mask, and the objects that have them."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.formats.labeled import LabeledObject, LabelsError
from lightning_rcnn.masks.run_length import encode_crop

_VOC_FOLDER, _VOC_BORDER = "segmentationobject", 255
"""Pascal VOC's folder, and the number of the border around its objects, which belongs to none."""
_MAX_IDS = 20_000


def read_pixels(path: Path, *, is_binary: bool = False) -> np.ndarray:
    """Return the numbers of a mask [h, w]; indices of a palette, and one of equal color channels."""
    try:
        with Image.open(path) as image:
            opaque = image.convert(image.mode[:-1]) if image.mode in ("RGBA", "LA") else image
            pixels = np.asarray(opaque)
    except FileNotFoundError:
        raise LabelsError(f"{path.name} was removed") from None
    except Exception as error:  # Pillow raises anything on damaged files
        raise LabelsError(f"{path.name} cannot be read ({' '.join(str(error).split())})") from error
    if pixels.ndim == 3:
        if is_binary:
            return pixels.max(axis=2)
        if (pixels != pixels[..., :1]).any():
            raise LabelsError(f"{path.name} has colors instead of a number for each object")
        pixels = pixels[..., 0]
    if pixels.dtype == np.bool_:
        return pixels * np.uint8(255)
    if pixels.dtype.kind not in "iu":
        raise LabelsError(f"{path.name} has floating-point pixels instead of a number for each object")
    return pixels


def numbers_of(pixels: np.ndarray, path: Path, background: Collection[int] = (0,)) -> list[int]:
    """Return the numbers of a mask without those of the background, and of the border in VOC's masks.

    Raises:
        LabelsError: there are too many.
    """
    left_out = {*background, _VOC_BORDER} if path.parent.name.lower() == _VOC_FOLDER else background
    numbers = [number for number in np.unique(pixels).tolist() if number not in left_out]
    if len(numbers) > _MAX_IDS:
        raise LabelsError(f"{path.name} has {len(numbers)} different numbers, it is no mask")
    return numbers


def object_of(mask: np.ndarray, class_name: str, place: str) -> LabeledObject:
    """Return the object of a mask bool [h, w] of an image."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return LabeledObject(class_name, place=f"{place}: empty", lost=Defect.EMPTY_MASK)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    rle = encode_crop(mask[top:bottom, left:right], int(top), int(left), height, width)
    edges = (float(left), float(top), float(right), float(bottom))
    return LabeledObject(class_name, edges, rle, place=place)
