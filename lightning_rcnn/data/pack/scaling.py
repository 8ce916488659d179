"""Scale the masks of an image to another size of the image."""

from typing import Any

from lightning_rcnn.data.pack.image_info import Size
from lightning_rcnn.data.scaling import scale_points
from lightning_rcnn.masks.run_length import resize
from lightning_rcnn.masks.segmentation import checked_run_length


def scale_segmentation(segmentation: Any, size: Size, to: Size) -> Any:
    """Scale a segmentation; anything else, and an RLE of another size, stays unchanged.

    Args:
        segmentation: segmentation in COCO's form, perhaps invalid.
        size: (width, height) to which it refers, in pixels.
        to: (width, height) of the result, in pixels.
    """
    if isinstance(segmentation, dict):
        return _scale_rle(segmentation, size, to)
    return scale_points(segmentation, to[0] / size[0], to[1] / size[1])


def _scale_rle(rle: dict[str, Any], size: Size, to: Size) -> dict[str, Any]:
    if rle.get("size") != [size[1], size[0]]:
        return rle
    try:
        return resize(checked_run_length(rle.get("counts"), size[1], size[0]), to[1], to[0])
    except ValueError:
        return rle | {"size": [to[1], to[0]]}  # its counts cannot be read, which the rules report
