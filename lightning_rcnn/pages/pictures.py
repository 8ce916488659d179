"""Images inside a page, as small JPEGs."""

import base64
import io

import numpy as np
from PIL import Image

LONGEST_SIDE = 720
"""Longest side of an image in a gallery, pixels."""
_QUALITY = 80


def as_jpeg(pixels: np.ndarray, longest_side: int = LONGEST_SIDE) -> bytes:
    """Encode an image as a small JPEG.

    Args:
        pixels: uint8 RGB [h, w, 3].
        longest_side: limit of the longer side, pixels.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def jpeg_address(jpeg: bytes) -> str:
    """Return a JPEG as an address that holds it."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
