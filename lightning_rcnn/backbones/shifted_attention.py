"""Attention in shifted windows (Swin Transformer, arXiv 2103.14030, section 3.2), by one rule for maps of all sizes.

Shape letters: N images, H and W height and width of a map, C channels, S side of a window, V windows, K heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.swin_transformer import ShiftedWindowAttention

from lightning_rcnn.backbones.attention import join_windows, split_windows
from lightning_rcnn.backbones.vit import INITIAL_STD


class AnySizeWindowAttention(ShiftedWindowAttention):
    """torchvision's attention, with its weights.

    A map is padded to whole windows and then shifted. Unlike torchvision's, it shifts a map of a single window, too, as
    the authors' detectors do.
    """

    def define_relative_position_bias_table(self) -> None:
        """Make the biases of relative positions [(2 S - 1) ** 2, K]."""
        number = (2 * self.window_size[0] - 1) * (2 * self.window_size[1] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.empty(number, self.num_heads))
        nn.init.normal_(self.relative_position_bias_table, std=INITIAL_STD)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within the windows of a map [N, H, W, C]."""
        num_images, height, width = x.shape[:3]
        side, shift = self.window_size[0], self.shift_size[0]
        padded = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = padded.shape[1], padded.shape[2]
        if shift:
            padded = padded.roll((-shift, -shift), (1, 2))
        windows = split_windows(padded, side).flatten(1, 2)  # [N * V, S * S, C]
        qkv = self.qkv(windows).unflatten(-1, (3, self.num_heads, -1)).unflatten(0, (num_images, -1))
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5).unbind()  # [N, V, K, S * S, C / K] each
        bias = self.get_relative_position_bias()[None]  # [1, 1, K, S * S, S * S]
        if shift:
            bias = bias + _between_regions(rows, columns, side, shift, bias)
        attended = F.scaled_dot_product_attention(query, key, value, bias.to(query.dtype))
        joined = join_windows(
            self.proj(attended.transpose(2, 3).flatten(3)).flatten(0, 1).unflatten(1, (side, side)), rows, columns
        )
        if shift:
            joined = joined.roll((shift, shift), (1, 2))
        return joined[:, :height, :width].contiguous()


def _between_regions(rows: int, columns: int, side: int, shift: int, like: Tensor) -> Tensor:
    """Return -100 where two patches of a window lie apart before the shift, else 0: [1, V, 1, S * S, S * S].

    The shift brings the first rows and columns beside the last ones.
    """

    def region(length: int) -> Tensor:
        place = torch.arange(length, device=like.device)
        return (place >= length - side).long() + (place >= length - shift).long()

    regions = 3 * region(rows)[:, None] + region(columns)
    windows = split_windows(regions[None, ..., None], side).flatten(1)
    apart = windows[:, None, :] != windows[:, :, None]
    return torch.where(apart, -100.0, 0.0).to(like)[None, :, None]
