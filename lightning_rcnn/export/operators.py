"""Our operators in terms of standard ones, for graphs that run without this package.

Each function computes what the operator of the same name in `ops/` computes, on torchvision's operators of one map or
one list of boxes, which every torch with torchvision brings and which ONNX has, too. Padded regions (batch index -1)
reach no pooling operator, and a region is pooled on its own level only: both are selected by `nonzero`.

Shape letters: N images, C channels, R regions, ph and pw bins, P boxes of an image.
"""

from collections.abc import Callable, Collection
from typing import Any

import torch
import torchvision.ops  # noqa: F401  # registers the operators of `torch.ops.torchvision`
from torch import Tensor
from torch._ops import OpOverloadPacket
from torch.overrides import TorchFunctionMode

from lightning_rcnn.ops import nms, operators  # noqa: F401  # register the operators that are replaced
from lightning_rcnn.ops.level_assignment import assign_levels

PoolMap = Callable[[Tensor, Tensor, float], Tensor]
"""Function that pools regions [R, 5] from one map of a scale: [R, C, ph, pw]."""


def roi_align(
    features: list[Tensor],
    rois: Tensor,
    levels: Tensor | None,
    scales: list[float],
    output_size: list[int],
    sampling_ratio: int,
    aligned: bool,
    canonical_level: int,
    canonical_size: float,
    impl: str,
) -> Tensor:
    """Compute `lightning_rcnn::roi_align` by `torchvision::roi_align`, level by level."""

    def pool(feature: Tensor, regions: Tensor, scale: float) -> Tensor:
        return torch.ops.torchvision.roi_align(feature, regions, scale, *output_size, sampling_ratio, aligned)

    return _pool_by_level(features, rois, levels, scales, output_size, (canonical_level, canonical_size), pool)


def roi_pool(
    features: list[Tensor],
    rois: Tensor,
    levels: Tensor | None,
    scales: list[float],
    output_size: list[int],
    canonical_level: int,
    canonical_size: float,
    impl: str,
) -> tuple[Tensor, Tensor]:
    """Compute `lightning_rcnn::roi_pool` by `torchvision::roi_pool`, level by level.

    The second output, the pixels of the maxima, serves gradients only: here it is empty of information.
    """

    def pool(feature: Tensor, regions: Tensor, scale: float) -> Tensor:
        return torch.ops.torchvision.roi_pool(feature, regions, scale, *output_size)[0]

    canonical = (canonical_level, canonical_size)
    pooled = _pool_by_level(features, rois, levels, scales, output_size, canonical, pool)
    return pooled, torch.zeros_like(pooled, dtype=torch.int32)


def non_maximum_suppression(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    """Compute `lightning_rcnn::non_maximum_suppression` by one call of `torchvision::nms`.

    Boxes of each image and group are moved to a place of their own. In float64 the move rounds nothing away. Two boxes
    beside all others are always kept and left out at the end: `torch.export` takes sizes that depend on the data to be
    at least 2, and the graph would fail where fewer boxes remain.
    """
    is_finite = torch.isfinite(scores)
    active = torch.nonzero(is_finite.flatten()).squeeze(1)
    image = torch.arange(scores.shape[0], device=scores.device)[:, None]
    place = (image * (groups.max() + 1) + groups).flatten()[active]
    extent = torch.where(is_finite[..., None], boxes, 0.0).max().double() + 1
    moved = boxes.flatten(0, 1)[active].double() + (place * extent)[:, None]
    lowest = torch.where(is_finite[..., None], boxes, 0.0).min().double() - 1
    extra = lowest - torch.tensor(
        [[1.0, 1.0, 0.0, 0.0], [3.0, 3.0, 2.0, 2.0]], dtype=torch.float64, device=scores.device
    )
    ranks = torch.cat([scores.flatten()[active].double(), extra.new_full((2,), torch.finfo(torch.float64).min)])
    kept = torch.ops.torchvision.nms(torch.cat([moved, extra]), ranks, iou_threshold)
    count = scores.numel()
    slots = torch.cat([active, torch.arange(2, device=scores.device) + count])
    keep = torch.zeros(count + 2, dtype=torch.bool, device=scores.device)
    return keep.index_fill(0, slots[kept], True)[:count].view_as(scores)


def _pool_by_level(
    features: list[Tensor],
    rois: Tensor,
    levels: Tensor | None,
    scales: list[float],
    output_size: list[int],
    canonical: tuple[int, float],
    pool: PoolMap,
) -> Tensor:
    """Pool each region from its level; regions of padding are zeros; [R, C, ph, pw].

    The levels' regions are brought back into their order by one gather: writing each level into the result would copy
    the whole result in every format whose operators return new tensors.
    """
    is_region = rois[:, 0] >= 0
    if levels is None and len(features) > 1:
        levels = assign_levels(rois[:, 1:], scales, canonical)
    members, pooled = [], [features[0].new_zeros((1, features[0].shape[1], *output_size))]  # row 0 is for padding
    for level, (feature, scale) in enumerate(zip(features, scales, strict=True)):
        of_level = is_region if levels is None else is_region & (levels == level)
        members.append(torch.nonzero(of_level).squeeze(1))
        pooled.append(pool(feature, rois[members[-1]].to(feature.dtype), scale))
    places = torch.cat(members)
    rows = torch.zeros_like(is_region, dtype=torch.int64)
    rows = rows.index_copy(0, places, torch.arange(1, places.shape[0] + 1, device=places.device))
    return torch.cat(pooled).index_select(0, rows)


class StandardOperators(TorchFunctionMode):
    """A context that replaces our operators by standard ones, in the graph that is traced in it.

    Args:
        keep: names of operators that stay, because a format has its own translation.
    """

    def __init__(self, keep: Collection[str] = ()) -> None:
        super().__init__()
        functions = {
            "roi_align": roi_align,
            "roi_pool": roi_pool,
            "non_maximum_suppression": non_maximum_suppression,
        }
        ours = torch.ops.lightning_rcnn
        self._standard = {getattr(ours, name): function for name, function in functions.items() if name not in keep}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the standard version of an operator of ours, and any other function itself."""
        operator = getattr(func, "overloadpacket", func)
        if isinstance(operator, OpOverloadPacket):
            func = self._standard.get(operator, func)
        return func(*args, **(kwargs or {}))
