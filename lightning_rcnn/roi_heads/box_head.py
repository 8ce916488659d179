"""The networks of the box branch: pooled regions -> class logits and box deltas.

Shape letters: B regions of the whole batch, C channels, S side of a pooled region, K classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_rcnn.backbones.norms import NormName, norm_layer
from lightning_rcnn.roi_heads.convolutions import NormalizedConvolutions
from lightning_rcnn.roi_heads.truncated_svd import replace_with_low_rank
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Count, Fraction, NonNegative, PositiveCount

_WIDE = 2048
"""Outputs of a layer from which on permuting a region takes less than a tenth of the time of its product."""


@dataclass(frozen=True)
class BoxHeadSettings(Settings, ABC):
    """Base of the settings of box heads."""

    @abstractmethod
    def build(self, in_channels: int, pooled_size: int, pretrained: Sequence[nn.Linear]) -> nn.Module:
        """Build a head: regions [B, C, S, S] -> [B, `out_features`].

        Args:
            in_channels: channels C of a region.
            pooled_size: side S of a region.
            pretrained: fully connected layers of the backbone's classification network, to start from.
        """


@dataclass(frozen=True)
class TwoLayerHead(BoxHeadSettings):
    """Settings of two fully connected layers (FPN section 4.2; Fast R-CNN section 2.2, with dropout).

    Args:
        width: outputs of both layers.
        dropout: dropout probability after each layer; 0.5 in AlexNet and VGG16.
        svd_ranks: ranks of both layers after truncated SVD (Fast R-CNN section 3.1), set by `lightning-rcnn compress`.
    """

    width: PositiveCount = 1024
    dropout: Fraction = 0.0
    svd_ranks: tuple[PositiveCount, PositiveCount] | None = None

    def build(self, in_channels: int, pooled_size: int, pretrained: Sequence[nn.Linear]) -> nn.Module:
        """Build the two layers, and copy those of `pretrained` that have the same size."""
        head = FullyConnected(in_channels, pooled_size, self.width, self.dropout)
        head.load_pretrained(pretrained)
        if self.svd_ranks is not None:
            replace_with_low_rank(head, self.svd_ranks)
        return head


@dataclass(frozen=True)
class ConvolutionalHead(BoxHeadSettings):
    """Settings of 3 x 3 convolutions and a fully connected layer (Group Normalization, arXiv 1803.08494, section 4.2).

    Args:
        num_layers: number of convolutions; 4 in torchvision's second version ("4conv1fc").
        channels: output channels of each convolution.
        width: outputs of the fully connected layer.
        norm: norm after each convolution; None for a bias instead. "batch_norm" is torchvision's; in training its
            statistics include the padding of short samples.
        norm_epsilon: epsilon of the norms.
    """

    num_layers: Count = 4
    channels: PositiveCount = 256
    width: PositiveCount = 1024
    norm: NormName | None = None
    norm_epsilon: NonNegative = 1e-5

    def build(self, in_channels: int, pooled_size: int, pretrained: Sequence[nn.Linear]) -> nn.Module:
        """Build the layers; `pretrained` is not used."""
        norm = norm_layer(self.norm, self.norm_epsilon) if self.norm else None
        return ConvolutionsAndLayer(in_channels, pooled_size, self.num_layers, self.channels, self.width, norm)


class FullyConnected(nn.Module):
    """Two fully connected layers, each followed by a ReLU and dropout.

    Args:
        in_channels: channels C of a region.
        pooled_size: side S of a region.
        width: outputs of both layers.
        dropout: dropout probability after each layer.
    """

    def __init__(self, in_channels: int, pooled_size: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc6: nn.Module = nn.Linear(in_channels * pooled_size**2, width)
        self.fc7: nn.Module = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.out_features = width

    def forward(self, pooled: Tensor) -> Tensor:
        """Compute features [B, width] of regions [B, C, S, S]."""
        hidden = self.dropout(self._first_layer(pooled).relu())
        return self.dropout(self.fc7(hidden).relu())

    def _first_layer(self, pooled: Tensor) -> Tensor:
        """Compute `fc6`, whose weights are in the order of [C, S, S] in all checkpoints.

        If regions are stored channels last, the regions or the weights are permuted. In training whichever are fewer.
        Otherwise one order serves any number of regions: another order of a sum rounds otherwise, and detections would
        depend on the size of the batch, and differ from those of an exported graph, which takes any size.
        """
        fc6 = self.fc6
        if not isinstance(fc6, nn.Linear) or pooled.is_contiguous():
            return fc6(pooled.flatten(1))
        permutes_regions = len(pooled) < fc6.out_features if self.training else fc6.out_features >= _WIDE
        if permutes_regions:
            return fc6(pooled.flatten(1))
        weight = fc6.weight.unflatten(1, pooled.shape[1:]).permute(0, 2, 3, 1).flatten(1)
        return F.linear(pooled.permute(0, 2, 3, 1).flatten(1), weight, fc6.bias)

    def load_pretrained(self, layers: Sequence[nn.Linear]) -> None:
        """Copy the weights of pretrained fc6 and fc7, each if it has the same size."""
        for own, given in zip((self.fc6, self.fc7), layers, strict=False):
            if isinstance(own, nn.Linear) and own.weight.shape == given.weight.shape:
                own.load_state_dict(given.state_dict())


class ConvolutionsAndLayer(nn.Module):
    """3 x 3 convolutions and one fully connected layer.

    Args:
        in_channels: channels C of a region.
        pooled_size: side S of a region.
        num_layers: number of 3 x 3 convolutions.
        channels: output channels of each convolution.
        width: outputs of the fully connected layer.
        norm: number of channels -> norm after each convolution; None for a bias instead.
    """

    def __init__(
        self,
        in_channels: int,
        pooled_size: int,
        num_layers: int,
        channels: int,
        width: int,
        norm: Callable[[int], nn.Module] | None,
    ) -> None:
        super().__init__()
        self.convolutions = NormalizedConvolutions(in_channels, num_layers, channels, norm)
        self.fc6 = nn.Linear(channels * pooled_size**2, width)
        self.out_features = width

    def forward(self, pooled: Tensor) -> Tensor:
        """Compute features [B, width] of regions [B, C, S, S]."""
        return self.fc6(self.convolutions(pooled).flatten(1)).relu_()


class AveragePool(nn.Module):
    """Average over positions, after the region stage of a backbone (ResNet, appendix A; "C4").

    Args:
        out_features: channels C of a region.
    """

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.out_features = out_features

    def forward(self, pooled: Tensor) -> Tensor:
        """Compute features [B, C] of regions [B, C, S, S]."""
        return pooled.mean(dim=(2, 3))


class BoxPredictor(nn.Module):
    """Linear layers for the logits of K+1 classes and a box per foreground class (Fast R-CNN section 2.1).

    Args:
        in_features: outputs of the head.
        num_classes: number of classes K, without background.
        class_agnostic: whether all classes share one box (R-FCN, arXiv 1605.06409, section 2).
    """

    def __init__(self, in_features: int, num_classes: int, class_agnostic: bool) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.class_logits = nn.Linear(in_features, num_classes + 1)
        self.box_deltas = nn.Linear(in_features, 4 if class_agnostic else num_classes * 4)
        nn.init.normal_(self.class_logits.weight, std=0.01)  # Fast R-CNN section 2.3
        nn.init.normal_(self.box_deltas.weight, std=0.001)
        nn.init.zeros_(self.class_logits.bias)
        nn.init.zeros_(self.box_deltas.bias)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits [B, K+1], background first, and deltas [B, K, 4], both float32."""
        deltas = self.box_deltas(hidden).unflatten(1, (-1, 4)).float()
        return self.class_logits(hidden).float(), deltas.expand(-1, self.num_classes, -1)
