"""The mask branch is torchvision's, layer by layer."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.roi_heads.active import active_indices
from lightning_rcnn.roi_heads.box_branch import BoxSettings
from lightning_rcnn.roi_heads.box_head import TwoLayerHead
from lightning_rcnn.roi_heads.mask_branch import MaskSettings
from lightning_rcnn.roi_heads.mask_head import MaskHead
from lightning_rcnn.roi_heads.pooler import PoolerSettings
from lightning_rcnn.structures import Bitmaps, Targets


def test_equals_torchvisions_with_the_same_weights():
    torch.manual_seed(0)
    ours = MaskHead(in_channels=6, num_layers=4, width=8, num_classes=3)
    theirs = nn.Sequential(MaskRCNNHeads(6, (8, 8, 8, 8), 1), MaskRCNNPredictor(8, 8, 3))
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.3)
    for mine, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        their.data.copy_(mine)
    regions = torch.randn(5, 6, 14, 14)
    torch.testing.assert_close(ours(regions), theirs(regions), atol=1e-4, rtol=1e-5)


def test_upsampling_alone_is_the_head_of_c4():
    head = MaskHead(in_channels=6, num_layers=0, width=8, num_classes=2)
    assert len(head.convolutions) == 0
    regions = torch.randn(3, 6, 7, 7)
    torch.testing.assert_close(head(regions), head.logits(head.upsample(regions).relu()), atol=1e-5, rtol=1e-5)
    assert head(regions).shape == (3, 2, 14, 14)


@pytest.mark.parametrize(
    ("is_active", "indices"),
    [
        ([[True, False], [False, True]], [0, 3]),
        ([[False, False], [False, False]], [0]),
    ],
)
def test_on_the_cpu_active_rois_and_at_least_one_are_computed(is_active, indices):
    assert active_indices(torch.tensor(is_active)).tolist() == indices


def test_on_other_devices_all_rois_are_computed():
    assert active_indices(torch.zeros(2, 3, dtype=torch.bool, device="meta")).shape == (6,)


@pytest.mark.parametrize("aligned", [True, False])
def test_thresholded_targets_are_aligned_however_features_are_pooled(aligned):
    """detectron2 and mmdetection cut masks by an aligned RoIAlign, also where they pool with another one.

    The mask is the left half of a region of 28 x 28 pixels: aligned, its 28 columns are those of the image.
    """
    backbone = ResNetFPN("resnet18", channels=8)
    pooler = PoolerSettings(aligned=aligned).build(backbone)

    box_branch = BoxSettings(TwoLayerHead(width=4)).build(backbone, pooler, 1)
    branch = MaskSettings(target="thresholded", width=8).build(backbone, pooler, box_branch, 1)
    box, crop = torch.tensor([[[4.0, 4, 32, 32]]]), torch.tensor([[[3.0, 3, 33, 33]]])
    rows = torch.zeros(30, 30, dtype=torch.uint8)
    rows[1:29, 1:15] = 1
    bits = torch.from_numpy(np.packbits(rows.numpy()))
    masks = Bitmaps(bits, torch.zeros(1, 1, dtype=torch.int64), torch.tensor([[[30, 30]]]), crop)
    targets = Targets(box, torch.tensor([[1]]), torch.zeros(1, 1, dtype=torch.bool), masks)
    found = branch._targets(targets, box, torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool), 28)
    assert torch.equal(found[0, 0], rows[1:29, 1:29].float())
