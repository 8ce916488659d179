"""Where decoded images are in memory, and what is to become of their pixels."""

from typing import NamedTuple


class Placement(NamedTuple):
    """A row of the table by which `render.render_images` renders a batch: whole numbers, flags as 0 and 1.

    The *canvas* is the part of an image that is displayed; it may reach beyond the pixels. It is transposed, resized
    and flipped, in this order. The fields and their order are those of `cuda/render.cu`.

    Attributes:
        first_byte: index of the image's first byte; its pixels lie row by row, the channels of a pixel together.
        height, width: size of the pixels that are there.
        top, left: place of their first one on the canvas; may be negative.
        canvas_height, canvas_width: size of the canvas, before it is transposed.
        is_transposed, is_upside_down, is_mirrored: what becomes of the canvas.
        new_height, new_width: size of the rendered image; 0 x 0 for an empty slot.
        first_tap_y, taps_y, bits_y: index of the first number of the table of taps along y, number of taps of a pixel,
            and bits of the weights; see `resize_taps.py`.
        first_tap_x, taps_x, bits_x: the same along x.
    """

    first_byte: int = 0
    height: int = 0
    width: int = 0
    top: int = 0
    left: int = 0
    canvas_height: int = 0
    canvas_width: int = 0
    is_transposed: int = 0
    is_upside_down: int = 0
    is_mirrored: int = 0
    new_height: int = 0
    new_width: int = 0
    first_tap_y: int = 0
    taps_y: int = 0
    bits_y: int = 0
    first_tap_x: int = 0
    taps_x: int = 0
    bits_x: int = 0
