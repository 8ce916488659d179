"""Operators on regions (RoIs): pooling to a grid of fixed size, mask targets, suppression.

The submodules of the public functions check arguments and call operators of `torch.library`, which run CUDA kernels
(`cuda/`) or code for any device (`cpu/`); `reference.py` is the plain implementation for tests.
"""

from lightning_rcnn.ops.level_assignment import assign_levels
from lightning_rcnn.ops.mask_targets import align_bitmaps, fill_polygons, has_mask
from lightning_rcnn.ops.roi_align import multiscale_roi_align, roi_align
from lightning_rcnn.ops.roi_pool import multiscale_roi_pool, roi_pool

__all__ = [
    "align_bitmaps",
    "assign_levels",
    "fill_polygons",
    "has_mask",
    "multiscale_roi_align",
    "multiscale_roi_pool",
    "roi_align",
    "roi_pool",
]
