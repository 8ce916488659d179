"""Launches of RoIAlign and RoIPool, forward and backward, kernels of `roi_kernels.cu`.

No function waits for the GPU or depends on the values of tensors, so that all can be captured in a CUDA graph (once the
kernels are loaded, that is after one call outside of it).

Shape letters: N images, C channels, H and W height and width of a level's map, R regions, ph and pw bins.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_rcnn.ops.cpu.pixel_weights import Grid, Pyramid
from lightning_rcnn.ops.cuda import launcher
from lightning_rcnn.ops.cuda.arguments import (
    AXES_BYTES,
    MAX_BINS,
    MAX_LEVELS,
    MAX_ROIS,
    SQUARE,
    WORD,
    Params,
    TransposeParams,
    set_levels,
)
from lightning_rcnn.ops.cuda.compiler import ELEMENTS, roi_kernels
from lightning_rcnn.ops.level_assignment import level_range

_BLOCKS_THAT_FILL_A_GPU = 1056
"""Eight blocks on each of 132 multiprocessors; with fewer regions, several blocks share one region."""


class LevelRule(NamedTuple):
    """Level assignment of regions without a given level: `canonical` of `multiscale_roi_align`."""

    canonical_level: int
    canonical_size: float


def obstacle(tensor: Tensor, rois: Tensor, output_size: Sequence[int], pyramid: Pyramid) -> str:
    """Return why the kernels cannot run; empty if they can, as far as known without compiling.

    Args:
        tensor: features or gradients of one level.
        rois: [R, 5].
        output_size: bins along (y, x).
        pyramid: sizes of the feature maps.
    """
    if tensor.device.type != "cuda":
        return f"features are on the device {tensor.device}"
    if tensor.dtype not in ELEMENTS:
        return f"features are {tensor.dtype}"
    if len(pyramid.scales) > MAX_LEVELS:
        return f"there are {len(pyramid.scales)} levels, more than {MAX_LEVELS}"
    if max(output_size) > MAX_BINS:
        return f"an output of {tuple(output_size)} bins is larger than {MAX_BINS}"
    if len(rois) > MAX_ROIS:
        return f"there are {len(rois)} regions, more than {MAX_ROIS}"
    if any(height * width >= 2**31 for height, width in zip(pyramid.heights, pyramid.widths, strict=True)):
        return "a map has 2^31 pixels or more"
    return ""


def roi_align(
    features: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor | None,
    scales: Sequence[float],
    grid: Grid,
    rule: LevelRule,
) -> Tensor:
    """Run RoIAlign.

    Args:
        features: [N, C, H, W] for each level, in any layout; channels last saves a transposition.
        rois: floating point [R, 5]: batch index, x1, y1, x2, y2 in pixels of the network's input.
        levels: int64 [R], or None to apply `rule`.
        scales: size of each level's map over the size of the input.
        grid: bins and samples.
        rule: level assignment.

    Returns:
        [R, C, ph, pw] of the features' type, channels last.
    """
    maps = to_channels_last(features)
    pooled = maps[0].new_empty(len(rois), *grid.output_size, maps[0].shape[3])
    params, _keep = _align_params(maps, rois, levels, scales, grid, rule, pooled)
    kernel = "roi_align_forward" if grid.sampling_ratio in (1, 2) else "roi_align_forward_any_grid"
    _launch_over_bins(kernel, params, [*maps, pooled])
    return pooled.permute(0, 3, 1, 2)


def roi_align_backward(
    grad: Tensor, rois: Tensor, levels: Tensor | None, pyramid: Pyramid, grid: Grid, rule: LevelRule
) -> list[Tensor]:
    """Compute the gradient of `roi_align` with respect to each level's features.

    Args:
        grad: [R, C, ph, pw], in any layout.
        rois, levels, grid, rule: as in `roi_align`.
        pyramid: sizes of the feature maps.

    Returns:
        [N, C, H, W] for each level, channels last.
    """
    (grad_bins,) = to_channels_last([grad])
    maps = _empty_maps(grad, pyramid)
    params, _keep = _align_params(maps, rois, levels, pyramid.scales, grid, rule, grad_bins)
    _launch_over_tiles("roi_align_backward", params, maps, grad_bins)
    return [pixels.permute(0, 3, 1, 2) for pixels in maps]


def roi_pool(
    features: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor | None,
    scales: Sequence[float],
    output_size: tuple[int, int],
    rule: LevelRule,
) -> tuple[Tensor, Tensor]:
    """Run RoIPool.

    Args:
        features, rois, levels, scales, rule: as in `roi_align`.
        output_size: bins along (y, x).

    Returns:
        The maxima [R, C, ph, pw] and the indices y * W + x of their pixels, int32, -1 for an empty bin; channels last.
    """
    maps = to_channels_last(features)
    pooled = maps[0].new_empty(len(rois), *output_size, maps[0].shape[3])
    argmax = torch.empty_like(pooled, dtype=torch.int32)
    params, _keep = _pool_params(maps, rois, levels, scales, rule, pooled, argmax)
    _launch_over_bins("roi_pool_forward", params, [*maps, pooled])
    return pooled.permute(0, 3, 1, 2), argmax.permute(0, 3, 1, 2)


def roi_pool_backward(
    grad: Tensor, argmax: Tensor, rois: Tensor, levels: Tensor | None, pyramid: Pyramid, rule: LevelRule
) -> list[Tensor]:
    """Compute the gradient of `roi_pool` with respect to each level's features.

    Args:
        grad: [R, C, ph, pw], in any layout.
        argmax: int32 [R, C, ph, pw], the pixels that `roi_pool` returned.
        rois, levels, rule: as in `roi_pool`.
        pyramid: sizes of the feature maps.

    Returns:
        [N, C, H, W] for each level, channels last.
    """
    (grad_bins,) = to_channels_last([grad])
    maps = _empty_maps(grad, pyramid)
    argmax = argmax.permute(0, 2, 3, 1).contiguous()
    params, _keep = _pool_params(maps, rois, levels, pyramid.scales, rule, grad_bins, argmax)
    _launch_over_tiles("roi_pool_backward", params, maps, grad_bins)
    return [pixels.permute(0, 3, 1, 2) for pixels in maps]


def to_channels_last(maps: Sequence[Tensor]) -> list[Tensor]:
    """Turn maps [N, C, H, W] of any layout into contiguous [N, H, W, C]; channels-last maps are not copied."""
    views = [m.permute(0, 2, 3, 1) for m in maps]
    if all(view.is_contiguous() for view in views):
        return views
    return _transpose([m.contiguous().flatten(2) for m in maps], [view.shape for view in views])


def to_channels_first(maps: Sequence[Tensor]) -> list[Tensor]:
    """Turn channels-last maps [N, C, H, W] into contiguous [N, C, H, W]."""
    return _transpose([m.permute(0, 2, 3, 1).flatten(1, 2) for m in maps], [m.shape for m in maps])


def _transpose(planes: Sequence[Tensor], shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Transpose planes [N, rows, columns] into new tensors of the given shapes, [N, columns, rows] in memory."""
    targets = [p.new_empty(shape) for p, shape in zip(planes, shapes, strict=True)]
    params = TransposeParams(num_planes=len(planes))
    num_squares = 0
    for entry, source, target in zip(params.planes, planes, targets, strict=False):
        count, entry.rows, entry.columns = source.shape
        entry.source, entry.target, entry.first_square = source.data_ptr(), target.data_ptr(), num_squares
        entry.squares_down, entry.squares_across = -(-entry.rows // SQUARE), -(-entry.columns // SQUARE)
        num_squares += count * entry.squares_down * entry.squares_across
    if num_squares:
        launcher.launch("transpose", roi_kernels(planes[0].dtype, 1), (num_squares, 1), params, planes[0].device)
    return targets


def _empty_maps(grad: Tensor, pyramid: Pyramid) -> list[Tensor]:
    return [
        grad.new_empty(pyramid.num_images, height, width, grad.shape[1])
        for height, width in zip(pyramid.heights, pyramid.widths, strict=True)
    ]


def _params(
    maps: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor | None,
    scales: Sequence[float],
    rule: LevelRule,
    pooled: Tensor,
) -> tuple[Params, list[Tensor]]:
    """Return the parameters that both operators share, and the tensors to keep alive until the launch is enqueued."""
    rois = rois.float().contiguous()
    params = Params(rois=rois.data_ptr(), pooled=pooled.data_ptr(), num_rois=len(rois))
    _, params.pooled_height, params.pooled_width, _ = pooled.shape
    set_levels(params, maps, scales)
    params.canonical_level, params.canonical_size = rule
    if levels is None:
        params.finest_level, _ = level_range(scales)
        return params, [rois]
    levels = levels.to(torch.int64).contiguous()
    params.roi_levels = levels.data_ptr()
    return params, [rois, levels]


def _align_params(
    maps: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor | None,
    scales: Sequence[float],
    grid: Grid,
    rule: LevelRule,
    pooled: Tensor,
) -> tuple[Params, list[Tensor]]:
    params, keep = _params(maps, rois, levels, scales, rule, pooled)
    params.sampling_ratio, params.aligned = max(grid.sampling_ratio, 0), grid.aligned
    return params, keep


def _pool_params(
    maps: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor | None,
    scales: Sequence[float],
    rule: LevelRule,
    pooled: Tensor,
    argmax: Tensor,
) -> tuple[Params, list[Tensor]]:
    params, keep = _params(maps, rois, levels, scales, rule, pooled)
    params.argmax, params.is_pooling = argmax.data_ptr(), True
    return params, [*keep, argmax]


def _launch_over_bins(kernel: str, params: Params, tensors: Sequence[Tensor]) -> None:
    """Launch a forward kernel: one block for each region, or several if regions are few."""
    vector = _vector(params.num_channels, tensors)
    work = params.pooled_height * params.pooled_width * (params.num_channels // vector)
    if params.num_rois and work:
        max_blocks = math.ceil(work / launcher.THREADS)
        target_blocks = math.ceil(_BLOCKS_THAT_FILL_A_GPU / params.num_rois)
        program, blocks = roi_kernels(tensors[0].dtype, vector), (params.num_rois, min(max_blocks, target_blocks))
        launcher.launch(kernel, program, blocks, params, tensors[0].device)


def _launch_over_tiles(kernel: str, params: Params, maps: Sequence[Tensor], grad_bins: Tensor) -> None:
    """Launch a backward kernel after finding the regions of each tile; a block gathers one tile and channel group."""
    if not (params.num_tiles and params.num_channels):
        return
    num_words = math.ceil(params.num_rois / WORD)
    tile_masks = torch.empty(num_words, params.num_tiles, dtype=torch.int32, device=grad_bins.device)
    axes = torch.empty(params.num_rois, AXES_BYTES, dtype=torch.uint8, device=grad_bins.device)
    params.tile_masks, params.axes = tile_masks.data_ptr(), axes.data_ptr()

    vector = _vector(params.num_channels, [*maps, grad_bins])
    while vector > 1 and WORD * (vector // 2) >= params.num_channels:  # use all lanes of a warp
        vector //= 2
    program = roi_kernels(grad_bins.dtype, vector)
    if num_words:
        blocks = (math.ceil(params.num_tiles / launcher.THREADS), num_words)
        launcher.launch("find_tile_regions", program, blocks, params, grad_bins.device)
    groups = math.ceil(params.num_channels / (WORD * vector))
    launcher.launch(kernel, program, (params.num_tiles, groups), params, grad_bins.device)


def _vector(num_channels: int, tensors: Sequence[Tensor]) -> int:
    """Compute the largest number of channels, up to 16 bytes, to whose size every pixel is aligned."""
    itemsize = tensors[0].element_size()
    vector = 16 // itemsize
    while num_channels % vector or any(tensor.data_ptr() % (vector * itemsize) for tensor in tensors):
        vector //= 2
    return vector
