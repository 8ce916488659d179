"""Pack large images smaller (`--max_edge`, `--max_short_edge`), with their boxes, masks and keypoints.

An image whose edges are within the limits stays as it is, byte for byte. A larger one is decoded as in training
(see `data/decode.py`), with its EXIF orientation where the boxes refer to it, and resized with Pillow's Lanczos filter.
A JPEG stays a JPEG, of the stated quality and with 4:2:0 chroma subsampling; any other format becomes a lossless PNG.
One channel stays one channel; palettes, transparency and color profiles are dropped. More than 8 bits, or other numbers
of channels than one and three, stay as they are, in a PNG of 16 bits where it can hold them, or else in a file of
numpy's.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from lightning_rcnn.data.decode import UnsupportedImage, decode_pixels, open_image
from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.index import Annotation
from lightning_rcnn.data.keypoints import scaled_keypoints
from lightning_rcnn.data.pack.image_info import Size
from lightning_rcnn.data.pack.masks import check_segmentation
from lightning_rcnn.data.pack.scaling import scale_segmentation
from lightning_rcnn.data.pack.source import Outcome, Sample, Source
from lightning_rcnn.data.resized_size import fit_edges
from lightning_rcnn.data.scaling import scale_box
from lightning_rcnn.data.stored_pixels import read_stored, stored_layout
from lightning_rcnn.errors import InputError

QUALITY = 90
"""JPEG quality: high enough that no block shows, at half of the bytes of 97."""


def with_max_edge(
    source: Source, max_edge: int | None, quality: int | None = None, max_short_edge: int | None = None
) -> Source:
    """Return a source whose large images are made smaller.

    Args:
        source: source.
        max_edge: longest edge in pixels; None to change nothing.
        quality: JPEG quality, 1 to 100; None for the default.
        max_short_edge: largest shorter edge in pixels; None for any. With a detector's `min_size`, beside its
            `max_size`, large images get the size that it resizes them to, so that training only decodes them.

    Raises:
        InputError: a value makes no sense.
    """
    check_max_edge(max_edge, quality, max_short_edge)
    if max_edge is None:
        return source
    size_of = partial(smaller_size, max_edge=max_edge, max_short_edge=max_short_edge)
    read = partial(_read, read=source.read, size_of=size_of, quality=QUALITY if quality is None else quality)
    return replace(source, read=read)


def check_max_edge(max_edge: int | None, quality: int | None, max_short_edge: int | None = None) -> None:
    """Check the values of `with_max_edge`.

    Raises:
        InputError: a value makes no sense.
    """
    if max_edge is None and quality is not None:
        raise InputError(f"--quality {quality}: only --max_edge encodes images again; add --max_edge, or leave it out")
    if max_edge is not None and max_edge < 1:
        raise InputError(f"--max_edge {max_edge}: give a number of pixels above 0, such as 1333")
    if max_short_edge is not None and max_edge is None:
        raise InputError(f"--max_short_edge {max_short_edge}: give --max_edge too, such as 1333")
    if max_short_edge is not None and max_edge is not None and not 1 <= max_short_edge <= max_edge:
        raise InputError(f"--max_short_edge {max_short_edge}: give a number of pixels from 1 to --max_edge {max_edge}")
    if quality is not None and not 1 <= quality <= 100:
        raise InputError(f"--quality {quality}: give a JPEG quality from 1 to 100")


def _read(item: Any, read: Callable[[Any], Outcome], size_of: Callable[[Size], Size], quality: int) -> Outcome:
    outcome = read(item)
    if outcome.sample is None:
        return outcome
    record = outcome.sample.record
    size = record["width"], record["height"]
    to = size_of(size)
    if to == size:
        return outcome
    try:
        data, extension = _resized(outcome.sample.image, record["apply_exif"], to, quality)
    except UnsupportedImage as error:  # Pillow reads a part of its channels, and the others need a missing package
        raise InputError(f"{record['file_name']}: {error}") from error
    how = f"JPEG of quality {quality}" if extension == "jpg" else "PNG"
    change = f"{record['file_name']}: {size[0]} x {size[1]} to {to[0]} x {to[1]}, {how}"
    findings = [Finding(Defect.MADE_SMALLER, change)]
    annotations = []
    for annotation in record["annotations"]:
        scaled = _scaled(annotation, size, to)
        if "segmentation" in annotation and "segmentation" not in scaled:
            findings.append(Finding(Defect.EMPTY_MASK, f"{record['file_name']}, id {annotation['id']}, made smaller"))
        annotations.append(scaled)
    smaller = record | {"width": to[0], "height": to[1], "apply_exif": True, "annotations": annotations}
    return Outcome(Sample(data, extension, smaller), [*outcome.findings, *findings], outcome.num_objects)


def smaller_size(size: Size, max_edge: int, max_short_edge: int | None) -> Size:
    """Return the (width, height) to which an image is made smaller, at least 1; `size` if it is within the limits.

    Args:
        size: (width, height) in pixels.
        max_edge: longest edge.
        max_short_edge: largest shorter edge: with it, the size is that of `ResizeRule`, which leaves it as it is.
    """
    longest = max(size)
    if longest <= max_edge and (max_short_edge is None or min(size) <= max_short_edge):
        return size
    if max_short_edge is not None:
        height, width = fit_edges(size[1], size[0], max_short_edge, max_edge)
    else:
        width, height = (max(1, (2 * side * max_edge + longest) // (2 * longest)) for side in size)
    return width, height


def _scaled(annotation: Annotation, size: Size, to: Size) -> Annotation:
    x, y = to[0] / size[0], to[1] / size[1]
    x1, y1, x2, y2 = annotation["bbox"]
    box = scale_box((x1, y1, x2, y2), x, y)
    scaled = annotation | {"bbox": list(box), "area": annotation["area"] * x * y}
    if "segmentation" in annotation:
        segmentation = scale_segmentation(annotation["segmentation"], size, to)
        usable, _ = check_segmentation(segmentation, *to, box)
        if usable is None:
            del scaled["segmentation"]
        else:
            scaled["segmentation"] = usable
    if "keypoints" in annotation:
        scaled["keypoints"] = scaled_keypoints(annotation["keypoints"], x, y)
    return scaled


def _resized(data: bytes, apply_exif: bool, to: Size, quality: int) -> tuple[bytes, str]:
    """Return the file of an image at another (width, height), and its extension."""
    layout = stored_layout(data)
    if not layout.is_plain:
        return _encoded(_resized_values(read_stored(data, apply_exif=apply_exif)[..., : layout.channels], to))
    header = open_image(data)
    is_gray = header.mode in ("1", "L", "LA")
    pixels, _ = decode_pixels(data, apply_exif=apply_exif)
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if is_gray else pixels))
    image = image.resize(to, Image.Resampling.LANCZOS)
    encoded = BytesIO()
    if header.format in ("JPEG", "MPO"):
        image.save(encoded, "JPEG", quality=quality, subsampling="4:2:0")
        return encoded.getvalue(), "jpg"
    image.save(encoded, "PNG")
    return encoded.getvalue(), "png"


def _resized_values(values: np.ndarray, to: Size) -> np.ndarray:
    """Resize values [h, w, C] of any type; none gets beyond those of its channel.

    Values that are not finite mark pixels without a measurement. They spread to no others, and stay where they are.
    """
    resized = np.stack([_resized_channel(channel, to) for channel in np.moveaxis(values, -1, 0)], axis=-1)
    return (resized if values.dtype.kind == "f" else np.rint(resized)).astype(values.dtype)


def _resized_channel(channel: np.ndarray, to: Size) -> np.ndarray:
    is_finite = np.isfinite(channel)
    measured = channel[is_finite]
    if not measured.size:
        return np.full((to[1], to[0]), np.nan, np.float32)
    low, high = measured.min(), measured.max()
    filled = np.where(is_finite, channel, measured.mean()).astype(np.float32)
    resized = np.asarray(Image.fromarray(filled, mode="F").resize(to, Image.Resampling.LANCZOS)).clip(low, high)
    if measured.size < channel.size:
        kept = Image.fromarray(is_finite.astype(np.uint8)).resize(to, Image.Resampling.NEAREST)
        resized = np.where(np.asarray(kept), resized, np.float32(np.nan))
    return resized


def _encoded(values: np.ndarray) -> tuple[bytes, str]:
    """Return values [h, w, C] as a file, and its extension."""
    if values.dtype == np.uint16 and values.shape[2] in (1, 3):
        import cv2

        return cv2.imencode(".png", values[..., ::-1])[1].tobytes(), "png"
    encoded = BytesIO()
    np.save(encoded, values)
    return encoded.getvalue(), "npy"
