"""ResNet cut after its fourth stage: the single map of the papers (Faster R-CNN with ResNet, "C4")."""

from torch import Tensor, nn

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.backbones.norms import NormName
from lightning_rcnn.backbones.resnet import ResNetBody, ResNetName
from lightning_rcnn.errors import InputError
from lightning_rcnn.settings_checks import NonNegative, PositiveCount


class ResNetC4(Backbone):
    """ResNet with one feature map of stride 16; the last stage runs on regions (He et al., ResNet, appendix A).

    Args:
        name, weights, norm, norm_epsilon, stride_in_1x1, checkpointing, in_channels: as in `ResNetFPN`.
        frozen_stages: as in `ResNetFPN`, at most 4: the last stage belongs to the box head.

    Raises:
        InputError: see `ResNetBody`; or the last stage would be frozen.
    """

    conventions = ("norm", "norm_epsilon", "stride_in_1x1")
    pooled_size = 14

    def __init__(
        self,
        name: ResNetName = "resnet50",
        weights: str | None = None,
        norm: NormName = "batch_norm",
        norm_epsilon: NonNegative = 1e-5,
        frozen_stages: int = 0,
        stride_in_1x1: bool = False,
        checkpointing: bool = False,
        in_channels: PositiveCount = 3,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        if frozen_stages == 5:
            raise InputError("model.backbone: frozen_stages 5: ResNetC4's last stage is the box head; give at most 4")
        self.body = ResNetBody(
            name, weights, norm, norm_epsilon, frozen_stages, stride_in_1x1, checkpointing, in_channels
        )
        self.strides = (16,)
        self.out_channels = self.body.out_channels[2]

    @property
    def region_channels(self) -> int:
        """Channels of the last stage."""
        return self.body.out_channels[3]

    def take_region_stage(self) -> nn.Module:
        """Hand over the last stage.

        Raises:
            InputError: it was handed over before, perhaps to a detector whose construction failed.
        """
        if len(self.body.stages) < 4:
            raise InputError("ResNetC4: its last stage was handed over already; build another ResNetC4")
        stage = self.body.get_submodule("layer4")
        del self.body.layer4
        self.body.stages = self.body.stages[:3]
        return stage

    def layers(self) -> list[nn.Module]:
        """Return the stem and each block of the ResNet, without the last stage, which is the box head."""
        return self.body.layers()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute one map [N, C, H / 16, W / 16]."""
        return [self.body(images)[2]]
