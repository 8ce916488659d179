"""Validation of the arguments of RoIAlign and RoIPool."""

from collections.abc import Sequence

from torch import Tensor

from lightning_rcnn.ops.level_assignment import level_range


def checked_output_size(
    features: Sequence[Tensor],
    rois: Tensor,
    output_size: int | tuple[int, int],
    scales: Sequence[float],
    levels: Tensor | None,
) -> list[int]:
    """Validate the arguments of `multiscale_roi_align` and return the number of bins along (y, x).

    Raises:
        ValueError, TypeError: shapes or types do not match.
    """
    if not features or len(features) != len(scales):
        raise ValueError(
            f"got {len(features)} feature maps and {len(scales)} scales; pass at least one map, and as many scales"
        )
    first = features[0]
    for feature in features:
        if feature.dim() != 4 or feature.shape[:2] != first.shape[:2]:
            raise ValueError(
                f"feature maps must be [N, C, H, W] with the same N and C, got {[tuple(f.shape) for f in features]}"
            )
        if feature.dtype != first.dtype or feature.device != first.device or not feature.is_floating_point():
            raise TypeError("feature maps must share one floating-point type and one device")
    if rois.dim() != 2 or rois.shape[1] != 5 or not rois.is_floating_point():
        raise ValueError(f"rois must be floating-point [R, 5] (batch index, x1, y1, x2, y2), got {tuple(rois.shape)}")
    if levels is not None and levels.shape != rois.shape[:1]:
        raise ValueError(f"levels must have one entry for each of {rois.shape[0]} regions, got {tuple(levels.shape)}")
    if levels is None:
        level_range(scales)
    size = [output_size, output_size] if isinstance(output_size, int) else list(output_size)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"output_size must be two positive numbers of bins, got {output_size}")
    return size
