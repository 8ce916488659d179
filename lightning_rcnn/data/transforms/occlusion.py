"""Paste objects over an image: its pixels, and what remains visible of the objects below.

Masks are decoded one crop at a time. The only array as large as the image is the union of the pasted masks.

Shape letters: m objects of an image, h and w its height and width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from lightning_rcnn.data.keypoints import ObjectKeypoints
from lightning_rcnn.data.transforms.base import TrainingImage
from lightning_rcnn.data.transforms.frame import joined_keypoints
from lightning_rcnn.masks.crops import Crop, ObjectMask, crop_edges, cut_crop, decode_masks


def paste_objects(below: TrainingImage, above: TrainingImage, min_visible: float) -> TrainingImage:
    """Paste all objects of one image over another of the same size.

    An object below that is partly hidden keeps the visible part of its mask, and its box becomes the tight box around
    it. Its keypoints behind pasted objects stay, as hidden ones. An object below without a mask counts as the rectangle
    of its box, and its box shrinks where whole sides are hidden. A crowd below stays a crowd as long as a pixel of it
    is visible.

    A class of a pasted object is no longer absent; which objects of `below` may lack annotations does not change.

    Args:
        below: image [C, h, w] with nothing recorded.
        above: image [C, h, w] with nothing recorded; its objects without a pixel, or a mask, are not pasted.
        min_visible: share of its pixels, 0 to 1, that must remain of an object below; without any it always goes.

    Returns:
        The objects of `below` in their order, then those of `above`.

    Raises:
        UnreadableMaskError: a mask cannot be decoded.
    """
    height, width = below.image.shape[-2:]
    is_pasted = np.zeros((height, width), np.bool_)
    has_pixel = np.zeros(len(above.boxes), np.bool_)
    for number, crop in enumerate(_crops(above.segmentations, height, width)):
        if crop is not None:
            _window(is_pasted, crop)[...] |= crop.pixels
            has_pixel[number] = crop.pixels.any()
    above = above.with_objects(has_pixel)
    visible = _visible_objects(below, is_pasted, min_visible)
    return replace(
        visible,
        image=_pasted_pixels(below.image, above.image, is_pasted),
        boxes=np.concatenate([visible.boxes, above.boxes]),
        labels=np.concatenate([visible.labels, above.labels]),
        is_crowd=np.concatenate([visible.is_crowd, above.is_crowd]),
        segmentations=visible.segmentations + above.segmentations,
        keypoints=joined_keypoints([visible.keypoints, above.keypoints]),
        negative_labels=tuple(label for label in below.negative_labels if label not in above.labels),
    )


def _visible_objects(below: TrainingImage, is_pasted: np.ndarray, min_visible: float) -> TrainingImage:
    """Return the image with what is visible of its objects, and without those of which too little is."""
    height, width = is_pasted.shape
    boxes, masks = below.boxes.copy(), list(below.segmentations)
    is_kept = np.ones(len(boxes), np.bool_)
    for number, crop in enumerate(_crops(below.segmentations, height, width)):
        whole = _rectangle(below.boxes[number], height, width) if crop is None else crop
        is_hidden = whole.pixels & _window(is_pasted, whole)
        if not is_hidden.any():
            continue
        visible = whole._replace(pixels=whole.pixels & ~is_hidden)
        num_pixels, num_visible = np.count_nonzero(whole.pixels), np.count_nonzero(visible.pixels)
        is_enough = below.is_crowd[number] or num_visible >= min_visible * num_pixels
        is_kept[number] = num_visible > 0 and is_enough
        tight = cut_crop(visible, (0, 0, width, height))
        if crop is not None:
            boxes[number], masks[number] = crop_edges(tight), tight
        else:  # an edge between two pixels, on a side that is not hidden, stays
            x1, y1, x2, y2 = crop_edges(tight)
            boxes[number] = boxes[number].clip([x1, y1, 0, 0], [width, height, x2, y2])
    keypoints = None if below.keypoints is None else _hidden_behind(below.keypoints, is_pasted)
    return replace(below, boxes=boxes, segmentations=masks, keypoints=keypoints).with_objects(is_kept)


def _hidden_behind(keypoints: ObjectKeypoints, is_pasted: np.ndarray) -> ObjectKeypoints:
    height, width = is_pasted.shape
    x, y = np.moveaxis(keypoints.points[..., :2], -1, 0).astype(np.int64)
    return keypoints.hidden(is_pasted[y.clip(0, height - 1), x.clip(0, width - 1)])


def _crops(masks: Sequence[ObjectMask | None], height: int, width: int) -> Iterator[Crop | None]:
    """Decode the masks of an image one after the other; None for an object without a mask."""
    crops = decode_masks([mask for mask in masks if mask is not None], height, width)
    for mask in masks:
        yield None if mask is None else next(crops)


def _window(pixels: np.ndarray, crop: Crop) -> np.ndarray:
    """Return the view of an array [h, w] that a crop covers."""
    left, top, right, bottom = crop_edges(crop)
    return pixels[top:bottom, left:right]


def _rectangle(box: np.ndarray, height: int, width: int) -> Crop:
    """Return the pixels that a box (xyxy) touches."""
    x1, y1 = np.floor(box[:2]).clip(0, [width, height]).astype(int).tolist()
    x2, y2 = np.ceil(box[2:]).clip(0, [width, height]).astype(int).tolist()
    return Crop(np.ones((y2 - y1, x2 - x1), np.bool_), y1, x1)


def _pasted_pixels(below: Tensor, above: Tensor, is_pasted: np.ndarray) -> Tensor:
    """Return a copy of `below` [C, h, w] with the pixels of `above` where `is_pasted` [h, w]; edges are not blended."""
    image = below.clone()
    channels = image.shape[0]
    # numpy broadcasts four times as slowly.
    is_copied = np.repeat(is_pasted.ravel(), channels).reshape(*is_pasted.shape, channels)
    np.copyto(image.permute(1, 2, 0).numpy(), above.permute(1, 2, 0).numpy(), where=is_copied)
    return image
