"""The plain vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929), with most of its blocks in windows.

Source: arXiv 2203.16527 (ViTDet), section 3, "Backbone adaptation". Names of weights are those of detectron2, MAE and
timm.

Shape letters: N images, H and W height and width of the map of patches, C channels.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from lightning_rcnn.backbones.attention import Attention, join_windows, split_windows
from lightning_rcnn.backbones.checkpointing import run_recomputed

ViTName = Literal["tiny", "small", "base", "large", "huge"]
PATCH = 16
"""Side of a patch in pixels, the stride of the map."""
EPSILON = 1e-6
"""Of all layer norms."""
INITIAL_STD = 0.02
"""Of the weights of linear layers. Transformers are drawn from a normal distribution that is truncated at 2, a hundred
deviations away; torch's reads values to do that, which fake tensors have not."""


class _Size(NamedTuple):
    channels: int
    depth: int
    num_heads: int


SIZES: dict[str, _Size] = {
    "tiny": _Size(192, 12, 3),
    "small": _Size(384, 12, 6),
    "base": _Size(768, 12, 12),
    "large": _Size(1024, 24, 16),
    "huge": _Size(1280, 32, 16),
}
"""The paper's table 1, and those of DeiT (arXiv 2012.12877, table 1) below."""
_GLOBAL_BLOCKS = 4


class VisionTransformer(nn.Module):
    """A vision transformer without class token: one map of stride 16.

    The last block of each quarter attends globally, all others within windows.

    Args:
        name: its size.
        window: side of a window, patches.
        image_size: side of the images, pixels, for which global blocks have relative positions.
        pretrained_size: side of the images, pixels, for which there are absolute positions; they are interpolated.
        drop_path: rate of stochastic depth in the last block; it grows linearly from 0.
        checkpointing: whether blocks compute their activations again in backward instead of keeping them.
        in_channels: channels of the images.
    """

    def __init__(
        self,
        name: ViTName,
        window: int,
        image_size: int,
        pretrained_size: int,
        drop_path: float,
        checkpointing: bool,
        in_channels: int,
    ) -> None:
        super().__init__()
        self.channels, depth, num_heads = SIZES[name]
        self.checkpointing = checkpointing
        self.patch_embed = PatchEmbedding(in_channels, self.channels)
        positions = (pretrained_size // PATCH) ** 2 + 1  # the first is the class token's, which weights bring along
        self.pos_embed = nn.Parameter(torch.zeros(1, positions, self.channels))
        global_blocks = {depth // _GLOBAL_BLOCKS * number - 1 for number in range(1, _GLOBAL_BLOCKS + 1)}
        self.blocks = nn.ModuleList(
            Block(
                self.channels,
                num_heads,
                window=0 if number in global_blocks else window,
                size=image_size // PATCH if number in global_blocks else window,
                drop_path=drop_path * number / (depth - 1),
            )
            for number in range(depth)
        )
        nn.init.normal_(self.pos_embed, std=INITIAL_STD)
        self.apply(_initialize)

    def layers(self) -> list[nn.Module]:
        """Return the embeddings and each block, in order from the input."""
        return [nn.ParameterList([*self.patch_embed.parameters(), self.pos_embed]), *self.blocks]

    def forward(self, images: Tensor) -> Tensor:
        """Compute the map [N, C, H, W]."""
        patches = self.patch_embed(images)
        hidden = patches + self._positions(patches.shape[1], patches.shape[2])
        if self.checkpointing:
            hidden = run_recomputed(self.blocks, hidden)
        else:
            for block in self.blocks:
                hidden = block(hidden)
        return hidden.permute(0, 3, 1, 2)

    def _positions(self, height: int, width: int) -> Tensor:
        """Return the absolute positions of a map, [1, H, W, C]."""
        vectors = self.pos_embed[:, 1:]
        side = round(vectors.shape[1] ** 0.5)
        grid = vectors.unflatten(1, (side, side))
        if (height, width) == (side, side):
            return grid
        resized = F.interpolate(grid.permute(0, 3, 1, 2), size=(height, width), mode="bicubic", align_corners=False)
        return resized.permute(0, 2, 3, 1)


class PatchEmbedding(nn.Module):
    """A linear map of each patch."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, PATCH, PATCH)

    def forward(self, images: Tensor) -> Tensor:
        """Embed the patches of images, 16 H x 16 W pixels, as [N, H, W, C]."""
        return self.proj(images).permute(0, 2, 3, 1)


class Block(nn.Module):
    """A transformer block: attention and a two-layer network, each on normalized inputs and added to them.

    Args:
        channels: C.
        num_heads: heads of the attention.
        window: side of the windows of the attention, patches; 0 for the whole map.
        size: side of the maps for which there are relative positions.
        drop_path: probability that an image skips one of the two.
    """

    def __init__(self, channels: int, num_heads: int, window: int, size: int, drop_path: float) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(channels, eps=EPSILON)
        self.attn = Attention(channels, num_heads, size)
        self.norm2 = nn.LayerNorm(channels, eps=EPSILON)
        self.mlp = FeedForward(channels)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, maps: Tensor) -> Tensor:
        """Compute a map [N, H, W, C] of one."""
        maps = maps + self.drop_path(self._attend(self.norm1(maps)))
        return maps + self.drop_path(self.mlp(self.norm2(maps)))

    def _attend(self, maps: Tensor) -> Tensor:
        if not self.window:
            return self.attn(maps)
        return join_windows(self.attn(split_windows(maps, self.window)), maps.shape[1], maps.shape[2])


class FeedForward(nn.Module):
    """Two linear layers with four times the channels between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Map each position of [N, H, W, C]."""
        return self.fc2(F.gelu(self.fc1(maps)))


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=INITIAL_STD)
        nn.init.zeros_(module.bias)
