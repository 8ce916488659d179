"""RoIAlign by sparse weighted sums, on any device: forward and backward as plain functions of tensors.

The pixels of all levels are stacked as rows of C channels. Every output bin is a weighted sum of rows, so forward is a
product with the sparse matrix of `pixel_weights.bin_weights`, computed by `embedding_bag`. Backward is the product
with its transpose: no scattered additions, the same bits on every run, and all cores at work in both directions. Sums
are in float32 (float64 for float64 features) and rounded once, so that half-precision gradients do not vanish in them.

Shape letters: N images, C channels, H and W height and width of a level's map, R regions, ph and pw bins.
"""

import threading
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_rcnn.ops.cpu.pixel_weights import Array, Grid, Pyramid, bin_weights, transpose, weighted_sum


def forward(features: Sequence[Tensor], rois: Tensor, levels: Tensor, scales: list[float], grid: Grid) -> Tensor:
    """Pool each region from its level.

    Args:
        features: [N, C, H, W] for each level.
        rois: [R, 5]: batch index, x1, y1, x2, y2 in pixels of the network's input.
        levels: int64 [R], the level of each region.
        scales: size of each level's map over the size of the input.
        grid: bins and samples.

    Returns:
        [R, C, ph, pw] of the features' type, channels last.
    """
    first = features[0]
    pyramid = Pyramid(first.shape[0], [f.shape[2] for f in features], [f.shape[3] for f in features], scales)
    sum_dtype = _sum_dtype(first.dtype)
    weights = bin_weights(_to_numpy(rois.to(sum_dtype)), _to_numpy(levels), pyramid, grid)
    bins = weighted_sum(weights, _stack_rows(features, sum_dtype))
    return bins.to(first.dtype).view(len(rois), *grid.output_size, first.shape[1]).permute(0, 3, 1, 2)


def backward(grad: Tensor, rois: Tensor, levels: Tensor, pyramid: Pyramid, grid: Grid) -> list[Tensor]:
    """Compute the gradient of `forward` with respect to each level's features.

    Args:
        grad: [R, C, ph, pw], of the features' type.
        rois, levels, grid: as in `forward`.
        pyramid: sizes of the feature maps.

    Returns:
        [N, C, H, W] for each level, of the type of `grad`, channels last.
    """
    sum_dtype = _sum_dtype(grad.dtype)
    num_channels = grad.shape[1]
    level_rows = pyramid.level_rows()
    weights = bin_weights(_to_numpy(rois.to(sum_dtype)), _to_numpy(levels), pyramid, grid)
    transposed = transpose(weights, sum(level_rows))
    bins = grad.permute(0, 2, 3, 1).reshape(-1, num_channels).to(sum_dtype)

    # One product for each level, though one for all would do: threads take equal shares of the rows, and the regions of
    # a level are spread evenly over its images, while those of the pyramid crowd on its coarse levels.
    grads = []
    first = 0
    for num_rows, height, width in zip(level_rows, pyramid.heights, pyramid.widths, strict=True):
        rows = weighted_sum(transposed.rows_between(first, first + num_rows), bins).to(grad.dtype)
        grads.append(rows.view(pyramid.num_images, height, width, num_channels).permute(0, 3, 1, 2))
        first += num_rows
    return grads


def _to_numpy(tensor: Tensor) -> Array:
    return tensor.numpy(force=True)


def _sum_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


class _Workspace(threading.local):
    """Memory for the stacked rows, which each thread keeps from call to call.

    The rows are needed only during the call, but the system hands out fresh memory of this size page by page, which
    takes several times as long as the copy (18 times, measured for 46 MB).
    """

    def __init__(self) -> None:
        self._memory = torch.empty(0)

    def rows(self, num_rows: int, num_channels: int, dtype: torch.dtype) -> Tensor:
        """Return uninitialized memory [num_rows, num_channels] on the CPU, valid until the next call."""
        if self._memory.dtype != dtype or self._memory.numel() < num_rows * num_channels:
            with torch.inference_mode(False):
                self._memory = torch.empty(num_rows * num_channels, dtype=dtype)
        return self._memory[: num_rows * num_channels].view(num_rows, num_channels)


_workspace = _Workspace()


def _stack_rows(features: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Stack the pixels of all levels as rows of channels, [sum of N * H * W, C]."""
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
