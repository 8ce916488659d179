"""Decode images at a reduced size, for whoever needs less than all pixels: JPEG saves most of the work."""

import numpy as np
import simplejpeg

from lightning_rcnn.data.decode import decode_pixels, exif_orientation, open_image


def decode_reduced(data: bytes, *, apply_exif: bool, shorter_side: int) -> tuple[np.ndarray, str]:
    """Decode an image file, a JPEG at 1/2, 1/4 or 1/8 of its size if that suffices.

    Args:
        data: content of the file.
        apply_exif: whether to rotate and mirror the image by its EXIF orientation.
        shorter_side: number of pixels that suffice along the shorter side.

    Returns:
        Pixels uint8 RGB [h, w, 3], and the decoder's report of damage, empty for a sound file.

    Raises:
        UndecodableImage: as `decode_pixels`.
    """
    header = open_image(data)
    is_plain = header.format == "JPEG" and header.mode in ("RGB", "L")
    if is_plain and not (apply_exif and exif_orientation(header) != 1):
        try:
            return simplejpeg.decode_jpeg(data, "RGB", min_height=shorter_side, min_width=shorter_side), ""
        except (ValueError, KeyError):  # damaged, or a rare kind of subsampling
            pass
    return decode_pixels(data, apply_exif=apply_exif)
