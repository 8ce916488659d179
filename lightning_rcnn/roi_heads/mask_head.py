"""The network of the mask branch: features of regions -> a mask for each class. It never sees targets.

Shape letters: B regions of the whole batch, C channels, S side of a pooled region, K classes.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_rcnn.roi_heads.convolutions import NormalizedConvolutions


class MaskHead(nn.Module):
    """A small fully convolutional network (Mask R-CNN, figure 4).

    Args:
        in_channels: C.
        num_layers: 3 x 3 convolutions before the upsampling: 4 with FPN, none with C4, whose last stage did the work.
        width: channels of the convolutions and of the upsampled map.
        num_classes: K, without background.
        norm: follows each 3 x 3 convolution, from its number of channels; None for a bias instead.
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
        nn.init.normal_(self.logits.weight, std=0.001)  # as Detectron has it
        nn.init.zeros_(self.logits.get_parameter("bias"))

    def forward(self, regions: Tensor) -> Tensor:
        """Regions [B, C, S, S] -> logits [B, K, 2S, 2S]."""
        regions = self.convolutions(regions)
        # A transposed convolution of 2 x 2 with stride 2 maps each pixel to four of its own, as one of 1 x 1 with four
        # times the channels does. Then only the K channels of the result have to be put in place, not all of `width`:
        # half the time on a CPU.
        weight = self.upsample.weight.permute(2, 3, 1, 0)  # [2, 2, width, C]
        bias = self.upsample.get_parameter("bias").repeat(4)
        pixels = F.conv2d(regions, weight.flatten(0, 2)[:, :, None, None], bias).relu_().permute(0, 2, 3, 1)
        logits = F.linear(pixels.unflatten(-1, weight.shape[:3]), self.logits.weight.flatten(1), self.logits.bias)
        return logits.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)  # from [B, S, S, 2, 2, K]
