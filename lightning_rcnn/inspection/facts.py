"""What an inspection keeps of one sample: some hundred bytes, so that sets of any size fit into memory.

Shape letters: M objects of an image, P pairs of its objects that overlap.
"""

import hashlib
from typing import NamedTuple

import cv2
import numpy as np
import torch

from lightning_rcnn.data.decode import UndecodableImage
from lightning_rcnn.data.decode_sample import decode_sample
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.reader import RawSample, SampleReader, UnreadableRecordError
from lightning_rcnn.data.reduced import decode_reduced
from lightning_rcnn.data.shown_bands import shown_bands
from lightning_rcnn.functional.boxes import pairwise_iou
from lightning_rcnn.inspection.appearance import NUM_COLORS, object_colors
from lightning_rcnn.inspection.fingerprints import THUMBNAIL, gray_of, perceptual_hash, thumbnail

SHORTER_SIDE = 64
"""Pixels of the shorter side that hash, contrast and colors of objects need."""
LEAST_IOU = 0.3
"""IoU from which a pair of objects is kept."""


class SampleFacts(NamedTuple):
    """The facts of one sample.

    Attributes:
        boxes: float32 [M, 4], xyxy, original frame.
        labels: int32 [M], 1..K.
        is_crowd: bool [M].
        colors: uint8 [M, `NUM_COLORS`], a small picture of each object.
        touches: bool [M], whether the box meets that of another single object.
        pairs: int32 [P, 2], single objects whose IoU is `LEAST_IOU` or more.
        iou: float32 [P].
        file_hash: first 64 bits of the hash of the image file's bytes.
        picture_hash: perceptual hash, see `fingerprints.py`.
        thumbnail: uint8 [`THUMBNAIL`^2], gray.
        contrast: brightest minus darkest gray level, 0 to 255.
        problem: reason why the sample cannot be used; empty for a sound one.
        damage: the decoder's report of damage in an image that it decodes nevertheless.
    """

    boxes: np.ndarray
    labels: np.ndarray
    is_crowd: np.ndarray
    colors: np.ndarray
    touches: np.ndarray
    pairs: np.ndarray
    iou: np.ndarray
    file_hash: int
    picture_hash: int
    thumbnail: np.ndarray
    contrast: int
    problem: str = ""
    damage: str = ""


def read_facts(number: int, reader: SampleReader, pixels: PixelFormat) -> SampleFacts:
    """Read the facts of sample `number` of a set in this format; an unreadable one has a problem and no objects."""
    try:
        raw = reader.read(number)
        return facts_of(raw, pixels)
    except UnreadableRecordError as error:
        return _nothing(str(error))
    except UndecodableImage as error:
        return _nothing(f"{reader.location(number)}: {error}")
    except (KeyError, TypeError, ValueError) as error:
        return _nothing(f"{reader.location(number)}: its JSON is not that of a sample ({error!r})")


def facts_of(raw: RawSample, pixel_format: PixelFormat) -> SampleFacts:
    """Return the facts of a sample."""
    annotations = raw.content["annotations"]
    boxes = np.array([one["bbox"] for one in annotations], np.float32).reshape(-1, 4)
    labels = np.array([one["label"] for one in annotations], np.int32)
    is_crowd = np.array([one["iscrowd"] for one in annotations], np.bool_)
    pixels, damage = pixels_of(raw, pixel_format, SHORTER_SIDE)
    gray = gray_of(pixels)
    scale = np.array([pixels.shape[1] / raw.content["width"], pixels.shape[0] / raw.content["height"]] * 2, np.float32)
    touches, pairs, iou = _meetings(boxes, is_crowd)
    return SampleFacts(
        boxes=boxes,
        labels=labels,
        is_crowd=is_crowd,
        colors=object_colors(pixels, boxes * scale),
        touches=touches,
        pairs=pairs,
        iou=iou,
        file_hash=int.from_bytes(hashlib.blake2b(raw.image, digest_size=8).digest()),
        picture_hash=perceptual_hash(gray),
        thumbnail=thumbnail(gray),
        contrast=int(gray.max()) - int(gray.min()),
        damage=damage,
    )


def pixels_of(raw: RawSample, pixel_format: PixelFormat, shorter_side: int) -> tuple[np.ndarray, str]:
    """Decode the image of a sample at a size that suffices; see `decode_reduced`."""
    if raw.pixels is not None:
        return raw.pixels[:3].permute(1, 2, 0).numpy(), ""
    apply_exif = bool(raw.content.get("apply_exif"))
    if pixel_format.is_rgb:
        pixels, damage = decode_reduced(raw.image, apply_exif=apply_exif, shorter_side=shorter_side)
    else:
        image, damage = decode_sample(raw, pixel_format)
        pixels = shown_bands(image, pixel_format).permute(1, 2, 0).contiguous().numpy()
    if pixels.shape[2] != 3:
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    reduction = min(pixels.shape[:2]) // shorter_side
    if reduction > 1:
        size = (max(1, pixels.shape[1] // reduction), max(1, pixels.shape[0] // reduction))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return pixels, damage


def _meetings(boxes: np.ndarray, is_crowd: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which boxes of single objects meet another, and the pairs that overlap, with their IoU."""
    single = np.flatnonzero(~is_crowd)
    touches = np.zeros(len(boxes), np.bool_)
    if len(single) < 2:
        return touches, np.zeros((0, 2), np.int32), np.zeros(0, np.float32)
    some = torch.from_numpy(boxes[single])
    meets = (some[:, None, :2] <= some[None, :, 2:]).all(-1) & (some[:, None, 2:] >= some[None, :, :2]).all(-1)
    meets.fill_diagonal_(False)
    touches[single] = meets.any(dim=1).numpy()
    iou = pairwise_iou(some, some).triu_(diagonal=1)
    first, second = (iou >= LEAST_IOU).nonzero().T
    pairs = np.stack((single[first.numpy()], single[second.numpy()]), axis=1).astype(np.int32)
    return touches, pairs, iou[first, second].numpy()


def _nothing(problem: str) -> SampleFacts:
    return SampleFacts(
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int32),
        is_crowd=np.zeros(0, np.bool_),
        colors=np.zeros((0, NUM_COLORS), np.uint8),
        touches=np.zeros(0, np.bool_),
        pairs=np.zeros((0, 2), np.int32),
        iou=np.zeros(0, np.float32),
        file_hash=0,
        picture_hash=0,
        thumbnail=np.zeros(THUMBNAIL**2, np.uint8),
        contrast=0,
        problem=problem,
    )
