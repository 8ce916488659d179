"""Arrays in numpy's files."""

from io import BytesIO

import numpy as np

from lightning_rcnn.data.decode import (
    TruncatedImage,
    UndecodableImage,
    UnsupportedImage,
    require_few_pixels,
)
from lightning_rcnn.data.stored_layout import kind_of, shortest_last


def open_array(data: bytes) -> np.ndarray:
    """Return a view [h, w, C] of a numpy file."""
    try:
        stream = BytesIO(data)
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read_header(stream)
    except Exception as error:  # damaged headers raise anything
        raise UndecodableImage("the header of the npy file is damaged or cut off") from error
    if len(shape) not in (2, 3) or min(shape) < 1 or dtype.hasobject:
        raise UnsupportedImage(f"an array {list(shape)} of {dtype}; store [height, width, channels]")
    kind_of(dtype.name)
    size = int(np.prod(shape)) * dtype.itemsize
    if len(data) - stream.tell() < size:
        raise TruncatedImage("cut off: the data end before the last pixel")
    array = np.frombuffer(data, dtype, int(np.prod(shape)), stream.tell()).reshape(
        shape, order="F" if is_fortran else "C"
    )
    array = shortest_last(array)
    require_few_pixels(array.shape[1], array.shape[0])
    return array
