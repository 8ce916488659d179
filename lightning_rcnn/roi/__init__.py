"""Region operators: a region of a feature map, or of a pyramid of them, becomes a small grid of fixed size."""

from lightning_rcnn.roi.align import multiscale_roi_align, roi_align
from lightning_rcnn.roi.pool import roi_pool
from lightning_rcnn.roi.pyramid import assign_levels

__all__ = ["assign_levels", "multiscale_roi_align", "roi_align", "roi_pool"]
