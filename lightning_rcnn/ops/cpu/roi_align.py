"""RoIAlign by `embedding_bag`, on any device: forward and backward as plain functions of tensors.

With the features as rows of C channels, every output bin is one bag of weighted rows, all levels in one call; the
gradient is the transposed map, the bins that weigh on a pixel, and so a bag again: no scattered additions, the same
bits on every run, and all cores at work in both directions. Sums are in float32 (float64 for float64 features) and
rounded once, so that half-precision gradients do not drown.
"""

import threading
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_rcnn.ops.cpu.pixel_weights import Array, Bags, Grid, Pyramid, region_bags, transpose_bags


def pool_by_bags(features: Sequence[Tensor], rois: Tensor, levels: Tensor, scales: list[float], grid: Grid) -> Tensor:
    """Regions pooled from the level each belongs to.

    Args:
        features: [N, C, H, W] for each level.
        rois: [R, 5].
        levels: int64 [R].
        scales: for each level.
        grid: bins and samples.

    Returns:
        [R, C, ph, pw] of the features' type, channels last.
    """
    first = features[0]
    pyramid = Pyramid(first.shape[0], [f.shape[2] for f in features], [f.shape[3] for f in features], scales)
    sum_dtype = _sum_dtype(first.dtype)
    bags = region_bags(_to_numpy(rois.to(sum_dtype)), _to_numpy(levels), pyramid, grid)
    bins = _sum_bags(_stack_rows(features, sum_dtype), bags)
    return bins.to(first.dtype).view(len(rois), *grid.output_size, first.shape[1]).permute(0, 3, 1, 2)


def spread_by_bags(grad: Tensor, rois: Tensor, levels: Tensor, pyramid: Pyramid, grid: Grid) -> list[Tensor]:
    """The gradient of `pool_by_bags` for each level's features.

    Args:
        grad: [R, C, ph, pw], of the features' type.
        rois, levels, pyramid, grid: as in the forward direction.

    Returns:
        [N, C, H, W] for each level, of the type of `grad`, channels last.
    """
    sum_dtype = _sum_dtype(grad.dtype)
    num_channels = grad.shape[1]
    level_rows = pyramid.level_rows()
    bags = region_bags(_to_numpy(rois.to(sum_dtype)), _to_numpy(levels), pyramid, grid)
    bags = transpose_bags(bags, sum(level_rows))
    bins = grad.permute(0, 2, 3, 1).reshape(-1, num_channels).to(sum_dtype)

    # One call for each level, though one would do: threads take equal shares of the bags, and the regions of a level
    # are spread evenly over its images while those of the pyramid crowd on its coarse levels.
    grads = []
    first = 0
    for num_rows, height, width in zip(level_rows, pyramid.heights, pyramid.widths, strict=True):
        offsets = bags.offsets[first : first + num_rows + 1]
        entries = slice(offsets[0], offsets[-1])
        rows = _sum_bags(bins, Bags(bags.rows[entries], bags.weights[entries], offsets - offsets[0])).to(grad.dtype)
        grads.append(rows.view(pyramid.num_images, height, width, num_channels).permute(0, 3, 1, 2))
        first += num_rows
    return grads


def _sum_bags(rows: Tensor, bags: Bags) -> Tensor:
    """The weighted sum of each bag's rows, [B, C]."""
    if bags.rows.size == 0 or rows.shape[1] == 0:
        return rows.new_zeros(bags.offsets.size - 1, rows.shape[1])
    indices, weights, offsets = (torch.from_numpy(part).to(rows.device) for part in bags)
    return F.embedding_bag(indices, rows, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True)


def _to_numpy(tensor: Tensor) -> Array:
    return tensor.numpy(force=True)


def _sum_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


class _Workspace(threading.local):
    """Memory for the stacked rows, kept from call to call by each thread.

    The rows live only during the call, but fresh memory of this size comes from the system page by page, which takes
    several times as long as the copy (18 times, measured for 46 MB).
    """

    def __init__(self) -> None:
        self._memory = torch.empty(0)

    def rows(self, num_rows: int, num_channels: int, dtype: torch.dtype) -> Tensor:
        """Uninitialised [num_rows, num_channels] on the CPU, valid until the next call."""
        if self._memory.dtype != dtype or self._memory.numel() < num_rows * num_channels:
            with torch.inference_mode(False):
                self._memory = torch.empty(num_rows * num_channels, dtype=dtype)
        return self._memory[: num_rows * num_channels].view(num_rows, num_channels)


_workspace = _Workspace()


def _stack_rows(features: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """All pixels of all levels as rows of channels, [sum of N * H * W, C]."""
    num_channels = features[0].shape[1]
    num_rows = [f.shape[0] * f.shape[2] * f.shape[3] for f in features]
    if features[0].device.type == "cpu":
        rows = _workspace.rows(sum(num_rows), num_channels, dtype)
    else:
        rows = features[0].new_empty(sum(num_rows), num_channels, dtype=dtype)
    for level_rows, feature in zip(rows.split(num_rows), features, strict=True):
        channels_last = feature.permute(0, 2, 3, 1)
        level_rows.view(channels_last.shape).copy_(channels_last)
    return rows
