"""Cut an image to a window, and decide what becomes of its objects."""

from dataclasses import replace

import numpy as np

from lightning_rcnn.data.transforms.base import TrainingImage
from lightning_rcnn.data.transforms.view import visible_part
from lightning_rcnn.masks.crops import Window, crop_edges, cut_crop, decode_masks


def cut(
    sample: TrainingImage, window: Window, min_visible: float = 0.0, kept: np.ndarray | None = None
) -> TrainingImage:
    """Record a window, and leave out the objects that it does not show.

    Boxes are clipped to the window. The box of an object that is cut and has a mask becomes the smallest one around the
    pixels that are left of the mask. Objects without any area or pixel in the window go; crowds stay crowds. All
    objects may go: then the image has only background. Keypoints outside the window are no longer labeled.

    Args:
        sample: image with its objects.
        window: new window, in pixels of the image; see `view.in_image`.
        min_visible: share of an object's area (that of its mask, if it has one, or else of its box) that must be left;
            what an earlier cut has taken away does not count.
        kept: bool [m], objects that may stay; all by default.

    Raises:
        UnreadableMaskError: the mask of an object that is cut cannot be read.
    """
    sample = replace(sample, window=window)
    visible = visible_part(sample)
    low, high = np.array(visible[:2] * 2, np.float32), np.array(visible[2:] * 2, np.float32)
    boxes = np.clip(sample.boxes, low, high)
    areas = _areas(boxes)
    is_visible = areas > 0 if kept is None else kept & (areas > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = areas / _areas(sample.boxes)
    segmentations = list(sample.segmentations)
    is_cut = is_visible & np.any(boxes != sample.boxes, axis=1)
    masks = [(index, mask) for index in np.flatnonzero(is_cut) if (mask := segmentations[index]) is not None]
    crops = decode_masks([mask for _, mask in masks], *sample.image.shape[-2:])
    for (index, mask), crop in zip(masks, crops, strict=True):
        left = cut_crop(crop, visible)
        shares[index] = left.pixels.sum() / max(1, crop.pixels.sum())
        is_visible[index] = left.pixels.size > 0
        boxes[index] = crop_edges(left)
        if not isinstance(mask, list):  # polygons are cut last, so that outlines stay exact
            segmentations[index] = left
    keypoints = None if sample.keypoints is None else sample.keypoints.inside(visible)
    sample = replace(sample, boxes=boxes, segmentations=segmentations, keypoints=keypoints)
    return sample.with_objects(is_visible & (shares >= min_visible))


def _areas(boxes: np.ndarray) -> np.ndarray:
    edges = boxes[:, 2:] - boxes[:, :2]
    return edges[:, 0] * edges[:, 1]
