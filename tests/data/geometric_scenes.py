"""Images with objects of every kind, and what transforms make of them, for the tests of geometric transforms."""

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision import tv_tensors

from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.segmentations import crop_bitmaps, trace_outlines
from lightning_rcnn.data.transforms import TrainingImage
from lightning_rcnn.data.transforms.view import displayed_size
from tests.data.rendering import render_alone

MaskKind = Literal["rle", "polygons", "none"]
HEIGHT, WIDTH = 72, 96
NUM_OBJECTS = 6


class Dense(NamedTuple):
    """An image as torchvision holds it; masks uint8 [m, h, w]."""

    image: Tensor
    boxes: np.ndarray
    labels: np.ndarray
    is_crowd: np.ndarray
    masks: np.ndarray


def rle_of(mask: np.ndarray) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def box_of(mask: np.ndarray) -> list[float]:
    """Edges of the pixels that are set; zeros without any."""
    if not mask.any():
        return [0.0] * 4
    (ys,), (xs,) = np.nonzero(mask.any(axis=1)), np.nonzero(mask.any(axis=0))
    return [float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)]


def scene(number: int, kind: MaskKind = "rle", height: int = HEIGHT, width: int = WIDTH) -> TrainingImage:
    """An image with white octagons on noise, of which the third is a crowd; the labels tell the objects apart."""
    chance = np.random.default_rng(number)
    image = Image.fromarray(chance.integers(0, 60, (height, width, 3), dtype=np.uint8))
    boxes, segmentations = [], []
    for _ in range(NUM_OBJECTS):
        radius = chance.uniform(4, 14, 2)
        center = radius + chance.uniform(0, 1, 2) * (np.array([width, height]) - 2 * radius)
        angles = np.arange(8) * np.pi / 4 + chance.uniform(0, 0.7)
        points = center + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        ImageDraw.Draw(image).polygon([tuple(point) for point in points.tolist()], fill=(255, 255, 255))
        polygon = points.ravel().tolist()
        mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([polygon], height, width)))
        boxes.append(box_of(mask))
        segmentations.append({"rle": rle_of(mask), "polygons": [polygon], "none": None}[kind])
    return TrainingImage(
        torch.from_numpy(np.array(image)).permute(2, 0, 1),
        np.array(boxes, np.float32),
        np.arange(1, NUM_OBJECTS + 1),
        np.arange(NUM_OBJECTS) == 2,
        segmentations,
        np.concatenate([np.array(boxes), np.linspace(1, 0, NUM_OBJECTS)[:, None]], axis=1).astype(np.float32),
    )


def as_pair(sample: TrainingImage) -> tuple[tv_tensors.Image, dict[str, Any]]:
    """The sample as transforms of torchvision take it; nothing may be recorded."""
    height, width = sample.image.shape[-2:]
    decoded = [
        coco_mask.decode(
            mask if isinstance(mask, dict) else coco_mask.merge(coco_mask.frPyObjects(mask, height, width))
        )
        for mask in sample.segmentations
        if mask is not None
    ]
    dense = torch.from_numpy(np.array(decoded, np.uint8).reshape(-1, height, width))
    boxes = tv_tensors.BoundingBoxes(torch.from_numpy(sample.boxes.copy()), format="XYXY", canvas_size=(height, width))
    target = {"boxes": boxes, "labels": torch.from_numpy(sample.labels), "masks": tv_tensors.Mask(dense)}
    return tv_tensors.Image(sample.image.clone()), target


def rendered(sample: TrainingImage, size: tuple[int, int] | None = None) -> Dense:
    """The sample as the network gets it, with masks as bitmaps, at scale 1 or a given size."""
    height, width = size or sample.final_size or displayed_size(sample)
    rule = ResizeRule(min(height, width), max(height, width))
    image, to_resized = render_alone(sample, rule, (height, width))
    masks = np.zeros((len(sample.boxes), *image.shape[-2:]), np.uint8)
    bitmaps = crop_bitmaps(sample.segmentations, *sample.image.shape[-2:], to_resized, sample.window)
    first = 0
    for number, ((rows, columns), box) in enumerate(zip(bitmaps.sizes.tolist(), bitmaps.boxes, strict=True)):
        bits = np.unpackbits(bitmaps.bits[first : first + -(-rows * columns // 8)])[: rows * columns]
        first += -(-rows * columns // 8)
        x1, y1, x2, y2 = box.round().astype(int).tolist()
        if rows:
            pixels = Image.fromarray(bits.reshape(rows, columns)).resize((x2 - x1, y2 - y1), Image.Resampling.NEAREST)
            masks[number, y1:y2, x1:x2] = np.array(pixels)
    return Dense(image, to_resized.boxes(sample.boxes), sample.labels, sample.is_crowd, masks)


def outlines(sample: TrainingImage) -> list[np.ndarray]:
    """Edges [e, 4] of each object at scale 1."""
    height, width = displayed_size(sample)
    _, to_resized = render_alone(sample, ResizeRule(min(height, width), max(height, width)), (height, width))
    edges, counts = trace_outlines(sample.segmentations, *sample.image.shape[-2:], to_resized, sample.window)
    return np.split(edges, np.cumsum(counts))[:-1]


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / max(1, (first | second).sum()))
