"""Targets of the mask branch: ground-truth masks cropped to regions and resampled to a grid.

There are two conventions. torchvision takes RoIAlign of the 0/1 bitmap, which is soft at the outline. detectron2 takes
binary cells: polygons filled in the region's grid, or RoIAlign with `aligned` and a threshold of 0.5.

Shape letters: N images, M ground truths, R regions, S side of a mask, E edges of a polygon.
"""

import torch
from torch import Tensor

from lightning_rcnn.ops import bitmaps  # noqa: F401  # registers the operator called below
from lightning_rcnn.ops.cpu.bitmaps import FARTHEST_CORNER
from lightning_rcnn.ops.dispatch import Implementation
from lightning_rcnn.structures import Bitmaps, Masks, Polygons

_MIN_SIDE = 0.1
"""Smallest side of a region in `fill_polygons`, pixels, as in detectron2."""
_CROSSINGS_AT_ONCE = 2**20
"""Pairs of an edge and a row of cells that are compared at a time; bounds the memory of `fill_polygons`."""


def align_bitmaps(
    masks: Bitmaps,
    boxes: Tensor,
    gt_index: Tensor,
    is_valid: Tensor,
    *,
    size: int = 28,
    aligned: bool,
    impl: Implementation = "auto",
) -> Tensor:
    """Compute the fraction of each cell of a region's grid that its object covers, by RoIAlign.

    The values are those of `torchvision.ops.roi_align` on the whole image's 0/1 bitmap with an adaptive number of
    samples. If the bitmap has another resolution than the resized frame, the region is mapped into the bitmap's pixels
    and sampled there, about once a pixel.

    Args:
        masks: masks of the M objects of each image.
        boxes: float32 [N, R, 4], xyxy in the resized frame.
        gt_index: int64 [N, R], index of each region's object in its image.
        is_valid: bool [N, R]; other regions give zeros.
        size: S, cells along each side.
        aligned: whether the center of the first pixel lies at 0.5 (detectron2) or at 0 (torchvision, whose regions are
            also at least one pixel wide). Both refer to pixels of the resized frame.
        impl: "auto" runs the CUDA kernel if possible, and warns once if not; "cuda" requires it; "portable" runs on any
            device, in host memory.

    Returns:
        float32 [N, R, S, S], 0 to 1; zeros for an object without a mask and for boxes that are not finite. Not
        differentiable.

    Raises:
        RuntimeError: `impl` is "cuda" and the kernel cannot run.
    """
    return torch.ops.lightning_rcnn.align_bitmaps(*masks, boxes, gt_index, is_valid, size, aligned, impl)


def fill_polygons(masks: Polygons, boxes: Tensor, gt_index: Tensor, is_valid: Tensor, *, size: int = 28) -> Tensor:
    """Test whether the center of each cell of a region's grid lies inside its object.

    Args:
        masks, boxes, gt_index, is_valid, size: as in `align_bitmaps`.

    Returns:
        float32 [N, R, S, S], 0 or 1, by the nonzero winding rule; zeros for an object without a mask and for boxes that
        are not finite. A side counts as at least 0.1 pixels, as in detectron2. Not differentiable.
    """
    is_valid = is_valid & (boxes.abs() <= FARTHEST_CORNER).all(dim=2)
    boxes = torch.where(is_valid[:, :, None], boxes, 0)
    images = torch.arange(len(gt_index), device=boxes.device)[:, None].expand_as(gt_index)
    objects = torch.where(is_valid, gt_index, 0)
    chunk = max(1, _CROSSINGS_AT_ONCE // (size * max(1, masks.edges.shape[2])))
    regions = (part.flatten(0, 1).split(chunk) for part in (images, objects, boxes))
    inside = [_fill(masks.edges[image, index], box, size) for image, index, box in zip(*regions, strict=True)]
    return (torch.cat(inside).view(*gt_index.shape, size, size) & is_valid[:, :, None, None]).float()


def has_mask(masks: Masks) -> Tensor:
    """Mark the objects that have a mask of at least one pixel or one edge; bool [N, M]."""
    if isinstance(masks, Bitmaps):
        return (masks.sizes > 0).all(dim=-1)
    return (masks.edges != 0).any(dim=-1).any(dim=-1)


def _fill(edges: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Mark the cells inside the polygons of each region.

    An edge that crosses a row of cell centers changes the winding number of all centers to its right. So each crossing
    is counted in the first column that it changes, and the cumulative sums along a row are the winding numbers.

    Args:
        edges: [R, E, 4] in the frame of the boxes.
        boxes: [R, 4].
        size: S.

    Returns:
        Bool [R, S, S].
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=_MIN_SIDE)
    points = (edges.unflatten(2, (2, 2)) - boxes[:, None, None, :2]) * (size / sides)[:, None, None]
    (x1, y1), (x2, y2) = (points[:, None, :, end].unbind(-1) for end in (0, 1))  # [R, 1, E] each
    row = torch.arange(size, device=boxes.device)[:, None] + 0.5
    crosses = (torch.minimum(y1, y2) <= row) & (row < torch.maximum(y1, y2))
    x = x1 + (row - y1) * ((x2 - x1) / torch.where(y1 == y2, 1, y2 - y1))
    column = torch.where(crosses, torch.ceil(x - 0.5), size).clamp(0, size).long()
    turn = torch.where(y1 < y2, 1.0, -1.0).expand(column.shape)
    changes = edges.new_zeros(len(edges), size, size + 1).scatter_add(2, column, turn)
    return changes[:, :, :size].cumsum(dim=2) != 0
