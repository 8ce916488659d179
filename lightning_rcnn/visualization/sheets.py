"""Several pictures in one: ground truth beside detections, contact sheets; and how they reach the disk."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from lightning_rcnn.visualization.drawing import Objects, draw_objects
from lightning_rcnn.visualization.palette import class_colour
from lightning_rcnn.visualization.text import caption_words, class_words, cut_to_width, font_size

MAX_SHEET_WIDTH = 4000
"""Of a contact sheet, pixels."""
_PAPER, _INK = (255, 255, 255), (40, 40, 44)
_GAP = 12


def compare(
    image: Tensor, ground_truth: Objects, detections: Objects, class_names: Sequence[str], captions: tuple[str, str]
) -> Image.Image:
    """Ground truth (left) beside detections, the colours of the classes that occur below.

    Args:
        image: uint8 RGB [3, h, w], of one pixel at least.
        ground_truth: in the frame of the image, as are the detections.
        detections: all of them are drawn.
        class_names: of labels 1..K.
        captions: above the two sides.
    """
    pictures = [draw_objects(image, objects, class_names) for objects in (ground_truth, detections)]
    pair = side_by_side(pictures, captions)
    present = sorted({*ground_truth.labels.tolist(), *detections.labels.tolist()})
    return _grid([[pair], [_legend(present, class_names, pair.width, font_size(pictures[0].size))]], gap=0)


def side_by_side(pictures: Sequence[Image.Image], captions: Sequence[str]) -> Image.Image:
    """Pictures in a row, each below its caption, which is cut to the picture's width if it must be."""
    size = max(font_size(picture.size) for picture in pictures)
    panels = []
    for picture, caption in zip(pictures, captions, strict=True):
        panel = Image.new("RGB", (max(picture.width, 12 * size), picture.height + 2 * size), _PAPER)
        words = caption_words(caption)
        font = words.font(size)
        text = cut_to_width(words.text, font, panel.width)
        ImageDraw.Draw(panel).text((0, size), text, fill=_INK, font=font, anchor="lm")
        panel.paste(picture, (0, 2 * size))
        panels.append(panel)
    return _grid([panels], gap=_GAP)


def contact_sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures in rows and columns, about as wide as high, at most `MAX_SHEET_WIDTH` pixels wide.

    Args:
        pictures: at least one.
    """
    aspect_ratio = float(np.median([picture.width / picture.height for picture in pictures]))
    columns = min(len(pictures), max(1, round(math.sqrt(len(pictures) / aspect_ratio))))
    widest = max(1, MAX_SHEET_WIDTH // columns - 4 * _GAP)
    cells = []
    for picture in pictures:
        cell = picture.copy()
        cell.thumbnail((widest, widest), Image.Resampling.LANCZOS)
        cells.append(cell)
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    return _framed(_grid(rows, gap=2 * _GAP), margin=_GAP)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format that the name's ending says; it appears under its name only when whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    # Thin coloured lines suffer where JPEG stores colours at half the resolution.
    options: dict[str, Any] = {"quality": 90, "subsampling": 0} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    picture.save(partial, **options)
    partial.replace(path)


def _legend(labels: Sequence[int], class_names: Sequence[str], width: int, size: int) -> Image.Image:
    """A strip [.., width] with a patch of colour and the name of each class, in as many lines as it takes."""
    line, patch = 2 * size, size
    places: list[tuple[int, int]] = []
    x, y = 0, 0
    for label in labels:
        words = class_words(label, class_names)
        needed = round(patch + 0.4 * size + words.font(size).getlength(words.text))
        if x > 0 and x + needed > width:
            x, y = 0, y + line
        places.append((x, y))
        x += needed + size
    strip = Image.new("RGB", (width, y + line), _PAPER)
    draw = ImageDraw.Draw(strip)
    for label, (x, y) in zip(labels, places, strict=True):
        top = y + (line - patch) // 2
        area = (x, top, x + patch - 1, top + patch - 1)
        draw.rounded_rectangle(area, radius=size // 5, fill=class_colour(label))
        position = (x + patch + 0.4 * size, y + line / 2)
        words = class_words(label, class_names)
        draw.text(position, words.text, fill=_INK, font=words.font(size), anchor="lm")
    return strip


def _grid(rows: Sequence[Sequence[Image.Image]], gap: int) -> Image.Image:
    """Rows of pictures; columns are as wide as their widest picture, rows as high as their highest."""
    heights = [max(picture.height for picture in row) for row in rows]
    widths = [max(row[i].width for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    size = (sum(widths) + gap * (len(widths) - 1), sum(heights) + gap * (len(heights) - 1))
    canvas = Image.new("RGB", size, _PAPER)
    y = 0
    for row, height in zip(rows, heights, strict=True):
        x = 0
        for picture, width in zip(row, widths, strict=False):
            canvas.paste(picture, (x, y))
            x += width + gap
        y += height + gap
    return canvas


def _framed(picture: Image.Image, margin: int) -> Image.Image:
    canvas = Image.new("RGB", (picture.width + 2 * margin, picture.height + 2 * margin), _PAPER)
    canvas.paste(picture, (margin, margin))
    return canvas
