"""Parameter structures of the kernels, with the fields of `roi_kernels.cu`."""

import ctypes
from collections.abc import Sequence

from torch import Tensor

MAX_LEVELS = 8
MAX_BINS = 64
MAX_ROIS = 32 * 65535
"""Limit because the second dimension of a grid (at most 65535) counts the 32-bit words of a tile's mask."""
TILE = 8
WORD = 32
SQUARE = 64
AXES_BYTES = 64
"""Size of `RegionAxes`."""

_Pointer = ctypes.c_void_p
_Int = ctypes.c_int


class Level(ctypes.Structure):
    """One level of the pyramid, and the index of its first tile."""

    _fields_ = (
        ("pixels", _Pointer),
        ("height", _Int),
        ("width", _Int),
        ("tiles_y", _Int),
        ("tiles_x", _Int),
        ("first_tile", _Int),
        ("scale", ctypes.c_float),
    )


class Params(ctypes.Structure):
    """Parameters of every pooling kernel."""

    _fields_ = (
        ("levels", Level * MAX_LEVELS),
        ("rois", _Pointer),
        ("roi_levels", _Pointer),
        ("pooled", _Pointer),
        ("argmax", _Pointer),
        ("tile_masks", _Pointer),
        ("axes", _Pointer),
        ("num_levels", _Int),
        ("num_images", _Int),
        ("num_channels", _Int),
        ("num_rois", _Int),
        ("num_tiles", _Int),
        ("pooled_height", _Int),
        ("pooled_width", _Int),
        ("sampling_ratio", _Int),
        ("aligned", _Int),
        ("finest_level", _Int),
        ("canonical_level", _Int),
        ("canonical_size", ctypes.c_float),
        ("is_pooling", _Int),
    )


class BitmapParams(ctypes.Structure):
    """Parameters of `align_bitmaps`."""

    _fields_ = (
        ("bits", _Pointer),
        ("first_byte", _Pointer),
        ("sizes", _Pointer),
        ("crop_boxes", _Pointer),
        ("boxes", _Pointer),
        ("gt_index", _Pointer),
        ("is_valid", _Pointer),
        ("targets", _Pointer),
        ("num_objects", _Int),
        ("num_regions", _Int),
        ("size", _Int),
        ("aligned", _Int),
    )


class Planes(ctypes.Structure):
    """Matrices of one size to transpose, and the index of their first square."""

    _fields_ = (
        ("source", _Pointer),
        ("target", _Pointer),
        ("rows", _Int),
        ("columns", _Int),
        ("squares_down", _Int),
        ("squares_across", _Int),
        ("first_square", _Int),
    )


class TransposeParams(ctypes.Structure):
    """Parameters of `transpose`."""

    _fields_ = (("planes", Planes * MAX_LEVELS), ("num_planes", _Int))


def set_levels(params: Params, maps: Sequence[Tensor], scales: Sequence[float]) -> None:
    """Set channels-last maps [N, H, W, C] as the levels, and number their tiles, those of the coarsest level first."""
    params.num_levels = len(maps)
    params.num_images, _, _, params.num_channels = maps[0].shape
    for level, pixels, scale in reversed(list(zip(params.levels, maps, scales, strict=False))):
        level.pixels, level.scale = pixels.data_ptr(), scale
        _, level.height, level.width, _ = pixels.shape
        level.tiles_y, level.tiles_x = -(-level.height // TILE), -(-level.width // TILE)
        level.first_tile = params.num_tiles
        params.num_tiles += params.num_images * level.tiles_y * level.tiles_x
