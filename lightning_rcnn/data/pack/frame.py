"""Choose the frame that the boxes of an image refer to, from the sizes that annotation and file state."""

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.pack.boxes import Edges
from lightning_rcnn.data.pack.image_info import ImageInfo, RejectedImageError, Size

_TOLERANCE = 1
"""Annotated pixels by which boxes may exceed the stated size."""


class Frame(NamedTuple):
    """The frame of a packed image.

    Attributes:
        size: (width, height) in pixels.
        annotated: (width, height) that the annotation refers to; if it differs, the annotation must be scaled.
        defects: defects of the file and of its stated size.
    """

    size: Size
    annotated: Size
    defects: list[Defect]


def choose_frame(info: ImageInfo, annotated: Size, boxes: Sequence[Edges]) -> Frame:
    """Choose the frame of an image.

    Annotation tools and browsers apply the EXIF orientation; a program that ignores it states the size of the stored
    image. If both sizes are equal, the displayed image is the frame. An image annotated at another size has the same
    aspect ratio. If the aspect ratio differs, or boxes exceed a stated size that is smaller than the file, it is
    unknown what the numbers refer to.

    Args:
        info: properties of the file.
        annotated: stated (width, height) in pixels; 0 if not stated.
        boxes: boxes as annotated.

    Raises:
        RejectedImageError: the stated size cannot be that of this image.
    """
    stored_defects: list[Defect] = [
        *(defect for defect in info.defects if defect is not Defect.EXIF_APPLIED),
        Defect.EXIF_IGNORED,
    ]
    if annotated == info.stored != info.displayed:
        return Frame(info.stored, annotated, stored_defects)
    if min(annotated) <= 0:
        return Frame(info.displayed, info.displayed, [*info.defects, Defect.SIZE_MISSING])
    if annotated == info.displayed:
        return Frame(info.displayed, annotated, info.defects)
    for size, defects in ((info.displayed, info.defects), (info.stored, stored_defects)):
        if _have_same_aspect_ratio(annotated, size) and not (size[0] > annotated[0] and _exceed(boxes, annotated)):
            return Frame(size, annotated, [*defects, Defect.SIZE_SCALED])
    width, height = info.displayed
    hint = "; are width and height swapped?" if annotated == (height, width) else ""
    raise RejectedImageError(
        Defect.SIZE_MISMATCH, f"annotated at {annotated[0]} x {annotated[1]}, the file has {width} x {height}{hint}"
    )


def _have_same_aspect_ratio(size: Size, other: Size) -> bool:
    """Return whether one size times a factor, rounded up or down, is the other."""
    return _is_multiple(size, other) or _is_multiple(other, size)


def _is_multiple(size: Size, multiple: Size) -> bool:
    min_factor = max((side - 1) / base for side, base in zip(multiple, size, strict=True))
    max_factor = min((side + 1) / base for side, base in zip(multiple, size, strict=True))
    return min_factor < max_factor


def _exceed(boxes: Sequence[Edges], size: Size) -> bool:
    width, height = size
    return any(all(map(isfinite, box)) and max(box[2] - width, box[3] - height) > _TOLERANCE for box in boxes)
