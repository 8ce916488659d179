"""The frame that the boxes of an image refer to: which of the sizes that the annotation and the file state."""

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.pack.boxes import Edges
from lightning_rcnn.data.pack.pictures import Picture, RejectedImageError, Size

_SLOPPINESS = 1
"""Annotated pixels by which boxes may leave the size that is stated for them."""


class Frame(NamedTuple):
    """The frame of a packed image.

    Attributes:
        size: in it.
        annotated: the size that the annotation's numbers refer to; where it is another one, they are to be scaled.
        defects: what is odd about the file or its stated size.
    """

    size: Size
    annotated: Size
    defects: list[Defect]


def choose_frame(picture: Picture, annotated: Size, boxes: Sequence[Edges]) -> Frame:
    """Choose the frame of an image.

    Annotation tools and browsers show an image as its EXIF orientation says; who annotated by a program that ignores
    it has stated the size of the stored image. Where both sizes are the same, the image as shown is taken. An image
    that was annotated at another size has the same shape; if it has another one, or boxes that the stated size cannot
    hold but the file can, it is unknown what the numbers refer to.

    Args:
        picture: the file.
        annotated: the stated size; 0 where it is not.
        boxes: as annotated.

    Raises:
        RejectedImageError: the stated size cannot be that of this image.
    """
    turned_back: list[Defect] = [
        *(defect for defect in picture.defects if defect is not Defect.EXIF_APPLIED),
        Defect.EXIF_IGNORED,
    ]
    if annotated == picture.stored != picture.shown:
        return Frame(picture.stored, annotated, turned_back)
    if min(annotated) <= 0:
        return Frame(picture.shown, picture.shown, [*picture.defects, Defect.SIZE_MISSING])
    if annotated == picture.shown:
        return Frame(picture.shown, annotated, picture.defects)
    for size, defects in ((picture.shown, picture.defects), (picture.stored, turned_back)):
        if _is_same_shape(annotated, size) and not (size[0] > annotated[0] and _reach_out(boxes, annotated)):
            return Frame(size, annotated, [*defects, Defect.SIZE_SCALED])
    width, height = picture.shown
    swapped = "; are width and height swapped?" if annotated == (height, width) else ""
    raise RejectedImageError(
        Defect.SIZE_MISMATCH, f"annotated at {annotated[0]} x {annotated[1]}, the file has {width} x {height}{swapped}"
    )


def _is_same_shape(size: Size, other: Size) -> bool:
    """Whether one size times a factor, rounded up or down, is the other."""
    return _is_multiple(size, other) or _is_multiple(other, size)


def _is_multiple(size: Size, multiple: Size) -> bool:
    least = max((side - 1) / base for side, base in zip(multiple, size, strict=True))
    most = min((side + 1) / base for side, base in zip(multiple, size, strict=True))
    return least < most


def _reach_out(boxes: Sequence[Edges], size: Size) -> bool:
    width, height = size
    return any(all(map(isfinite, box)) and max(box[2] - width, box[3] - height) > _SLOPPINESS for box in boxes)
