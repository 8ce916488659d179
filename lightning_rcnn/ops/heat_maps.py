"""Keypoints and heat maps: the cell of a keypoint in its region's map, and the peak of a map resized to its box.

Shape letters: B regions, J keypoints of a region, S side of a heat map, C cells of a map's interpolation, T pixels
along a cell.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_SHARPNESS = -0.75
"""Parameter of bicubic interpolation, as in `torch.nn.functional.interpolate`."""
_FINALISTS = 16
"""Cells of a map that are searched pixel by pixel; of white noise, 16 always had the peak among them."""


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
    maps would take as much memory as a thousand images. So of each cell, the square between four neighbors of the map,
    the first, the middle and the last pixel in x and y are computed, which are all pixels of a box of up to 3 * S
    pixels; then all pixels of the best cells.

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
    best = cells.sampled().flatten(2).topk(_FINALISTS, dim=2).indices
    along = torch.arange(-(-max_side // size) + 1, device=maps.device)
    values, x, y = cells.values(best, along)
    peak, index = values.flatten(2).max(dim=2, keepdim=True)
    num = along.shape[0]
    along_rows = index // num
    across = index - along_rows * num  # ONNX has no remainder by a symbol
    row = y.flatten(2).gather(2, along_rows)
    column = x.flatten(2).gather(2, along_rows // num * num + across)
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

    def sampled(self) -> Tensor:
        """Compute the highest of nine pixels of each cell (row, column): [B, J, S + 1, S + 1]; -inf without pixels."""
        first, last = self.first[..., :-1, None], self.first[..., 1:, None] - 1
        thirds = torch.linspace(0, 1, 3, device=first.device)
        pixels = (first + (last - first) * thirds).round()  # [B, 2, S + 1, 3]
        cells = torch.arange(self.size + 1, device=first.device)[:, None]
        weights = self._weights(pixels, cells, self.resized[..., None, None])
        entries = torch.arange(self.size + 4, device=first.device)
        is_tap = (cells[..., None] + entries[:4])[..., None] == entries
        across, down = (weights[..., None] * is_tap).sum(dim=-2).flatten(2, 3).unbind(1)  # [B, 3 * S + 3, S + 4] each
        values = down[:, None] @ self.maps @ across.transpose(1, 2)[:, None]
        highest = values.unflatten(3, (-1, 3)).unflatten(2, (-1, 3)).amax(dim=(3, 5))
        is_empty = (last < first).squeeze(-1)
        return highest.masked_fill((is_empty[:, 1, :, None] | is_empty[:, 0, None])[:, None], -torch.inf)

    def values(self, cells: Tensor, along: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute all pixels of cells.

        Args:
            cells: int64 [B, J, C], row * (S + 1) + column.
            along: int64 [T], numbers from 0, at least as many as a cell has pixels in x or y.

        Returns:
            Values [B, J, C, T, T], -inf for pixels behind the cell, and their x and y [B, J, C, T].
        """
        rows, columns = cells // (self.size + 1), cells % (self.size + 1)
        (x, in_x, across), (y, in_y, down) = (
            self._along(axis, each, along) for axis, each in enumerate((columns, rows))
        )
        taps = torch.arange(4, device=cells.device)
        index = (rows[..., None, None] + taps[:, None]) * (self.size + 4) + columns[..., None, None] + taps
        patches = self.maps.flatten(2).gather(2, index.flatten(2)).view(*cells.shape, 4, 4)
        values = down @ patches @ across.transpose(-1, -2)
        return values.masked_fill(~(in_y[..., :, None] & in_x[..., None, :]), -torch.inf), x, y

    def _along(self, axis: int, cells: Tensor, along: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return pixels [B, J, C, T] of cells along an axis, whether they are in their cell, and weights [..., 4]."""
        firsts = self.first[:, None, axis].expand(-1, cells.shape[1], -1)
        pixels = firsts.gather(2, cells)[..., None] + along
        is_inside = pixels < firsts.gather(2, cells + 1)[..., None]
        return pixels, is_inside, self._weights(pixels, cells[..., None], self.resized[:, axis, None, None, None])

    def _weights(self, pixels: Tensor, cells: Tensor, resized: Tensor) -> Tensor:
        """Return the bicubic weights [..., 4] of the neighbors of pixels in their cells; `resized` is the side."""
        return _weights((pixels + 0.5) * (self.size / resized) - 0.5 - (cells - 1))


def _weights(share: Tensor) -> Tensor:
    """Return the bicubic weights [..., 4] of the neighbors of a point that is `share` behind the second one."""

    def near(x: Tensor) -> Tensor:
        return ((_SHARPNESS + 2) * x - (_SHARPNESS + 3)) * x * x + 1

    def far(x: Tensor) -> Tensor:
        return ((_SHARPNESS * x - 5 * _SHARPNESS) * x + 8 * _SHARPNESS) * x - 4 * _SHARPNESS

    return torch.stack((far(share + 1), near(share), near(1 - share), far(2 - share)), dim=-1)
