import torch
from torch import nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead

from lightning_rcnn.heads.box_head import ConvolutionalHead


def test_four_convolutions_and_one_layer_are_torchvisions():
    theirs = FastRCNNConvFCHead((6, 5, 5), [8] * 4, [16], nn.BatchNorm2d)
    ours = ConvolutionalHead(6, 5, num_layers=4, channels=8, width=16, norm=nn.BatchNorm2d)
    for layer, (convolution, norm, _) in zip(ours.convolutions, list(theirs)[:4], strict=True):
        layer[0].load_state_dict(convolution.state_dict())
        layer[1].load_state_dict(norm.state_dict())
    ours.fc6.load_state_dict(theirs[5].state_dict())
    regions = torch.randn(7, 6, 5, 5)
    torch.testing.assert_close(ours(regions), theirs(regions))
    torch.testing.assert_close(ours.eval()(regions), theirs.eval()(regions))
