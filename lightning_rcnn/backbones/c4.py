"""ResNet cut after its fourth stage: the single map of the papers (Faster R-CNN with ResNet, "C4")."""

from torch import Tensor, nn

from lightning_rcnn.backbones.resnet import ResNetBody


class ResNetC4(nn.Module):
    """One feature map of stride 16; the last stage works on regions (He et al., ResNet, appendix A).

    Args:
        body: all four stages.
    """

    strides = (16,)
    roi_strides = (16,)
    pooled_size = 14

    def __init__(self, body: ResNetBody) -> None:
        super().__init__()
        self.body = body
        self.region_channels = body.out_channels[3]
        self.out_channels = body.out_channels[2]

    def take_region_stage(self) -> nn.Module:
        """Move the fifth stage out of the backbone, so that its parameters belong to one owner: the head."""
        stage = self.body.get_submodule("layer4")
        del self.body.layer4
        self.body.stages = self.body.stages[:3]
        return stage

    def forward(self, images: Tensor) -> list[Tensor]:
        """One map [N, C, H / 16, W / 16]."""
        return [self.body(images)[2]]
