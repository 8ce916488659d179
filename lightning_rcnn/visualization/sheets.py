"""Sheets of several images: ground truth beside detections, contact sheets; and writing images to files."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from lightning_rcnn.files import atomic_write
from lightning_rcnn.visualization.drawing import Objects, draw_objects
from lightning_rcnn.visualization.palette import class_color
from lightning_rcnn.visualization.text import caption_words, class_words, cut_to_width, font_size

MAX_SHEET_WIDTH = 4000
"""Largest width of a contact sheet, pixels."""
_PAPER, _INK = (255, 255, 255), (40, 40, 44)
_GAP = 12


def compare(
    image: Tensor, ground_truth: Objects, detections: Objects, class_names: Sequence[str], captions: tuple[str, str]
) -> Image.Image:
    """Draw ground truth (left) beside detections (right), above a legend of the classes that occur.

    Args:
        image: uint8 RGB [3, h, w], at least one pixel.
        ground_truth: objects in the frame of the image.
        detections: objects in the frame of the image; all are drawn.
        class_names: names of the labels 1..K.
        captions: texts above the two images.
    """
    drawn = [draw_objects(image, objects, class_names) for objects in (ground_truth, detections)]
    pair = side_by_side(drawn, captions)
    present = sorted({*ground_truth.labels.tolist(), *detections.labels.tolist()})
    return _grid([[pair], [_legend(present, class_names, pair.width, font_size(drawn[0].size))]], gap=0)


def side_by_side(images: Sequence[Image.Image], captions: Sequence[str]) -> Image.Image:
    """Put images in a row, each below its caption; captions are shortened to the width of their image."""
    size = max(font_size(image.size) for image in images)
    panels = []
    for image, caption in zip(images, captions, strict=True):
        panel = Image.new("RGB", (max(image.width, 12 * size), image.height + 2 * size), _PAPER)
        words = caption_words(caption)
        font = words.font(size)
        text = cut_to_width(words.text, font, panel.width)
        ImageDraw.Draw(panel).text((0, size), text, fill=_INK, font=font, anchor="lm")
        panel.paste(image, (0, 2 * size))
        panels.append(panel)
    return _grid([panels], gap=_GAP)


def contact_sheet(images: Sequence[Image.Image]) -> Image.Image:
    """Arrange images in rows and columns, about as wide as high and at most `MAX_SHEET_WIDTH` pixels wide.

    Args:
        images: at least one image; large ones are scaled down.
    """
    aspect_ratio = float(np.median([image.width / image.height for image in images]))
    columns = min(len(images), max(1, round(math.sqrt(len(images) / aspect_ratio))))
    max_side = max(1, MAX_SHEET_WIDTH // columns - 4 * _GAP)
    cells = []
    for image in images:
        cell = image.copy()
        cell.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
        cells.append(cell)
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    return _add_margin(_grid(rows, gap=2 * _GAP), margin=_GAP)


def titled_sheet(
    images: Sequence[Image.Image],
    captions: Sequence[str],
    title: str,
    labels: Sequence[int],
    class_names: Sequence[str],
) -> Image.Image:
    """Arrange images with captions below a title and above a legend of classes.

    Args:
        images: at least one image.
        captions: texts above the images.
        title: text above all.
        labels: labels of the legend.
        class_names: names of the labels 1..K.
    """
    panels = [side_by_side([image], [caption]) for image, caption in zip(images, captions, strict=True)]
    sheet = contact_sheet(panels)
    size = font_size(panels[0].size)
    words = caption_words(title)
    head = Image.new("RGB", (sheet.width, round(2.4 * size)), _PAPER)
    font = words.font(1.2 * size)
    text = cut_to_width(words.text, font, head.width - 2 * _GAP)
    ImageDraw.Draw(head).text((_GAP, head.height / 2), text, fill=_INK, font=font, anchor="lm")
    rows = [[head], [sheet]]
    if labels:
        rows.append([_add_margin(_legend(labels, class_names, sheet.width - 2 * _GAP, size), margin=_GAP)])
    return _grid(rows, gap=0)


def save_image(image: Image.Image, path: Path) -> None:
    """Write an image file atomically.

    Args:
        image: RGB.
        path: file to write; its suffix selects the format.

    Raises:
        ValueError: Pillow knows no format of that suffix.
        OSError: the file cannot be written; the file that was there before is unchanged.
    """
    suffix = path.suffix.lower()
    image_format = Image.registered_extensions().get(suffix)
    if image_format is None:
        raise ValueError(f"{path}: unknown image format {path.suffix!r}; use a suffix such as .jpg or .png")
    # JPEG stores colors at half the resolution by default, which blurs thin colored lines.
    options: dict[str, Any] = {"quality": 90, "subsampling": 0} if image_format == "JPEG" else {}
    with atomic_write(path) as file:
        image.save(file, image_format, **options)


def _legend(labels: Sequence[int], class_names: Sequence[str], width: int, size: int) -> Image.Image:
    """Draw a strip of this width with a patch of color and the name of each class, in as many lines as needed."""
    line, patch = 2 * size, size
    positions: list[tuple[int, int]] = []
    x, y = 0, 0
    for label in labels:
        words = class_words(label, class_names)
        needed = round(patch + 0.4 * size + words.font(size).getlength(words.text))
        if x > 0 and x + needed > width:
            x, y = 0, y + line
        positions.append((x, y))
        x += needed + size
    strip = Image.new("RGB", (width, y + line), _PAPER)
    draw = ImageDraw.Draw(strip)
    for label, (x, y) in zip(labels, positions, strict=True):
        top = y + (line - patch) // 2
        area = (x, top, x + patch - 1, top + patch - 1)
        draw.rounded_rectangle(area, radius=size // 5, fill=class_color(label))
        text_position = (x + patch + 0.4 * size, y + line / 2)
        words = class_words(label, class_names)
        draw.text(text_position, words.text, fill=_INK, font=words.font(size), anchor="lm")
    return strip


def _grid(rows: Sequence[Sequence[Image.Image]], gap: int) -> Image.Image:
    """Arrange images in a grid; a column is as wide as its widest image, a row as high as its highest."""
    heights = [max(image.height for image in row) for row in rows]
    widths = [max(row[i].width for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    size = (sum(widths) + gap * (len(widths) - 1), sum(heights) + gap * (len(heights) - 1))
    canvas = Image.new("RGB", size, _PAPER)
    y = 0
    for row, height in zip(rows, heights, strict=True):
        x = 0
        for image, width in zip(row, widths, strict=False):
            canvas.paste(image, (x, y))
            x += width + gap
        y += height + gap
    return canvas


def _add_margin(image: Image.Image, margin: int) -> Image.Image:
    canvas = Image.new("RGB", (image.width + 2 * margin, image.height + 2 * margin), _PAPER)
    canvas.paste(image, (margin, margin))
    return canvas
