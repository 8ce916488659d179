"""Check a JPEG: to its last pixel for less than half of what decoding it costs, or by its structure alone."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import numpy as np
import simplejpeg

from lightning_rcnn.data.jpeg_header import SEGMENT

JpegCheck = Literal["full", "structure"]
"""How JPEGs are checked."""
FULL: JpegCheck = "full"
STRUCTURE: JpegCheck = "structure"

_SMALLEST = 8
"""libjpeg decodes at an eighth of the size from the mean of each block alone, after reading all of its bits."""
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")
"""A marker; within compressed pixels, a byte of ones is followed by a zero or is a restart marker."""
_MARK, _QUANTIZATION, _START_OF_SCAN = 0xFF, 0xDB, 0xDA
_END_OF_IMAGE = b"\xff\xd9"
_SEGMENTS = frozenset({0xC0, 0xC1, 0xC2, 0xC4, *range(0xDA, 0xFF)})
"""Markers that begin a segment: two bytes of its length follow. Of the headers of a frame only those of usual kinds,
sequential and progressive with Huffman codes; decoders differ in which of the others they know."""

_jpeg_check: ContextVar[JpegCheck] = ContextVar("_jpeg_check", default=FULL)


@contextmanager
def jpeg_check(kind: JpegCheck) -> Iterator[None]:
    """Let `is_sound_jpeg` check by the structure alone, or to the last pixel."""
    token = _jpeg_check.set(kind)
    try:
        yield
    finally:
        _jpeg_check.reset(token)


def is_sound_jpeg(data: bytes) -> bool:
    """Return whether a JPEG decodes without an error or a warning, as far as `jpeg_check` looks.

    All bits are read as by the decoder for training, so damage and missing pixels are noticed alike; what is saved is
    the computation of the pixels. False also for JPEGs of rare kinds, which only the full decoder can judge.
    """
    if _jpeg_check.get() == STRUCTURE and has_sound_structure(data):
        return True
    try:
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=_SMALLEST, strict=True)
    except (ValueError, KeyError):
        return False
    return True


def has_sound_structure(data: bytes) -> bool:
    """Return whether a JPEG has a readable header, its segments one after the other, and its end as its last bytes.

    Compressed pixels are only searched for markers that have no place there: random bytes or the beginning of another
    file in them are noticed; flipped bits, zeros and the pixels of another JPEG are not. False also for what is sound
    but unusual, such as bytes behind the end.
    """
    try:
        simplejpeg.decode_jpeg_header(data)
    except (ValueError, KeyError):
        return False
    position, has_tables = 2, False  # behind the marker of the start
    while position + SEGMENT.size <= len(data):
        mark, kind, length = SEGMENT.unpack_from(data, position)
        if mark != _MARK or kind not in _SEGMENTS:
            return False
        position += 2 + length
        has_tables |= kind == _QUANTIZATION
        if kind == _START_OF_SCAN:
            marker = _next_marker(data, position)
            if not has_tables or marker is None or marker.start() == position:
                return False
            position = marker.start()
    return data[position:] == _END_OF_IMAGE


def _next_marker(data: bytes, start: int) -> re.Match[bytes] | None:
    """Find the first marker from `start` on.

    Nearly every byte of ones is followed by a zero. numpy skips these in a third of the pattern's time, and without
    Python's lock.
    """
    values = np.frombuffer(data, np.uint8)
    if len(values) < start + 2:
        return None
    may_begin = values[start:-1] == _MARK
    np.minimum(may_begin.view(np.uint8), values[start + 1 :], out=may_begin.view(np.uint8))  # 1 or 0, as `&` is slower
    return _MARKER.search(data, start + int(may_begin.argmax()))
