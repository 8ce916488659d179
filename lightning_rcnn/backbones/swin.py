"""Swin Transformer (Liu et al. 2021, arXiv 2103.14030) with a feature pyramid, as its authors' detectors have it.

The blocks are torchvision's, with an attention for maps of all sizes: it pads a map to whole windows and then shifts
it, as the authors' code does. timm shifts first, so that on maps that are no multiple of the window its features differ
along the border.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.swin_transformer import PatchMerging, SwinTransformerBlock
from torchvision.ops import FeaturePyramidNetwork, Permute
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from lightning_rcnn.backbones.checkpointing import run_recomputed
from lightning_rcnn.backbones.freezing import Freezable
from lightning_rcnn.backbones.norms import NormName, norm_layer
from lightning_rcnn.backbones.pyramid import PyramidBackbone
from lightning_rcnn.backbones.shifted_attention import AnySizeWindowAttention
from lightning_rcnn.backbones.vit import INITIAL_STD
from lightning_rcnn.backbones.weights import load_backbone_weights
from lightning_rcnn.errors import InputError
from lightning_rcnn.settings_checks import Fraction, PositiveCount

SwinName = Literal["swin_t", "swin_s", "swin_b", "swin_l"]
PATCH = 4
"""Side of a patch, pixels."""


class SwinSizes(NamedTuple):
    """Channels of the first stage, and blocks and attention heads of each stage."""

    channels: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]


SIZES: dict[SwinName, SwinSizes] = {
    "swin_t": SwinSizes(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "swin_s": SwinSizes(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "swin_b": SwinSizes(128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "swin_l": SwinSizes(192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
"""The networks of the paper (section 3.3)."""


class SwinFPN(Freezable, PyramidBackbone):
    """Swin Transformer with a pyramid on the maps of its four stages, each after a layer norm of its own.

    The level after the last one subsamples it and serves the RPN only, as in `ResNetFPN`. Keys of the state dict are
    torchvision's (`body.*`, `fpn.inner_blocks.*`, `fpn.layer_blocks.*`) and `norms.*`.

    Args:
        name: size of the network: "swin_t", "swin_s", "swin_b" or "swin_l".
        weights: torchvision's name of ImageNet weights ("DEFAULT"; it has none of "swin_l"), a file or URL of weights
            with torchvision's names, or None: from scratch.
        window: side of the windows, patches of a stage; 7 for networks trained at 224 pixels, 12 for 384.
        drop_path: rate of stochastic depth in the last block; it grows linearly from 0. mmdetection's recipes have 0.2.
        frozen_stages: number of frozen stages: 0 none, 1 the patch embedding, 2 also the first stage with the merging
            of patches after it, and so on.
        channels: channels of every level.
        fpn_norm: norm after the pyramid's convolutions; None for a bias instead.
        checkpointing: whether blocks compute their activations again in backward instead of keeping them.
        in_channels: channels of the images. Weights for RGB are adapted: see `stem.py`.

    Raises:
        InputError: `frozen_stages` is out of range, or the weights do not fit.
    """

    no_graph: ClassVar[str] = (
        "the windows of a Swin Transformer keep the tracing of a graph for all sizes busy; take another backbone"
    )

    def __init__(
        self,
        name: SwinName = "swin_t",
        weights: str | None = None,
        window: PositiveCount = 7,
        drop_path: Fraction = 0.2,
        frozen_stages: int = 0,
        channels: PositiveCount = 256,
        fpn_norm: NormName | None = None,
        checkpointing: bool = False,
        in_channels: PositiveCount = 3,
    ) -> None:
        super().__init__()
        self.in_channels, self.checkpointing = in_channels, checkpointing
        sizes = SIZES[name]
        self.body = _network(sizes, window, drop_path, in_channels)
        if weights is not None:
            load_backbone_weights(nn.ModuleDict({"features": self.body}), name, weights)
        widths = [sizes.channels * 2**stage for stage in range(len(sizes.depths))]
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        self.freeze(self._stages_up_to(frozen_stages))
        self.sharded_layers = tuple(
            f"body.{number}.{block}" for number in _stages(self.body) for block in range(len(self._blocks(number)))
        )
        self.fpn = FeaturePyramidNetwork(
            widths, channels, LastLevelMaxPool(), norm_layer(fpn_norm, 1e-5) if fpn_norm else None
        )
        self.strides = (4, 8, 16, 32, 64)
        self.out_channels = channels

    def layers(self) -> list[nn.Module]:
        """Return the patch embedding and each block, a merging of patches with the block after it."""
        layers: list[nn.Module] = [self.body[0]]
        for number in _stages(self.body):
            first, *others = self._blocks(number)
            layers += [first if number == 1 else nn.ModuleList([self.body[number - 1], first]), *others]
        return layers

    def undecayed(self) -> list[nn.Parameter]:
        """Return the biases of relative positions."""
        return [
            weight for name, weight in self.body.named_parameters() if name.endswith("relative_position_bias_table")
        ]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute maps [N, C, H / stride, W / stride], one for each of `strides`."""
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % PATCH, 0, -height % PATCH))  # to whole patches, as the authors' detectors
        hidden = self.body[0](images)  # [N, H / 4, W / 4, C], channels last until the pyramid
        features: dict[str, Tensor] = {}
        for level, number in enumerate(_stages(self.body)):
            if level:
                hidden = self.body[number - 1](hidden)
            if self.checkpointing and self.training:
                hidden = run_recomputed(self._blocks(number), hidden)
            else:
                hidden = self.body[number](hidden)
            features[str(level)] = self.norms[level](hidden).permute(0, 3, 1, 2)
        return list(self.fpn(features).values())

    def _blocks(self, number: int) -> list[nn.Module]:
        return list(self.body[number].children())

    def _stages_up_to(self, frozen_stages: int) -> list[nn.Module]:
        stages = _stages(self.body)
        if not 0 <= frozen_stages <= 1 + len(stages):
            raise InputError(f"model.backbone: frozen_stages {frozen_stages}: give 0 (none) to {1 + len(stages)} (all)")
        frozen = [self.body[0]] if frozen_stages else []
        for level, number in enumerate(stages[: max(0, frozen_stages - 1)]):
            frozen += [*self.body[number : number + 2], self.norms[level]]  # with the merging after it, as mmdetection
        return frozen


def _network(sizes: SwinSizes, window: int, drop_path: float, in_channels: int) -> nn.Sequential:
    """Build the network up to its last stage, in torchvision's order: `features` of its `SwinTransformer`."""
    embedding = nn.Conv2d(in_channels, sizes.channels, PATCH, PATCH)
    layers: list[nn.Module] = [nn.Sequential(embedding, Permute([0, 2, 3, 1]), nn.LayerNorm(sizes.channels))]
    before, total = 0, sum(sizes.depths)
    for stage, (depth, heads) in enumerate(zip(sizes.depths, sizes.heads, strict=True)):
        width = sizes.channels * 2**stage
        if stage:
            layers.append(PatchMerging(width // 2))
        blocks = [
            SwinTransformerBlock(
                width,
                heads,
                [window, window],
                [window // 2 * (number % 2)] * 2,
                stochastic_depth_prob=drop_path * (before + number) / (total - 1),
                attn_layer=AnySizeWindowAttention,
            )
            for number in range(depth)
        ]
        layers.append(nn.Sequential(*blocks))
        before += depth
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=INITIAL_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def _stages(body: nn.Sequential) -> Sequence[int]:
    """Return the places of the stages' blocks; before each but the first lies a merging of patches."""
    return range(1, len(body), 2)
