"""Our operators in terms of standard ones, for graphs that run without this package.

Each function computes what one operator in `ops/` computes, on torchvision's operators of one map or one list of boxes,
which every torch with torchvision brings and which ONNX has, too. Padded regions (batch index -1) reach no pooling
operator, and a region is pooled on its own level only: both are selected by `nonzero`. RoIAlign on a processor is
another matter: see `roi_align.py`.

Shape letters: N images, C channels, R regions, ph and pw bins, P boxes of an image.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torchvision.ops  # noqa: F401  # registers the operators of `torch.ops.torchvision`
from torch import Tensor
from torch._higher_order_ops.while_loop import while_loop
from torch._ops import OpOverloadPacket
from torch.overrides import TorchFunctionMode

import lightning_rcnn.ops.nms
import lightning_rcnn.ops.operators  # noqa: F401  # both register the operators that are replaced
from lightning_rcnn.export import roi_align as weighted_sums
from lightning_rcnn.ops.level_assignment import assign_levels

PoolMap = Callable[[Tensor, Tensor, float], Tensor]
"""Function that pools regions [R, 5] from one map of a scale: [R, C, ph, pw]."""

_BAND = 32
"""Pixels of the network's input within which regions lie close to each other."""
_LARGEST_SIDE = 2**16
"""Pixels of the network's input beyond which the order of regions does not matter."""


def roi_align_by_level(
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
    """Compute `lightning_rcnn::roi_align` in the way that is fastest on the device of the features."""
    canonical = (canonical_level, canonical_size)
    if features[0].device.type != "cpu":  # on a GPU torchvision's kernel is fast
        return roi_align_by_level(
            features, rois, levels, scales, output_size, sampling_ratio, aligned, *canonical, impl
        )
    if levels is None:
        levels = _assign_levels(rois, scales, canonical)
    return weighted_sums.roi_align(features, rois, levels, scales, output_size, sampling_ratio, aligned)


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
    """Compute `lightning_rcnn::non_maximum_suppression` by `torchvision::nms`, in a loop over the images.

    One call for all images would compare the boxes of each with those of all others. The boxes of each group are moved
    to a place of their own; in float64 the move rounds nothing away. Two boxes beside all others are always kept and
    left out at the end: `torch.export` takes sizes that depend on the data to be at least 2, and the graph would fail
    where fewer boxes remain.
    """
    is_finite = torch.isfinite(scores)
    known = torch.where(is_finite[..., None], boxes, 0.0).double()
    lowest, extent = known.min() - 1, known.max() - known.min() + 1
    moved = known + (groups * extent)[..., None]
    extra = lowest - torch.tensor([[1.0, 1.0, 0.0, 0.0], [3.0, 3.0, 2.0, 2.0]], dtype=known.dtype, device=boxes.device)
    lowest_ranks = extra.new_full((2,), torch.finfo(extra.dtype).min)
    num_images = scores.shape[0]

    def is_left(image: Tensor, keep: Tensor) -> Tensor:
        return image < num_images

    def add_image(image: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        row = image.reshape(1)
        own_boxes, own_scores, candidates = (part.index_select(0, row)[0] for part in (moved, scores, is_finite))
        index = torch.nonzero(candidates).squeeze(1)
        ranks = torch.cat([own_scores[index].double(), lowest_ranks])
        kept = torch.ops.torchvision.nms(torch.cat([own_boxes[index], extra]), ranks, iou_threshold)
        is_kept = torch.zeros_like(ranks, dtype=torch.bool).index_fill(0, kept, True)[:-2]
        marks = torch.zeros_like(candidates).index_copy(0, index, is_kept)
        return image + 1, keep.index_copy(0, row, marks[None])

    first = torch.zeros((), dtype=torch.int64, device=scores.device)
    _, keep = while_loop(is_left, add_image, (first, torch.zeros_like(is_finite)))
    return keep


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

    Regions are pooled in the order of their place: their neighbors read the same lines of the maps, which are then in
    the cache of a processor. They are brought back into their order by one gather: writing each level into the result
    would copy the whole result in every format whose operators return new tensors.
    """
    if levels is None:
        levels = _assign_levels(rois, scales, canonical)
    order = _order_of_places(rois)
    is_region, levels = (rois[:, 0] >= 0)[order], levels[order]
    members, pooled = [], [features[0].new_zeros((1, features[0].shape[1], *output_size))]  # row 0 is for padding
    for level, (feature, scale) in enumerate(zip(features, scales, strict=True)):
        members.append(order[torch.nonzero(is_region & (levels == level)).squeeze(1)])
        pooled.append(pool(feature, rois[members[-1]].to(feature.dtype), scale))
    places = torch.cat(members)
    rows = torch.zeros_like(levels)
    rows = rows.index_copy(0, places, torch.arange(1, places.shape[0] + 1, device=places.device))
    return torch.cat(pooled).index_select(0, rows)


def _order_of_places(rois: Tensor) -> Tensor:
    """Return the regions image by image, in bands from the top, and in each from the left, int64 [R]."""
    band, x = ((rois[:, side].clamp(0, _LARGEST_SIDE) / _BAND).to(torch.int64) for side in (2, 1))
    number_of_bands = _LARGEST_SIDE // _BAND + 1
    return ((rois[:, 0].to(torch.int64) * number_of_bands + band) * number_of_bands + x).argsort()


def _assign_levels(rois: Tensor, scales: list[float], canonical: tuple[int, float]) -> Tensor:
    """Return the level of each region; a single map may have any scale."""
    return (
        torch.zeros_like(rois[:, 0], dtype=torch.int64)
        if len(scales) == 1
        else assign_levels(rois[:, 1:], scales, canonical)
    )


Operators = Mapping[str, Callable[..., Any]]
"""Functions of standard operators by the name of the operator of ours that they replace."""

OPERATORS: Operators = {
    "roi_align": roi_align,
    "roi_pool": roi_pool,
    "non_maximum_suppression": non_maximum_suppression,
}
"""Replacements for a graph that torch runs."""


class StandardOperators(TorchFunctionMode):
    """A context that replaces our operators by standard ones, in the graph that is traced in it.

    Args:
        operators: the replacements; an operator without one stays, because a format has its own translation.
    """

    def __init__(self, operators: Operators) -> None:
        super().__init__()
        ours = torch.ops.lightning_rcnn
        self._standard = {getattr(ours, name): function for name, function in operators.items()}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the standard version of an operator of ours, and any other function itself."""
        operator = getattr(func, "overloadpacket", func)
        if isinstance(operator, OpOverloadPacket):
            func = self._standard.get(operator, func)
        return func(*args, **(kwargs or {}))
