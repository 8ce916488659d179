"""Generate scenes: a small detection data set for the demo and for tests, without a download.

A scene has up to `MAX_OBJECTS` ellipses, rectangles, triangles and stars, tilted and stretched, plain or striped. The
background is a gradient, blobs or stripes, with distracting lines. Later objects hide earlier ones: masks and boxes
cover the visible part, and at least `MIN_VISIBLE` of every object's area is visible. Some scenes are empty. A scene
depends only on (seed, index), so the first n scenes of every set with the same seed are equal.

With keypoints, objects have those of `shape_keypoints.py`.

Shape letters: h, w height and width of the scene, n objects, J keypoints of an object.
"""

from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.index import Annotation, Category
from lightning_rcnn.data.pack.shape_keypoints import SKELETON, keypoints_of
from lightning_rcnn.data.pack.source import Outcome, Sample, Source
from lightning_rcnn.errors import InputError

MIN_SIDE, MAX_SIDE = 160, 256
"""Pixels; height and width are drawn independently of each other."""
MIN_RADIUS, MAX_RADIUS = 18.0, 52.0
"""Radius in pixels of the circle around an object."""
MAX_TILT = np.deg2rad(20)
"""Radians, either way; small, so that a detector learns the shapes from scratch in minutes on a CPU."""
MAX_OBJECTS = 6
MIN_VISIBLE = 0.6
"""Share of an object's area that neither other objects nor the border may hide."""
EMPTY_SHARE = 0.05
"""Share of scenes without objects."""
MIN_CONTRAST = 70.0
"""Distance in RGB between the color of an object and of its background."""
JPEG_QUALITY = 90

_ATTEMPTS = 10
"""Attempts to find a position or a color; then the object is left out, or the last color is used."""
_SUPERSAMPLING = 4
_OBJECT_IDS_PER_SCENE = 100


class Scene(NamedTuple):
    """An image and its objects.

    Attributes:
        image: uint8 [h, w, 3], RGB.
        boxes: float64 [n, 4], xyxy edges in pixels, tight around the visible masks.
        labels: int64 [n], 1..K, in the order of `CLASS_NAMES`.
        masks: bool [n, h, w], visible part of each object, without overlaps.
        keypoints: float64 [n, J, 3], x, y and visibility (see `data/keypoints.py`).
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    keypoints: np.ndarray


def shapes_source(num: int, seed: int = 0, keypoints: bool = False) -> Source:
    """List `num` scenes, with or without keypoints.

    Raises:
        InputError: fewer than one scene, or a negative seed.
    """
    if num < 1 or seed < 0:
        raise InputError(f"num {num}, seed {seed}: give a num of at least 1 and a seed of at least 0")
    categories = [Category(label, name, label) for label, name in enumerate(CLASS_NAMES, start=1)]
    labels_of = partial(_labels_of, seed=seed)
    read = partial(read_scene, seed=seed, keypoints=keypoints)
    skeleton = SKELETON if keypoints else None
    return Source(
        f"shapes/{seed}", categories, range(num), read, labels_of=labels_of, skeleton=skeleton, needs_python=True
    )


def _labels_of(index: int, seed: int) -> set[int]:
    return set(generate_scene(seed, index).labels.tolist())


def read_scene(index: int, seed: int, keypoints: bool = False) -> Outcome:
    """Generate scene `index` as a sample, encoded as JPEG, with or without keypoints."""
    scene = generate_scene(seed, index)
    height, width = scene.image.shape[:2]
    encoded = BytesIO()
    Image.fromarray(scene.image).save(encoded, "JPEG", quality=JPEG_QUALITY)
    image_id, file_name = index + 1, f"scene-{seed}-{index:06d}.jpg"
    annotations = []
    rows = zip(scene.boxes, scene.labels, scene.masks, scene.keypoints, strict=True)
    for number, (box, label, mask, points) in enumerate(rows, start=1):
        rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        annotation = Annotation(
            id=image_id * _OBJECT_IDS_PER_SCENE + number,
            bbox=box.tolist(),
            label=int(label),
            iscrowd=0,
            difficult=0,
            area=float(mask.sum()),
            segmentation={"size": [height, width], "counts": rle["counts"].decode("ascii")},
        )
        if keypoints and points[:, 2].any():
            annotation["keypoints"] = points.ravel().tolist()
        annotations.append(annotation)
    record = {
        "image_id": image_id,
        "file_name": file_name,
        "width": width,
        "height": height,
        "apply_exif": True,
        "annotations": annotations,
    }
    findings = [] if annotations else [Finding(Defect.EMPTY_IMAGE, file_name)]
    return Outcome(Sample(encoded.getvalue(), "jpg", record), findings, len(record["annotations"]))


def generate_scene(seed: int, index: int) -> Scene:
    """Generate scene `index` of the set with this seed."""
    rng = np.random.default_rng([seed, index])
    height, width = (int(side) for side in rng.integers(MIN_SIDE, MAX_SIDE + 1, size=2))
    canvas = _background(rng, height, width)
    owner = np.zeros((height, width), dtype=np.int64)  # 0 background, i the i-th object
    areas: list[float] = []
    labels: list[int] = []
    outlines: list[np.ndarray] = []
    num_objects = 0 if rng.random() < EMPTY_SHARE else rng.integers(1, MAX_OBJECTS + 1)
    for _ in range(num_objects):
        label = int(rng.integers(len(CLASS_NAMES))) + 1
        for _ in range(_ATTEMPTS):
            outline = _move_into_scene(rng, _OUTLINES[label - 1](rng), height, width)
            coverage = _coverage(outline, height, width)
            candidate = np.where(coverage >= 0.5, len(areas) + 1, owner)
            visible = np.bincount(candidate.ravel(), minlength=len(areas) + 2)[1:]
            if (visible >= MIN_VISIBLE * np.array([*areas, _polygon_area(outline)])).all():
                _paint(rng, canvas, coverage)
                owner = candidate
                areas.append(_polygon_area(outline))
                labels.append(label)
                outlines.append(outline)
                break
    canvas += rng.uniform(2, 10) * rng.standard_normal(canvas.shape, dtype=np.float32)
    masks = owner == np.arange(1, len(areas) + 1)[:, None, None]
    boxes = np.array([_tight_box(mask) for mask in masks], dtype=np.float64).reshape(-1, 4)
    keypoints = [keypoints_of(*each) for each in zip(labels, outlines, masks, strict=True)]
    image = np.clip(canvas, 0, 255).astype(np.uint8)
    points = np.array(keypoints).reshape(-1, len(SKELETON), 3)
    return Scene(image, boxes, np.array(labels, dtype=np.int64), masks, points)


def _ellipse(rng: Generator) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.stack([np.cos(angles), rng.uniform(0.6, 1) * np.sin(angles)], axis=1)


def _rectangle(rng: Generator) -> np.ndarray:
    half = np.array([1.0, rng.uniform(0.5, 1)])
    return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half / np.linalg.norm(half)


def _triangle(rng: Generator) -> np.ndarray:
    angles = np.deg2rad(np.array([90, 210, 330]) + rng.uniform(-18, 18, size=3))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star(rng: Generator) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 10, endpoint=False) - np.pi / 2
    radii = np.where(np.arange(10) % 2, rng.uniform(0.38, 0.5), 1.0)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


_OUTLINES: tuple[Callable[[Generator], np.ndarray], ...] = (_ellipse, _rectangle, _triangle, _star)
"""Functions that return the corners [c, 2] of each class inside the unit circle."""
CLASS_NAMES = ("ellipse", "rectangle", "triangle", "star")


def _move_into_scene(rng: Generator, corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """Tilt, scale and move corners into the scene; radii are log-uniform."""
    angle = rng.uniform(-MAX_TILT, MAX_TILT)
    turn = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    radius = np.exp(rng.uniform(np.log(MIN_RADIUS), np.log(MAX_RADIUS)))
    return corners @ turn * radius + rng.uniform((0, 0), (width, height))


def _coverage(outline: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the share of each pixel inside the outline, float32 [h, w]."""
    left, top = np.maximum(np.floor(outline.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(outline.max(axis=0)), (width, height)).astype(int)
    coverage = np.zeros((height, width), dtype=np.float32)
    if right > left and bottom > top:
        window = Image.new("L", ((right - left) * _SUPERSAMPLING, (bottom - top) * _SUPERSAMPLING))
        points = ((outline - (left, top)) * _SUPERSAMPLING - 0.5).ravel().tolist()
        ImageDraw.Draw(window).polygon(points, fill=255)
        coverage[top:bottom, left:right] = np.asarray(window.reduce(_SUPERSAMPLING), dtype=np.float32) / 255
    return coverage


def _paint(rng: Generator, canvas: np.ndarray, coverage: np.ndarray) -> None:
    """Blend an object over the canvas in a color that differs from its background."""
    rows, columns = np.nonzero(coverage)
    window = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    alpha = coverage[window][..., None]
    behind = (canvas[window] * alpha).sum(axis=(0, 1)) / alpha.sum()
    for _ in range(_ATTEMPTS):
        color = rng.uniform(20, 235, size=3)
        if np.linalg.norm(color - behind) >= MIN_CONTRAST:
            break
    height, width = alpha.shape[:2]
    fill = color + _ramp(rng, height, width)[..., None] * rng.uniform(0, 30)
    if rng.random() < 0.3:
        fill = fill + _stripes(rng, height, width)[..., None] * rng.uniform(-25, 25, size=3)
    canvas[window] += alpha * (fill - canvas[window])


def _background(rng: Generator, height: int, width: int) -> np.ndarray:
    """Return a background, float32 [h, w, 3]: two colors mixed by a random pattern, and a few lines."""
    pattern = (_ramp, _blobs, _stripes)[rng.integers(3)](rng, height, width)[..., None]
    first, second = rng.uniform(20, 235, size=(2, 3))
    share = 0.5 + 0.5 * pattern * rng.uniform(0.3, 1)
    image = Image.fromarray((first + share * (second - first)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(5)):
        ends = rng.uniform((0, 0), (width, height), size=(2, 2)).ravel().tolist()
        draw.line(ends, fill=tuple(rng.integers(256, size=3).tolist()), width=int(rng.integers(1, 4)))
    return np.array(image, dtype=np.float32)


def _ramp(rng: Generator, height: int, width: int) -> np.ndarray:
    """Return a gradient [h, w] from -1 to 1 in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    return (np.cos(angle) * columns + np.sin(angle) * rows) / (abs(np.cos(angle)) + abs(np.sin(angle)))


def _blobs(rng: Generator, height: int, width: int) -> np.ndarray:
    """Return smooth noise [h, w] from -1 to 1 with about six blobs along a side."""
    coarse = Image.fromarray(rng.uniform(-1, 1, size=(6, 6)).astype(np.float32))
    return np.clip(np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)), -1, 1)


def _stripes(rng: Generator, height: int, width: int) -> np.ndarray:
    """Return waves [h, w] from -1 to 1 in a random direction, 8 to 24 pixels long."""
    angle, frequency = rng.uniform(0, 2 * np.pi), 2 * np.pi / rng.uniform(8, 24)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    return np.sin(frequency * (np.cos(angle) * columns + np.sin(angle) * rows))


def _polygon_area(corners: np.ndarray) -> float:
    """Return the area of a polygon by the shoelace formula."""
    x, y = corners.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
