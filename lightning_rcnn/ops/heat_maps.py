"""Keypoints and heat maps: the cell of a keypoint in its region's map, and the peak of a map resized to its box.

Shape letters: B regions, J keypoints of a region, S side of a heat map, C cells of a map's interpolation, T pixels
along a cell.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_SHARPNESS = -0.75
"""Parameter of bicubic interpolation, as in `torch.nn.functional.interpolate`."""
_OVERSHOOT = 0.1875
"""Largest sum of the absolute values of the two negative weights: `_SHARPNESS` * t * (1 - t) at one half."""
_CANDIDATES, _FINALISTS = 128, 16
"""Cells that are probed, and of these the cells that are searched pixel by pixel: enough to find the peaks of thousands
of maps of white noise, where many cells come close to the peak."""


def heat_map_cells(keypoints: Tensor, boxes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Compute the cells of keypoints in the heat maps of their regions (Mask R-CNN section 5: a one-hot mask).

    Args:
        keypoints: float32 [B, J, 3], x, y and visibility in the frame of the boxes.
        boxes: float32 [B, 4].
        size: S, side of the heat maps.

    Returns:
        int64 [B, J], row * S + column, 0 for a keypoint without a cell; and bool [B, J], whether the keypoint has one:
        it is labeled and inside the box, edges included.
    """
    position, labeled = keypoints[..., :2], keypoints[..., 2] > 0
    corner, far = boxes[:, None, :2], boxes[:, None, 2:]
    scale = size / (far - corner)
    cell = ((position - corner) * scale).floor()
    cell = torch.where(position == far, size - 1.0, cell)
    is_inside = ((cell >= 0) & (cell < size)).all(dim=-1) & labeled
    column, row = torch.where(is_inside[..., None], cell, 0.0).long().unbind(-1)
    return row * size + column, is_inside


def heat_map_peaks(maps: Tensor, boxes: Tensor, max_side: int) -> tuple[Tensor, Tensor]:
    """Find the highest pixel of each heat map, resized by bicubic interpolation to its box (section 5, inference).

    The values are those of `torch.nn.functional.interpolate` to the box's width and height, rounded up. Resizing all
    maps would take as much memory as a thousand images, so only pixels of promising cells are computed, where a cell is
    the square between four neighbors of the map: first nine pixels of each cell that may hold the peak by a bound of
    the interpolation, then all pixels of the best of these cells.

    Args:
        maps: float32 [B, J, S, S].
        boxes: float32 [B, 4]; a side counts as at least one pixel.
        max_side: largest side of a box, pixels.

    Returns:
        float32 [B, J, 2], (x, y) of the center of the highest pixel, in the frame of the boxes; and float32 [B, J], its
        value.
    """
    size = maps.shape[-1]
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    cells = _Cells(maps, sides.ceil())
    found = cells.upper_bounds().flatten(2).topk(min(_CANDIDATES, (size + 1) ** 2), dim=2).indices
    thirds = torch.linspace(0, 1, 3, device=maps.device)
    values, _, _ = cells.values(found, lambda first, last: (first + (last - first) * thirds).round())
    best = values.flatten(3).amax(dim=3).topk(min(_FINALISTS, found.shape[2]), dim=2).indices
    along = torch.arange(-(-max_side // size) + 1, device=maps.device)
    values, x, y = cells.values(found.gather(2, best), lambda first, _: first + along)
    peak, index = values.flatten(2).max(dim=2, keepdim=True)
    num = len(along)
    row = y.flatten(2).gather(2, index // num)
    column = x.flatten(2).gather(2, index // num**2 * num + index % num)
    shares = (torch.cat((column, row), dim=2) + 0.5) / cells.resized[:, None]
    return boxes[:, None, :2] + shares * sides[:, None], peak.squeeze(2)


class _Cells:
    """The interpolation of heat maps, cell by cell; cell c of an axis lies between the entries c - 1 and c.

    Args:
        maps: float32 [B, J, S, S].
        resized: [B, 2], whole (width, height) to which the maps are resized.
    """

    def __init__(self, maps: Tensor, resized: Tensor) -> None:
        self.resized = resized
        self.size = maps.shape[-1]
        self.maps = F.pad(maps, (2, 2, 2, 2), mode="replicate")
        edges = torch.arange(self.size + 2, device=maps.device) - 0.5
        first = (edges * resized[..., None] / self.size - 0.5).ceil().clamp(min=0)
        self.first = torch.minimum(first, resized[..., None])
        """[B, 2, S + 2], first pixel of each cell in x and y, and the end of the last cell."""

    def upper_bounds(self) -> Tensor:
        """Bound the values of each cell (row, column) from above: [B, J, S + 1, S + 1]; -inf for one without pixels."""
        highest, _ = _bounds(*_bounds(self.maps, self.maps, dim=3), dim=2)
        is_empty = self.first[..., 1:] <= self.first[..., :-1]
        return highest.masked_fill((is_empty[:, 1, :, None] | is_empty[:, 0, None])[:, None], -torch.inf)

    def values(self, cells: Tensor, pixels: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the pixels of cells.

        Args:
            cells: int64 [B, J, C], row * (S + 1) + column.
            pixels: function from the first and the last pixel of cells [B, J, C, 1] to T pixels each.

        Returns:
            Values [B, J, C, T, T], -inf for pixels outside the cell, and their x and y [B, J, C, T].
        """
        rows, columns = cells // (self.size + 1), cells % (self.size + 1)
        (x, in_x, across), (y, in_y, down) = (
            self._along(axis, each, pixels) for axis, each in enumerate((columns, rows))
        )
        taps = torch.arange(4, device=cells.device)
        width = self.maps.shape[3]
        index = (rows[..., None, None] + taps[:, None]) * width + columns[..., None, None] + taps
        patches = self.maps.flatten(2).gather(2, index.flatten(2)).view(*cells.shape, 4, 4)
        values = down @ patches @ across.transpose(-1, -2)
        return values.masked_fill(~(in_y[..., :, None] & in_x[..., None, :]), -torch.inf), x, y

    def _along(
        self, axis: int, cells: Tensor, pixels: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return pixels [B, J, C, T] of cells along an axis, whether they are in their cell, and weights [..., 4]."""
        firsts = self.first[:, None, axis].expand(-1, cells.shape[1], -1)
        first, last = firsts.gather(2, cells)[..., None], firsts.gather(2, cells + 1)[..., None] - 1
        along = pixels(first, last)
        scale = self.size / self.resized[:, axis, None, None, None]
        share = (along + 0.5) * scale - 0.5 - (cells[..., None] - 1)
        return along, (along >= first) & (along <= last), _weights(share)


def _weights(share: Tensor) -> Tensor:
    """Return the bicubic weights [..., 4] of the neighbors of a point that is `share` behind the second one."""

    def near(x: Tensor) -> Tensor:
        return ((_SHARPNESS + 2) * x - (_SHARPNESS + 3)) * x * x + 1

    def far(x: Tensor) -> Tensor:
        return ((_SHARPNESS * x - 5 * _SHARPNESS) * x + 8 * _SHARPNESS) * x - 4 * _SHARPNESS

    return torch.stack((far(share + 1), near(share), near(1 - share), far(2 - share)), dim=-1)


def _bounds(high: Tensor, low: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Bound the interpolation between entries of which each is between `low` and `high`, along a dimension."""
    length = high.shape[dim] - 3
    highs, lows = ([each.narrow(dim, tap, length) for tap in range(4)] for each in (high, low))
    top, beside = torch.maximum(highs[1], highs[2]), torch.minimum(lows[0], lows[3])
    bottom, above = torch.minimum(lows[1], lows[2]), torch.maximum(highs[0], highs[3])
    return top + _OVERSHOOT * (top - beside).clamp(min=0), bottom - _OVERSHOOT * (above - bottom).clamp(min=0)
