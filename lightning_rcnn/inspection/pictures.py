"""Pictures of a report: the images of findings, and a sheet of objects of each class."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from lightning_rcnn.data.decode import UndecodableImage
from lightning_rcnn.data.decode_sample import decode_sample
from lightning_rcnn.data.reader import UnreadableRecordError
from lightning_rcnn.data.shown_bands import shown_bands
from lightning_rcnn.inspection.collecting import InspectedSet
from lightning_rcnn.inspection.findings.finding import Shot
from lightning_rcnn.pages.pictures import as_jpeg
from lightning_rcnn.visualization import Objects, draw_objects

LONGEST_SIDE = 420
"""Longest side of the image of a finding, pixels."""
SAMPLE_SIDE = 112
"""Edge of the picture of a sample, pixels."""
SAMPLES = 8
"""Samples of a class."""
MOST_CLASSES = 80
"""Classes with samples."""
_CONTEXT, _LEAST_CROP = 4.0, 96
"""Width of a crop relative to its objects, and its shortest edge in pixels."""
_FROM_EDGE = 0.6
"""Share of the image from which on objects are shown in the whole image."""


def draw_shot(one: InspectedSet, shot: Shot) -> bytes | None:
    """Draw an image of a finding as JPEG: around its objects, or the whole image with all of them; None if unreadable.

    Args:
        one: set of the image.
        shot: image and objects.
    """
    pixels = _decoded(one, shot.image)
    if pixels is None:
        return None
    height, width = pixels.shape[1:]
    numbers = np.array(shot.objects) if shot.objects else one.objects_of(shot.image)
    boxes = one.boxes[numbers].reshape(-1, 4)
    left, top, right, bottom = _crop(boxes, height, width) if shot.objects else (0, 0, width, height)
    objects = Objects(
        torch.from_numpy(boxes - np.array([left, top, left, top], np.float32)),
        torch.from_numpy(one.labels[numbers].astype(np.int64)),
        is_crowd=torch.from_numpy(one.is_crowd[numbers]),
    )
    names = [category.name for category in one.categories]
    drawn = draw_objects(pixels[:, top:bottom, left:right], objects, names)
    return as_jpeg(np.asarray(drawn), LONGEST_SIDE)


def draw_samples(one: InspectedSet) -> list[tuple[str, int, list[bytes]]]:
    """Draw some objects of each class, chosen at random and always the same.

    Returns:
        Name, number of objects and JPEGs of the first `MOST_CLASSES` classes with objects.
    """
    rng = np.random.default_rng(0)
    chosen: dict[int, list[int]] = {}
    single = np.flatnonzero(~one.is_crowd)
    labels = one.labels[single]
    for category in one.categories:
        members = single[labels == category.label]
        if len(members) and len(chosen) < MOST_CLASSES:
            chosen[category.label] = rng.permutation(members)[:SAMPLES].tolist()
    jpegs: dict[int, bytes] = {}
    numbers = sorted(number for some in chosen.values() for number in some)
    image, pixels = -1, None
    for number in numbers:  # the objects of an image one after the other, to decode it once
        if one.image_of[number] != image:
            image = int(one.image_of[number])
            pixels = _decoded(one, image)
        if pixels is not None:
            jpegs[number] = _sample(pixels, one.boxes[number])
    names = {category.label: category.name for category in one.categories}
    return [
        (names[label], int((labels == label).sum()), [jpegs[number] for number in some if number in jpegs])
        for label, some in chosen.items()
    ]


def _decoded(one: InspectedSet, image: int) -> torch.Tensor | None:
    try:
        raw = one.reader.read(image)
        return shown_bands(decode_sample(raw, one.index.pixels).pixels, one.index.pixels)
    except (UnreadableRecordError, UndecodableImage):
        return None


def _crop(boxes: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """Return the part of an image around boxes: left, top, right, bottom in pixels."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    side = max(_CONTEXT * float((high - low).max()), _LEAST_CROP)
    if side >= _FROM_EDGE * max(height, width):
        return 0, 0, width, height
    x, y = (low + high) / 2
    left = int(np.clip(x - side / 2, 0, max(0, width - side)))
    top = int(np.clip(y - side / 2, 0, max(0, height - side)))
    return left, top, min(width, int(left + side)), min(height, int(top + side))


def _sample(pixels: torch.Tensor, box: np.ndarray) -> bytes:
    """Return an object in a square with some context, as JPEG."""
    x, y = (box[:2] + box[2:]) / 2
    half = max(1.0, 0.6 * float((box[2:] - box[:2]).max()))
    image = Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))
    left, top = int(x - half), int(y - half)
    corners = (left, top, max(left + 1, int(x + half)), max(top + 1, int(y + half)))  # black beyond the border
    crop = image.crop(corners).resize((SAMPLE_SIDE, SAMPLE_SIDE), Image.Resampling.BICUBIC)
    return as_jpeg(np.asarray(crop), SAMPLE_SIDE)


def file_names(one: InspectedSet, images: Sequence[int]) -> dict[int, str]:
    """Read the file names of some images of a set."""
    names = {}
    for image in images:
        try:
            names[image] = str(one.reader.read(image).content["file_name"])
        except (UnreadableRecordError, KeyError):
            names[image] = one.reader.location(image)
    return names
