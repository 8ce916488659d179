"""Masks of an image at one size, for the image at another size."""

from typing import Any

from lightning_rcnn.data.pack.pictures import Size
from lightning_rcnn.data.scaling import scale_points
from lightning_rcnn.masks.run_length import resize
from lightning_rcnn.masks.segmentation import checked_run_length


def scale_segmentation(segmentation: Any, size: Size, to: Size) -> Any:
    """Scale whatever stands for a segmentation; what is none, or an RLE of another size, stays as it is."""
    if isinstance(segmentation, dict):
        return _scale_rle(segmentation, size, to)
    return scale_points(segmentation, to[0] / size[0], to[1] / size[1])


def _scale_rle(rle: dict[str, Any], size: Size, to: Size) -> dict[str, Any]:
    if rle.get("size") != [size[1], size[0]]:
        return rle
    try:
        return resize(checked_run_length(rle.get("counts"), size[1], size[0]), to[1], to[0])
    except ValueError:
        return rle | {"size": [to[1], to[0]]}  # its counts cannot be read: the rules say so
