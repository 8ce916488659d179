"""The network of the region proposal branch (Faster R-CNN figure 3).

Shape letters: N images, A anchors of a level (positions x anchors per position), C channels.
"""

from collections.abc import Sequence

from torch import Tensor, nn


class RPNHead(nn.Module):
    """A 3x3 convolution and two 1x1 siblings, the same for all levels (Faster R-CNN figure 3; FPN section 4.1).

    Args:
        in_channels: channels of every feature map.
        num_anchors: number of anchors per position.
        num_layers: number of 3x3 convolutions, at least one; two in torchvision's second version.
    """

    def __init__(self, in_channels: int, num_anchors: int, num_layers: int) -> None:
        super().__init__()
        self.conv, *more = (nn.Conv2d(in_channels, in_channels, kernel_size=3, padding=1) for _ in range(num_layers))
        self.more_convs = nn.ModuleList(more)
        self.objectness = nn.Conv2d(in_channels, num_anchors, kernel_size=1)
        self.deltas = nn.Conv2d(in_channels, num_anchors * 4, kernel_size=1)
        for layer in (self.conv, *more, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)  # section 3.1.3
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Compute objectness logits [N, A] and deltas [N, A, 4] of each level, float32, in the anchors' order."""
        logits, deltas = [], []
        for feature in features:
            hidden = self.conv(feature).relu_()
            for convolution in self.more_convs:
                hidden = convolution(hidden).relu_()
            # Channels last gives the order of the anchors: by position, then by anchor.
            logits.append(self.objectness(hidden).permute(0, 2, 3, 1).flatten(1).float())
            deltas.append(self.deltas(hidden).permute(0, 2, 3, 1).reshape(feature.shape[0], -1, 4).float())
        return logits, deltas
