"""Region operators: a region of a feature map, or of a pyramid of them, becomes a small grid of fixed size."""

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
