import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, TwoMLPHead

from lightning_rcnn.roi_heads.box_head import ConvolutionsAndLayer, FullyConnected


@pytest.mark.parametrize("num_regions", [0, 3, 40], ids=["none", "fewer than outputs", "more than outputs"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"])
def test_two_layers_are_torchvisions_however_regions_lie_in_memory(num_regions, layout):
    torch.manual_seed(0)
    ours, theirs = FullyConnected(6, 5, width=16), TwoMLPHead(6 * 5 * 5, 16)
    theirs.load_state_dict(ours.state_dict())
    regions = torch.randn(num_regions, 6, 5, 5)
    mine = regions.clone(memory_format=layout).requires_grad_()
    their = regions.clone().requires_grad_()
    torch.testing.assert_close(ours(mine), theirs(their))
    ours(mine).square().sum().backward()
    theirs(their).square().sum().backward()
    torch.testing.assert_close(mine.grad, their.grad)
    for (name, parameter), expected in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, msg=name)


@pytest.mark.parametrize("width", [8, 2048])
@pytest.mark.parametrize("num_regions", [4, 10, 2050])
def test_in_evaluation_a_sum_has_one_order_however_many_regions_there_are(monkeypatch, width, num_regions):
    """Not by bits, which some processors' products do not keep when the number of rows changes."""
    head, linear, weights = FullyConnected(2, 2, width).eval(), F.linear, []
    monkeypatch.setattr(F, "linear", lambda x, weight, bias: weights.append(weight) or linear(x, weight, bias))
    head(torch.randn(num_regions, 2, 2, 2).contiguous(memory_format=torch.channels_last))
    assert weights[1] is head.fc7.weight
    assert (weights[0] is head.fc6.weight) == (width == 2048)


def test_four_convolutions_and_one_layer_are_torchvisions():
    theirs = FastRCNNConvFCHead((6, 5, 5), [8] * 4, [16], nn.BatchNorm2d)
    ours = ConvolutionsAndLayer(6, 5, num_layers=4, channels=8, width=16, norm=nn.BatchNorm2d)
    for layer, (convolution, norm, _) in zip(ours.convolutions, list(theirs)[:4], strict=True):
        layer[0].load_state_dict(convolution.state_dict())
        layer[1].load_state_dict(norm.state_dict())
    ours.fc6.load_state_dict(theirs[5].state_dict())
    regions = torch.randn(7, 6, 5, 5)
    torch.testing.assert_close(ours(regions), theirs(regions))
    torch.testing.assert_close(ours.eval()(regions), theirs.eval()(regions))
