"""ResNet whose last stage keeps the resolution: a single map of stride 16 from all stages ("DC5", dilated C5).

Source: Deformable Convolutional Networks, arXiv 1703.06211, section 3.2; the numbers are detectron2's.
"""

from torch import Tensor, nn

from lightning_rcnn.backbones.resnet import ResNetBody


class ResNetDC5(nn.Module):
    """One feature map of stride 16, whose 3 x 3 convolutions of the last stage look two pixels far.

    Args:
        body: all four stages; the last one is changed.
    """

    strides = (16,)
    roi_strides = (16,)
    pooled_size = 7

    def __init__(self, body: ResNetBody) -> None:
        super().__init__()
        body.dilate_last_stage()
        self.body = body
        self.out_channels = self.region_channels = body.out_channels[3]

    def forward(self, images: Tensor) -> list[Tensor]:
        """One map [N, C, H / 16, W / 16]."""
        return [self.body(images)[3]]
