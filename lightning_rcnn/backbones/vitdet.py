"""ViTDet: a plain vision transformer with a simple feature pyramid on its one map.

Source: Li et al. 2022, Exploring Plain Vision Transformer Backbones for Object Detection, arXiv 2203.16527, section 3.
Numbers and names of weights are detectron2's.

Shape letters: N images, C channels, H and W height and width of the images.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_rcnn.backbones.checkpointing import run_recomputed
from lightning_rcnn.backbones.norms import ChannelNorm
from lightning_rcnn.backbones.pyramid import PyramidBackbone
from lightning_rcnn.backbones.vit import EPSILON, PATCH, VisionTransformer, ViTName
from lightning_rcnn.backbones.weights import fill_from
from lightning_rcnn.checkpoints.reading import read_weights
from lightning_rcnn.checkpoints.sources import local_file
from lightning_rcnn.errors import InputError
from lightning_rcnn.settings_checks import Fraction, PositiveCount

_COARSEST = 32
"""Stride of the last map that is computed from that of the transformer."""


class ViTDet(PyramidBackbone):
    """A vision transformer with pyramid levels P2 to P6; P6 subsamples P5 and serves the RPN only.

    Args:
        name: size of the transformer: "tiny", "small", "base", "large" or "huge".
        weights: file or URL of a pretrained transformer with MAE's, timm's or detectron2's names, or None: from
            scratch. Relative positions that it lacks start at zero.
        window: side of the windows of most blocks, patches of 16 pixels.
        image_size: side of the images, pixels, for which global blocks have relative positions; they are interpolated
            for others.
        pretrained_size: side of the images, pixels, for which the weights have absolute positions.
        drop_path: rate of stochastic depth in the last block; it grows linearly from 0. The paper has 0.1, 0.4 and 0.5
            for base, large and huge.
        channels: channels of every level.
        checkpointing: whether blocks and the pyramid's levels compute their activations again in backward instead of
            keeping them.
        in_channels: channels of the images. Weights for RGB are adapted: see `stem.py`.

    Raises:
        InputError: a size is no multiple of the patches', or the weights do not fit.
    """

    def __init__(
        self,
        name: ViTName = "base",
        weights: str | None = None,
        window: PositiveCount = 14,
        image_size: PositiveCount = 1024,
        pretrained_size: PositiveCount = 224,
        drop_path: Fraction = 0.1,
        channels: PositiveCount = 256,
        checkpointing: bool = False,
        in_channels: PositiveCount = 3,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        for key, size in (("image_size", image_size), ("pretrained_size", pretrained_size)):
            if size % PATCH:
                raise InputError(f"ViTDet.{key}: {size}: give a multiple of {PATCH}, the side of a patch")
        self.net = VisionTransformer(name, window, image_size, pretrained_size, drop_path, checkpointing, in_channels)
        self.sharded_layers = tuple(f"net.blocks.{number}" for number in range(len(self.net.blocks)))
        if weights is not None:
            _load(self.net, name, weights)
        width = self.net.channels
        self.simfp_2 = nn.Sequential(
            nn.ConvTranspose2d(width, width // 2, 2, 2),
            ChannelNorm(width // 2, EPSILON),
            nn.GELU(),
            nn.ConvTranspose2d(width // 2, width // 4, 2, 2),
            *_level(width // 4, channels),
        )
        self.simfp_3 = nn.Sequential(nn.ConvTranspose2d(width, width // 2, 2, 2), *_level(width // 2, channels))
        self.simfp_4 = nn.Sequential(*_level(width, channels))
        self.simfp_5 = nn.Sequential(nn.MaxPool2d(2, 2), *_level(width, channels))
        self.strides = (4, 8, 16, 32, 64)
        self.out_channels = channels

    def layers(self) -> list[nn.Module]:
        """Return the embeddings and each block of the transformer."""
        return self.net.layers()

    def undecayed(self) -> list[nn.Parameter]:
        """Return the absolute positions."""
        return [self.net.pos_embed]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute maps [N, C, H / stride, W / stride], one for each of `strides`."""
        height, width = images.shape[-2:]
        features = self.net(F.pad(images, (0, -width % _COARSEST, 0, -height % _COARSEST)))
        levels = [self.simfp_2, self.simfp_3, self.simfp_4, self.simfp_5]
        if self.net.checkpointing:
            maps = [run_recomputed([level], features) for level in levels]
        else:
            maps = [level(features) for level in levels]
        return [*maps, F.max_pool2d(maps[-1], kernel_size=1, stride=2)]


class NormedConvolution(nn.Conv2d):
    """A convolution without bias, followed by a layer norm."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int) -> None:
        super().__init__(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = ChannelNorm(outputs, EPSILON)

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve and normalize maps [N, C, H, W]."""
        return self.norm(super().forward(maps))


def _level(inputs: int, channels: int) -> tuple[nn.Module, nn.Module]:
    return NormedConvolution(inputs, channels, 1), NormedConvolution(channels, channels, 3)


def _load(net: VisionTransformer, name: str, source: str) -> None:
    """Load a pretrained transformer; relative positions that it lacks stay as they are."""
    weights = dict(read_weights(local_file(source, "backbone weights")).weights)
    within = "backbone.net."  # of a whole detector of detectron2
    if any(key.startswith(within) for key in weights):
        weights = {key.removeprefix(within): value for key, value in weights.items()}
    own = {key: value for key, value in net.state_dict().items() if ".rel_pos_" in key}
    fill_from(net, f"a {name} vision transformer with {net.pos_embed.shape[1] - 1} positions", source, own | weights)
