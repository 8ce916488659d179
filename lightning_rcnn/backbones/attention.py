"""Self-attention over a map, whole or in windows, with relative positions for each axis.

Source: Li et al. 2022, Exploring Plain Vision Transformer Backbones for Object Detection (ViTDet), arXiv 2203.16527,
section 3; the relative positions are those of MViTv2, arXiv 2112.01526, section 4.1. Numbers and names of weights are
detectron2's.

Shape letters: N maps or windows, H and W their height and width, C channels, A heads, D channels of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention of every position of a map to every other one.

    The score of a pair is the product of query and key, scaled, plus the products of the unscaled query with a vector
    for their distance in rows and with one for their distance in columns.

    Args:
        channels: C.
        num_heads: A.
        size: side of the maps for which there are vectors, 2 * size - 1 for each axis; they are interpolated for
            maps of other sides.
    """

    def __init__(self, channels: int, num_heads: int, size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        head_channels = channels // num_heads
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, head_channels))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, head_channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Attend within each of the maps [N, H, W, C]."""
        num, height, width, _ = maps.shape
        query, key, value = self.qkv(maps).unflatten(-1, (3, self.num_heads, -1)).permute(3, 0, 4, 1, 2, 5)
        rows = torch.einsum("nahwd,hkd->nahwk", query, _by_distance(self.rel_pos_h, height).to(query.dtype))
        columns = torch.einsum("nahwd,wkd->nahwk", query, _by_distance(self.rel_pos_w, width).to(query.dtype))
        # What the distances add goes into the product as further channels, whose keys say the row and the column: a
        # table of all pairs, which would take most of the memory, need not exist. Fast kernels want widths that 8
        # divides, and on a CPU values as wide as the keys.
        own_row = torch.eye(height, dtype=key.dtype, device=key.device)[:, None].expand(-1, width, -1)
        own_column = torch.eye(width, dtype=key.dtype, device=key.device)[None].expand(height, -1, -1)
        place = torch.cat([own_row, own_column], dim=-1).expand(num, self.num_heads, -1, -1, -1)
        scaled = query * query.shape[-1] ** -0.5
        own, others = torch.cat([scaled, rows, columns], dim=-1), torch.cat([key, place], dim=-1)
        own, others = (F.pad(part, (0, -part.shape[-1] % 8)).flatten(2, 3) for part in (own, others))
        values = value.flatten(2, 3)
        if values.device.type == "cpu":
            values = F.pad(values, (0, own.shape[-1] - values.shape[-1]))
        attended = F.scaled_dot_product_attention(own, others, values, scale=1.0)[..., : value.shape[-1]]
        return self.proj(attended.transpose(1, 2).reshape(maps.shape))


def split_windows(maps: Tensor, size: int) -> Tensor:
    """Split maps [N, H, W, C] into windows [N * rows * columns, size, size, C].

    The maps are padded with zeros on the right and at the bottom; the padding takes part in the attention.
    """
    num, height, width, channels = maps.shape
    padded = F.pad(maps, (0, 0, 0, -width % size, 0, -height % size))
    rows, columns = padded.shape[1] // size, padded.shape[2] // size
    windows = padded.view(num, rows, size, columns, size, channels).transpose(2, 3)
    return windows.reshape(num * rows * columns, size, size, channels)


def join_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Join windows of maps of this size, the inverse of `split_windows`."""
    size, channels = windows.shape[2:]
    rows, columns = -(-height // size), -(-width // size)
    maps = windows.view(-1, rows, columns, size, size, channels).transpose(2, 3)
    return maps.reshape(-1, rows * size, columns * size, channels)[:, :height, :width]


def _by_distance(vectors: Tensor, side: int) -> Tensor:
    """Return the vectors of query position and key position, [side, side, D]."""
    number = 2 * side - 1
    if len(vectors) != number:
        vectors = F.interpolate(vectors.T[None], size=number, mode="linear")[0].T
    positions = torch.arange(side, device=vectors.device)
    return vectors[positions[:, None] - positions + side - 1]
