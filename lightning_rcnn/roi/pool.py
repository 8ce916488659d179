"""RoIPool (Fast R-CNN, arXiv:1504.08083, section 2.1): the maximum of the pixels of each bin."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_rcnn.roi import operators  # noqa: F401  # registers the operator called below
from lightning_rcnn.roi.dispatch import Implementation
from lightning_rcnn.roi.pyramid import assign_levels


def multiscale_roi_pool(
    features: Sequence[Tensor],
    rois: Tensor,
    *,
    output_size: int | tuple[int, int],
    scales: Sequence[float],
    levels: Tensor | None = None,
    canonical: tuple[int, float] = (4, 224.0),
    impl: Implementation = "auto",
) -> Tensor:
    """Pools each region by `roi_pool` from the pyramid level that suits its size; arguments as in both."""
    if levels is None:
        levels = assign_levels(rois[:, 1:], scales, canonical)
    pooled = []
    for level, (feature, scale) in enumerate(zip(features, scales, strict=True)):
        images = torch.where(levels == level, rois[:, 0], -1)
        here = torch.cat((images[:, None], rois[:, 1:]), dim=1)
        pooled.append(roi_pool(feature, here, output_size=output_size, spatial_scale=scale, impl=impl))
    return torch.stack(pooled).sum(dim=0)


def roi_pool(
    features: Tensor,
    rois: Tensor,
    *,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    impl: Implementation = "auto",
) -> Tensor:
    """Divides each region into bins of whole pixels and takes each bin's maximum.

    The values are those of `torchvision.ops.roi_pool`: corners are rounded to pixels and belong to the region, an empty
    bin is 0. A region with a corner that is not finite, or whose batch index is not that of an image (-1 marks
    padding), pools to zeros.

    Args:
        features: floating-point [N, C, H, W].
        rois: [R, 5]: batch index, x1, y1, x2, y2 in pixels of the network's input.
        output_size: bins along (y, x), or one number for both.
        spatial_scale: size of the features over the size of the input.
        impl: as in `multiscale_roi_align`.

    Returns:
        [R, C, ph, pw] of the features' type, channels last. Differentiable once, in the features.

    Raises:
        ValueError: the shapes do not fit together.
        RuntimeError: `impl` is "cuda" and the kernels cannot be used.
    """
    if features.dim() != 4 or rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(
            f"need features [N, C, H, W] and rois [R, 5], got {tuple(features.shape)} and {tuple(rois.shape)}"
        )
    size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    pooled, _ = torch.ops.lightning_rcnn.roi_pool(features, rois, spatial_scale, list(size), impl)
    return pooled
