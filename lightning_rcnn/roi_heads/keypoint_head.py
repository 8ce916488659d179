"""The network of the keypoint branch: pooled regions -> a heat map for each keypoint.

Shape letters: B regions of the whole batch, C channels, S side of a pooled region, J keypoints.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_rcnn.roi_heads.convolutions import NormalizedConvolutions


class KeypointHead(nn.Module):
    """Convolutions, a deconvolution and bilinear upsampling (Mask R-CNN section 5).

    Args:
        in_channels: channels C of a region.
        num_layers: number of 3 x 3 convolutions.
        width: channels of the convolutions.
        num_keypoints: number of keypoints J.
    """

    def __init__(self, in_channels: int, num_layers: int, width: int, num_keypoints: int) -> None:
        super().__init__()
        self.convolutions = NormalizedConvolutions(in_channels, num_layers, width, None)
        self.deconvolution = nn.ConvTranspose2d(self.convolutions.out_channels, num_keypoints, 4, stride=2, padding=1)
        nn.init.kaiming_normal_(self.deconvolution.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.deconvolution.get_parameter("bias"))

    def forward(self, regions: Tensor) -> Tensor:
        """Compute heat maps, logits [B, J, 4S, 4S], of regions [B, C, S, S]."""
        maps = self.deconvolution(self.convolutions(regions))
        return F.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)
