"""Read the pixels of image files as they are stored: any number of channels, 8 to 32 bits, floats.

| file | read by |
|---|---|
| PNG of 16 bits | OpenCV; Pillow keeps only 8 bits of colors |
| TIFF of one channel, or of colors of 8 bits | Pillow |
| any other TIFF | tifffile (the extra `tiff`), some compressed ones with imagecodecs |
| npy | numpy: [h, w], [h, w, C], or [C, h, w] if the first axis is the shortest |
| others | Pillow |
"""

from collections.abc import Callable

import numpy as np
import simplejpeg

from lightning_rcnn.data.decode import (
    EXIF_TURNS,
    UndecodableImage,
    as_undecodable,
    exif_orientation,
    open_image,
)
from lightning_rcnn.data.image_formats import FORMATS, is_array, is_tiff
from lightning_rcnn.data.jpeg_header import JPEG_BEGINNING
from lightning_rcnn.data.stored_arrays import open_array
from lightning_rcnn.data.stored_layout import StoredLayout, kind_of
from lightning_rcnn.data.stored_tiff import read_by_tifffile, tiff_layout

_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}
_GRAY_MODES, _ALPHA_MODES = ("1", "L", "LA", "La"), ("LA", "RGBA", "PA", "La", "RGBa")


def stored_layout(data: bytes) -> StoredLayout:
    """Read the header of an image file.

    Raises:
        UndecodableImage: not an image, or its header is damaged.
        UnsupportedImage: pixels of a type that is not supported.
    """
    if is_array(data):
        array = open_array(data)
        return StoredLayout("npy", array.shape[2], kind_of(array.dtype.name), becomes_rgb=False)
    if is_tiff(data):
        try:
            return tiff_layout(data)
        except UndecodableImage:
            raise
        except Exception as error:  # damaged tags raise anything
            raise UndecodableImage("the header of the TIFF file is damaged or cut off") from error
    if (channels := _jpeg_channels(data)) is not None:
        return StoredLayout("jpg", channels, "uint8")
    header = open_image(data)
    extension = FORMATS[header.format or ""].extension
    if header.format == "PNG" and data[24] == 16:
        return StoredLayout(extension, _PNG_CHANNELS.get(data[25], 3), "uint16", data[25] in (4, 6))
    if header.mode == "F":
        return StoredLayout(extension, 1, "float32", becomes_rgb=False)
    if header.mode.startswith("I"):
        return StoredLayout(extension, 1, "uint16")
    has_alpha = header.mode in _ALPHA_MODES or "transparency" in header.info
    return StoredLayout(extension, 1 if header.mode in _GRAY_MODES else 3, "uint8", has_alpha)


def _jpeg_channels(data: bytes) -> int | None:
    """Return 1 for a gray JPEG and 3 for one of colors, in a tenth of Pillow's time; None for what it has to open."""
    if not data.startswith(JPEG_BEGINNING):
        return None
    try:
        return 1 if simplejpeg.decode_jpeg_header(data)[2] == "Gray" else 3
    except (ValueError, KeyError):  # damaged, or a subsampling that simplejpeg has no name for
        return None


def read_stored(data: bytes, *, apply_exif: bool) -> np.ndarray:
    """Read the pixels of an image file as they are stored; the orientation of a TIFF is always applied.

    Args:
        data: content of the file.
        apply_exif: whether to rotate and mirror the image by its EXIF orientation.

    Returns:
        [h, w, C] of a type in `KINDS`; transparency is the last channel.

    Raises:
        UndecodableImage: not an image, or a damaged one.
        TruncatedImage: an image that is cut off.
        UnsupportedImage: an image of a kind that is not supported, or for which a package is missing.
    """
    layout = stored_layout(data)
    try:
        pixels = _reader(layout)(data, layout)
    except UndecodableImage:
        raise
    except Exception as error:  # decoders raise anything on damaged data
        raise as_undecodable(error) from error
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.shape[2] != layout.channels + layout.has_alpha:
        raise UndecodableImage(f"has {pixels.shape[2]} channels, but its header says {layout.channels}")
    pixels = pixels.astype(layout.kind, copy=False)
    if not apply_exif or layout.extension in ("tif", "npy"):
        return pixels
    turn = EXIF_TURNS.get(exif_orientation(open_image(data)))
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _reader(layout: StoredLayout) -> Callable[[bytes, StoredLayout], np.ndarray]:
    if layout.extension == "npy":
        return lambda data, _: np.array(open_array(data))
    if layout.extension == "png" and layout.kind == "uint16":
        return _read_deep_png
    if layout.extension == "tif" and not layout.is_pillows:
        return read_by_tifffile
    return _read_by_pillow


def _read_by_pillow(data: bytes, layout: StoredLayout) -> np.ndarray:
    image = open_image(data)
    if layout.kind == "uint8":
        modes = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA"}
        return np.array(image.convert(modes[layout.channels, layout.has_alpha]))
    return np.array(image)


def _read_deep_png(data: bytes, layout: StoredLayout) -> np.ndarray:
    import cv2

    open_image(data).verify()  # OpenCV fills missing pixels, and skips checksums
    image = open_image(data)
    image.load()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise UndecodableImage("the compressed pixels are damaged")
    if layout.channels == 1:
        # OpenCV gives gray with transparency as four channels.
        return pixels if pixels.ndim == 2 else pixels[..., [0, 3]] if layout.has_alpha else pixels[..., :1]
    return pixels[..., [2, 1, 0, 3] if layout.has_alpha else [2, 1, 0]]
