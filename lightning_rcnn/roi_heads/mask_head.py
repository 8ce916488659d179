"""The network of the mask branch: pooled regions -> a mask for each class.

Shape letters: B regions of the whole batch, C channels, S side of a pooled region, K classes.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_rcnn.roi_heads.convolutions import NormalizedConvolutions


class MaskHead(nn.Module):
    """A small fully convolutional network (Mask R-CNN, figure 4).

    Args:
        in_channels: channels C of a region.
        num_layers: number of 3 x 3 convolutions before the upsampling: 4 with FPN, 0 with C4.
        width: channels of the convolutions and of the upsampled map.
        num_classes: number of classes K, without background.
        norm: number of channels -> norm after each 3 x 3 convolution; None for a bias instead.
    """

    def __init__(
        self,
        in_channels: int,
        num_layers: int,
        width: int,
        num_classes: int,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.convolutions = NormalizedConvolutions(in_channels, num_layers, width, norm)
        self.upsample = nn.ConvTranspose2d(self.convolutions.out_channels, width, 2, stride=2)
        self.logits = nn.Conv2d(width, num_classes, 1)
        nn.init.kaiming_normal_(self.upsample.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.upsample.get_parameter("bias"))
        nn.init.normal_(self.logits.weight, std=0.001)  # as in Detectron
        nn.init.zeros_(self.logits.get_parameter("bias"))

    def forward(self, regions: Tensor) -> Tensor:
        """Compute mask logits [B, K, 2S, 2S] of regions [B, C, S, S]."""
        regions = self.convolutions(regions)
        # A 2 x 2 transposed convolution with stride 2 maps each pixel to four, like a 1 x 1 convolution with four times
        # the channels. So only the K channels of the result have to be permuted, not all of `width`, which takes
        # half the time on a CPU.
        weight = self.upsample.weight.permute(2, 3, 1, 0)  # [2, 2, width, C]
        bias = self.upsample.get_parameter("bias").repeat(4)
        pixels = F.conv2d(regions, weight.flatten(0, 2)[:, :, None, None], bias).relu_().permute(0, 2, 3, 1)
        logits = F.linear(pixels.unflatten(-1, weight.shape[:3]), self.logits.weight.flatten(1), self.logits.bias)
        return logits.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)  # from [B, S, S, 2, 2, K]
