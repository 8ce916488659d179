"""A backbone of your own: feature maps, their strides, and their number of channels.

Name it by its class path, and give the anchors one size for each map:

lightning-rcnn fit --config configs/faster_rcnn/r18_fpn_shapes.yaml --data.train TRAIN --data.val VAL
    --model.backbone examples.custom_backbone.TinyBackbone --model.backbone.width 64
    --model.rpn.anchors.sizes '[32, 64]'
"""

from torch import Tensor, nn

from lightning_rcnn import Backbone


class TinyBackbone(Backbone):
    """Two maps, of strides 8 and 16.

    Args:
        width: channels of both maps.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 7, stride=4, padding=3), nn.ReLU())
        self.stages = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(2))
        self.strides = (8, 16)
        self.out_channels = width

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute maps [N, width, H / 8, W / 8] and [N, width, H / 16, W / 16]."""
        first = self.stages[0](self.stem(images)).relu()
        return [first, self.stages[1](first).relu()]
