"""Drawing of training batches as the network gets them: objects, padding, and the anchors that match.

Shape letters: M ground truths of an image, A anchors that match, H and W padded height and width, h and w height and
width of the image inside the padding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from lightning_rcnn.data.pixel_format import RGB, PixelFormat
from lightning_rcnn.data.shown_bands import shown_bands
from lightning_rcnn.rpn.matches import AnchorMatches
from lightning_rcnn.skeleton import Pairs
from lightning_rcnn.structures import Batch
from lightning_rcnn.visualization.drawing import MIN_LONGER_SIDE, Objects, draw_objects
from lightning_rcnn.visualization.palette import instance_color
from lightning_rcnn.visualization.skeletons import ShownKeypoints
from lightning_rcnn.visualization.target_masks import target_masks
from lightning_rcnn.visualization.text import font_size

_PADDING, _HATCH = (46, 46, 52), (72, 72, 80)
_HATCH_STEP = 14
"""Pixels between two lines of the padding."""
_ANCHOR_DASH = 5
"""Pixels of one piece of the broken lines of anchors."""
_ANCHOR_GAPS = (20, 20, 24, 70)
_ALARM = (255, 32, 64)
"""Color of the marks of objects that no anchor learns."""


class TrainingObjects(NamedTuple):
    """The ground truth of one image of a batch.

    Attributes:
        objects: boxes, labels, crowds, masks and keypoints, in pixels of the padded image.
        gt_index: int64 [M], their places among the ground truths of the batch.
    """

    objects: Objects
    gt_index: Tensor


def objects_of(batch: Batch, slot: int, edges: Pairs = ()) -> TrainingObjects:
    """Return the ground truth of one image of a batch.

    Args:
        batch: batch with targets.
        slot: number of the image in the batch.
        edges: positions of the keypoints between which lines are drawn, if the batch has keypoints.
    """
    targets = batch.targets
    assert targets is not None, "a training batch has targets"
    index = (targets.labels[slot] > 0).nonzero()[:, 0]
    masks = None
    if targets.masks is not None:
        all_masks = target_masks(targets.masks, slot, batch.images.shape[2], batch.images.shape[3])
        masks = [all_masks[number] for number in index.tolist()]
    keypoints = None
    if targets.keypoints is not None:
        own = targets.keypoints[slot, index]
        keypoints = ShownKeypoints(own[..., :2], own[..., 2] > 0, edges)
    objects = Objects(
        targets.boxes[slot, index], targets.labels[slot, index], None, targets.is_crowd[slot, index], masks, keypoints
    )
    return TrainingObjects(objects, index)


def draw_training_image(
    batch: Batch,
    slot: int,
    shown: TrainingObjects,
    matches: AnchorMatches | None,
    class_names: Sequence[str],
    pixels: PixelFormat = RGB,
) -> Image.Image:
    """Draw one image of a batch with its padding, its objects and the anchors that match.

    Anchors are thin lines in the shade of their object. An object that no anchor learns has a red ring.

    Args:
        batch: batch.
        slot: number of the image in the batch.
        shown: its ground truth.
        matches: its positive anchors; None for a detector without anchors.
        class_names: names of the labels 1..K.
        pixels: pixel format of the images.
    """
    canvas, scale = _canvas(shown_bands(batch.images[slot], pixels), *batch.image_sizes[slot].tolist())
    objects = shown.objects._replace(boxes=shown.objects.boxes * torch.from_numpy(scale).float())
    if (keypoints := objects.keypoints) is not None:
        points = keypoints.points * torch.from_numpy(scale[:2]).float()
        objects = objects._replace(keypoints=keypoints._replace(points=points))
    if matches is not None:
        _draw_anchors(canvas, matches.boxes.numpy() * scale, shown, matches.gt_index)
    drawn = torch.from_numpy(np.asarray(canvas).copy()).permute(2, 0, 1)
    canvas = draw_objects(drawn, objects, class_names)
    if matches is not None:
        is_alone = without_anchor(shown, matches)
        _draw_rings(canvas, objects.boxes[is_alone].numpy())
    return canvas


def without_anchor(shown: TrainingObjects, matches: AnchorMatches) -> Tensor:
    """Mark the single objects of an image that no anchor learns, bool [M]; crowds have no anchors by design."""
    is_crowd = shown.objects.is_crowd
    assert is_crowd is not None
    return ~torch.isin(shown.gt_index, matches.gt_index) & ~is_crowd


def _canvas(pixels: Tensor, height: int, width: int) -> tuple[Image.Image, np.ndarray]:
    """Return an image of sufficient size with its padding hatched, and the factors [4] that move boxes to it."""
    padded_height, padded_width = pixels.shape[1:]
    factor = max(1.0, MIN_LONGER_SIDE / max(padded_height, padded_width))
    size = round(padded_width * factor), round(padded_height * factor)
    scale = np.array([size[0] / padded_width, size[1] / padded_height] * 2)
    canvas = Image.new("RGB", size, _PADDING)
    draw = ImageDraw.Draw(canvas)
    for start in range(-size[1], size[0], _HATCH_STEP):
        draw.line((start, size[1], start + size[1], 0), fill=_HATCH, width=2)
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :height, :width].permute(1, 2, 0).numpy()))
    inner = max(1, round(width * scale[0])), max(1, round(height * scale[1]))
    canvas.paste(image.resize(inner, Image.Resampling.BICUBIC), (0, 0))
    return canvas, scale


def _draw_anchors(canvas: Image.Image, boxes: np.ndarray, shown: TrainingObjects, gt_index: Tensor) -> None:
    """Draw broken lines, every other piece dark, which are visible on any background."""
    draw = ImageDraw.Draw(canvas, "RGBA")
    line = max(1, round(font_size(canvas.size) / 10))
    numbers = torch.searchsorted(shown.gt_index, gt_index).tolist()
    labels = shown.objects.labels.tolist()
    for (left, top, right, bottom), number in zip(boxes.round().tolist(), numbers, strict=True):
        draw.rectangle((left, top, right - 1, bottom - 1), outline=_ANCHOR_GAPS, width=line)
        color = instance_color(labels[number], number)
        for start in np.arange(left, right, 2 * _ANCHOR_DASH).tolist():
            end = min(start + _ANCHOR_DASH, right) - 1
            draw.rectangle((start, top, end, top + line - 1), fill=color)
            draw.rectangle((start, bottom - line, end, bottom - 1), fill=color)
        for start in np.arange(top, bottom, 2 * _ANCHOR_DASH).tolist():
            end = min(start + _ANCHOR_DASH, bottom) - 1
            draw.rectangle((left, start, left + line - 1, end), fill=color)
            draw.rectangle((right - line, start, right - 1, end), fill=color)


def _draw_rings(canvas: Image.Image, boxes: np.ndarray) -> None:
    draw = ImageDraw.Draw(canvas)
    margin = max(6, round(max(canvas.size) / 80))
    for left, top, right, bottom in boxes.tolist():
        ring = (left - margin, top - margin, right + margin, bottom + margin)
        draw.ellipse(ring, outline=(255, 255, 255), width=5)
        draw.ellipse(
            tuple(edge + inset for edge, inset in zip(ring, (1, 1, -1, -1), strict=True)), outline=_ALARM, width=3
        )
