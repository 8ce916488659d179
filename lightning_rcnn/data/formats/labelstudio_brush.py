"""Decode the masks of Label Studio's brush: runs of bytes in a stream of bits, four channels a pixel.

Source: https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack, the format of the stream
"""

from typing import Any

import numpy as np

_NUM_CHANNELS = 4
_ALPHA = 3
_MAX_PIXELS = 1 << 28
"""More than Pillow reads: bounds the memory of a damaged size."""


def decode_brush(rle: Any, width: int, height: int) -> np.ndarray | None:
    """Return the mask bool [height, width] of a brush; None if the stream is damaged.

    Args:
        rle: list of bytes.
        width, height: size of the image, pixels.
    """
    if width * height > _MAX_PIXELS:
        return None
    try:
        stream = _Bits(bytes(rle))
        values = _decode(stream, width * height * _NUM_CHANNELS)
    except (ValueError, TypeError, IndexError):
        return None
    return values.reshape(height, width, _NUM_CHANNELS)[..., _ALPHA] > 0


def _decode(stream: "_Bits", expected: int) -> np.ndarray:
    if stream.read(32) != expected:
        raise ValueError("another size")
    word = stream.read(5) + 1
    sizes = [stream.read(4) + 1 for _ in range(4)]
    values = np.zeros(expected, np.int64)
    position = 0
    while position < expected:
        is_run = stream.read(1)
        size = sizes[stream.read(2)]
        end = min(position + 1 + stream.read(size), expected)
        if is_run:
            values[position:end] = stream.read(word)
        else:
            values[position:end] = [stream.read(word) for _ in range(end - position)]
        position = end
    return values


class _Bits:
    """A stream of bits, the highest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def read(self, count: int) -> int:
        """Return the next bits as a number.

        Raises:
            IndexError: the stream has ended.
        """
        first, last = self._position // 8, (self._position + count + 7) // 8
        if last > len(self._data):
            raise IndexError("the stream has ended")
        number = int.from_bytes(self._data[first:last])
        number >>= last * 8 - self._position - count
        self._position += count
        return number & ((1 << count) - 1)
