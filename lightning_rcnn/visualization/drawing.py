"""Drawing of objects with class names and scores on one image, readable at any size.

An object with a mask is filled, in a shade of its own, and outlined; one without gets lines around its box. Lines and
letters grow with the image, small images are enlarged, and small objects get thin lines. Many objects get smaller
letters. If the letters would still cover more than `MAX_TEXT_FRACTION` of the image, none are drawn.

Shape letters: n objects, h and w height and width of the image.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from lightning_rcnn.masks.run_length import RunLength
from lightning_rcnn.visualization.instances import draw_mask, scaled_crops
from lightning_rcnn.visualization.palette import Color, class_color, instance_color, readable_on
from lightning_rcnn.visualization.placement import place_labels
from lightning_rcnn.visualization.skeletons import Pose, ShownKeypoints, draw_pose, poses_of
from lightning_rcnn.visualization.text import MIN_FONT_SIZE, Words, class_words, font_size

MIN_LONGER_SIDE = 640
"""Length to which the longer side of a smaller image is enlarged, pixels."""
MAX_TEXT_FRACTION = 0.1
"""Fraction of the image's area that text may cover; otherwise no text is drawn."""
_FONT_STEPS = (1.0, 0.8, 0.6)
_EDGE_OPACITY = 110
"""Opacity, 0 to 255, of the dark or bright lines that set a box off from a background of its color."""


class Objects(NamedTuple):
    """Objects to draw on an image.

    Attributes:
        boxes: float [n, 4], xyxy in pixels of the image; boxes that are not finite are not drawn.
        labels: int64 [n], 1..K.
        scores: float [n], shown behind the names; None for ground truth.
        is_crowd: bool [n], drawn in broken lines or stripes; None if there are no crowds.
        masks: n masks, each of the whole image in any resolution, None for an object that is drawn as a box; or None if
            all are.
        keypoints: keypoints of the n objects; None if they have none.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor | None = None
    is_crowd: Tensor | None = None
    masks: Sequence[RunLength | None] | None = None
    keypoints: ShownKeypoints | None = None


class _Mark(NamedTuple):
    """One object in the frame of the canvas."""

    box: np.ndarray
    words: Words
    color: Color
    shade: Color
    is_crowd: bool
    mask: RunLength | None
    pose: Pose | None


def draw_objects(image: Tensor, objects: Objects, class_names: Sequence[str]) -> Image.Image:
    """Draw objects on an image.

    Args:
        image: uint8 RGB [3, h, w], at least one pixel.
        objects: objects in the frame of the image, the most important ones first.
        class_names: names of the labels 1..K.

    Returns:
        An RGB image; larger than `image` if that is small.
    """
    canvas, scale = _enlarge(image)
    marks = _marks(objects, scale, class_names)
    draw = ImageDraw.Draw(canvas, "RGBA")
    # Draw large objects first, so that small ones lie on top.
    ordered = sorted(marks, key=lambda mark: -_area(mark.box))
    crops = scaled_crops([mark.mask for mark in ordered if mark.mask is not None], canvas.size)
    for mark in ordered:
        if mark.mask is None:
            _draw_box(draw, mark, canvas.size)
        else:
            draw_mask(canvas, next(crops), mark.shade, mark.color, _line(canvas.size), mark.is_crowd)
    for mark in ordered:
        if mark.pose is not None:
            draw_pose(draw, mark.pose, mark.shade, _line(canvas.size))
    letters = _choose_font_size(marks, canvas.size)
    if letters is not None:
        boxes = np.array([mark.box for mark in marks]).reshape(-1, 4)
        sizes = np.array([_label_size(mark.words, letters) for mark in marks], dtype=np.float64).reshape(-1, 2)
        for mark, size, corner in zip(marks, sizes, place_labels(boxes, sizes, canvas.size), strict=True):
            if corner is not None:
                _draw_label(draw, mark, corner, size, letters)
    return canvas


def _enlarge(image: Tensor) -> tuple[Image.Image, np.ndarray]:
    """Copy the image to a canvas of sufficient size; also return the factors [4] that move boxes to it."""
    canvas = Image.fromarray(np.ascontiguousarray(image.cpu().permute(1, 2, 0).numpy()))
    factor = max(1.0, MIN_LONGER_SIDE / max(canvas.size))
    width, height = (max(1, round(side * factor)) for side in canvas.size)
    scale = np.array([width / canvas.width, height / canvas.height] * 2)
    return canvas.resize((width, height), Image.Resampling.BICUBIC), scale


def _marks(objects: Objects, scale: np.ndarray, class_names: Sequence[str]) -> list[_Mark]:
    boxes = objects.boxes.detach().cpu().double().reshape(-1, 4).numpy() * scale
    labels = objects.labels.tolist()
    scores = [None] * len(labels) if objects.scores is None else objects.scores.tolist()
    crowd = [False] * len(labels) if objects.is_crowd is None else objects.is_crowd.tolist()
    masks = [None] * len(labels) if objects.masks is None else objects.masks
    poses = [None] * len(labels) if objects.keypoints is None else poses_of(objects.keypoints, scale[:2])
    marks = []
    rows = zip(boxes, labels, scores, crowd, masks, poses, strict=True)
    for number, (box, label, score, is_crowd, mask, pose) in enumerate(rows):
        name = class_words(label, class_names)
        parts = [name.text]
        parts += [] if score is None else [f"{score:.2f}"]
        parts += ["(crowd)"] if is_crowd else []
        if np.isfinite(box).all():
            colors = class_color(label), instance_color(label, number)
            marks.append(_Mark(box, name._replace(text=" ".join(parts)), *colors, is_crowd, mask, pose))
    return marks


def _area(box: np.ndarray) -> float:
    width, height = np.maximum(box[2:] - box[:2], 0)
    return float(width * height)


def _line(canvas_size: tuple[int, int]) -> int:
    """Return the thickness of lines around large objects, pixels."""
    return max(1, round(font_size(canvas_size) / 6))


def _draw_box(draw: ImageDraw.ImageDraw, mark: _Mark, canvas_size: tuple[int, int]) -> None:
    """Draw lines around a box, inside its edges and inside the canvas."""
    width, height = canvas_size
    limits = np.array([width, height, width, height]) - 1.0
    left, top, right, bottom = (int(edge) for edge in np.clip(np.round(mark.box - (0, 0, 1, 1)), 0, limits))
    right, bottom = max(left, right), max(top, bottom)
    line = max(1, min(_line(canvas_size), round(min(right - left, bottom - top) / 10)))
    if line > 1:
        edge = (*readable_on(mark.color), _EDGE_OPACITY)
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=edge)
        inner = (left + line, top + line, right - line, bottom - line)
        if inner[0] <= inner[2] and inner[1] <= inner[3]:
            draw.rectangle(inner, outline=edge)
    if not mark.is_crowd:
        draw.rectangle((left, top, right, bottom), outline=mark.color, width=line)
        return
    dash = 5 * line
    for start in range(left, right + 1, 2 * dash):
        end = min(start + dash, right)
        draw.rectangle((start, top, end, min(top + line - 1, bottom)), fill=mark.color)
        draw.rectangle((start, max(bottom - line + 1, top), end, bottom), fill=mark.color)
    for start in range(top, bottom + 1, 2 * dash):
        end = min(start + dash, bottom)
        draw.rectangle((left, start, min(left + line - 1, right), end), fill=mark.color)
        draw.rectangle((max(right - line + 1, left), start, right, end), fill=mark.color)


def _choose_font_size(marks: Sequence[_Mark], canvas_size: tuple[int, int]) -> float | None:
    """Choose the largest letters, pixels, that are no higher than most objects and keep to `MAX_TEXT_FRACTION`."""
    width, height = canvas_size
    median_side = np.median([math.sqrt(_area(mark.box)) for mark in marks]) if marks else 0.0
    for step in _FONT_STEPS:
        size = max(MIN_FONT_SIZE, step * font_size(canvas_size))
        if size > median_side and step != _FONT_STEPS[-1]:
            continue
        text_area = sum(math.prod(_label_size(mark.words, size)) for mark in marks)
        if text_area <= MAX_TEXT_FRACTION * width * height:
            return size
    return None


def _label_size(words: Words, letters: float) -> tuple[int, int]:
    """Return (width, height) in pixels of a text in letters of this size, with a margin."""
    font = words.font(letters)
    _, top, _, bottom = font.getbbox(f"Ag{words.text}")
    height = round(1.3 * (bottom - top))
    return round(font.getlength(words.text) + 0.5 * height), height


def _draw_label(
    draw: ImageDraw.ImageDraw, mark: _Mark, corner: tuple[float, float], size: np.ndarray, letters: float
) -> None:
    left, top = round(corner[0]), round(corner[1])
    width, height = (int(side) for side in size)
    area = (left, top, left + width - 1, top + height - 1)
    draw.rounded_rectangle(area, radius=height // 6, fill=(*mark.color, 225))
    center = (left + width / 2, top + height / 2)
    draw.text(center, mark.words.text, fill=readable_on(mark.color), font=mark.words.font(letters), anchor="mm")
