"""The keypoint branch's network is torchvision's, layer by layer."""

import torch
from torch import nn
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor

from lightning_rcnn.roi_heads.keypoint_head import KeypointHead


def test_equals_torchvisions_with_the_same_weights():
    torch.manual_seed(0)
    ours = KeypointHead(in_channels=6, num_layers=3, width=8, num_keypoints=4)
    theirs = nn.Sequential(KeypointRCNNHeads(6, (8, 8, 8)), KeypointRCNNPredictor(8, 4))
    for mine, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        nn.init.normal_(mine, std=0.3)
        their.data.copy_(mine)
    regions = torch.randn(5, 6, 14, 14)
    torch.testing.assert_close(ours(regions), theirs(regions), atol=1e-4, rtol=1e-5)
    assert ours(regions).shape == (5, 4, 56, 56)
