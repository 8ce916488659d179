"""Decode the image of a sample in a packed data set."""

import numpy as np

from lightning_rcnn.data.decode import at_least_pixels
from lightning_rcnn.data.decode_in_format import decode_in_format
from lightning_rcnn.data.decoded_image import DecodedImage
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.reader import RawSample


def decode_sample(raw: RawSample, pixels: PixelFormat, room: np.ndarray | None = None) -> DecodedImage:
    """Decode the image of a sample, [C, h, w] of a pixel format, into `room` as `decode_with_damage` does.

    It may have as many pixels as its annotation says, also above Pillow's limit: `pack` has accepted it.

    Raises:
        UndecodableImage: it cannot be decoded, or has another format.
        KeyError: the sample's JSON has no size.
    """
    if raw.pixels is not None:
        return DecodedImage(raw.pixels, damage="")
    content = raw.content
    with at_least_pixels(content["width"] * content["height"]):
        return decode_in_format(raw.image, pixels, apply_exif=bool(content.get("apply_exif")), room=room)
