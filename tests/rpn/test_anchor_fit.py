"""The best anchor of an object, against all anchors of the image."""

import pytest
import torch

from lightning_rcnn.functional.boxes import pairwise_iou
from lightning_rcnn.rpn.anchor_fit import best_anchor_iou
from lightning_rcnn.rpn.anchors import AnchorSettings


@pytest.mark.parametrize("rounding", ["exact", "rounded"])
@pytest.mark.parametrize("stride", ["fixed", "image_ratio"])
@pytest.mark.parametrize("is_inside", [False, True])
@pytest.mark.parametrize(("strides", "sizes"), [((4, 8, 16, 32), (16, 32, 64, 128)), ((16,), (24, 80, 200))])
def test_as_with_all_anchors(rounding, stride, is_inside, strides, sizes):
    settings = AnchorSettings(sizes, (0.5, 1.0, 2.0), rounding=rounding, stride=stride)
    anchors = settings.build(strides)
    generator = torch.Generator().manual_seed(0)
    boxes, image_sizes, expected = [], [], []
    for height, width in ((200, 333), (64, 480), (161, 97)):
        corners = torch.rand(60, 2, 2, generator=generator) * torch.tensor([width, height])
        some = torch.cat((corners.amin(1), corners.amax(1) + 0.5), dim=1)
        padded = (-(-height // 32) * 32, -(-width // 32) * 32)
        maps = [(-(-padded[0] // step), -(-padded[1] // step)) for step in strides]
        every = torch.cat(anchors(maps, padded))
        if is_inside:
            limit = torch.tensor([width, height])
            every = every[(every[:, :2] >= 0).all(1) & (every[:, 2:] <= limit).all(1)]
        expected.append(pairwise_iou(some, every).amax(1))
        boxes.append(some)
        image_sizes += [[height, width]] * 60
    found = best_anchor_iou(anchors, torch.cat(boxes), torch.tensor(image_sizes), 32, is_inside=is_inside)
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-5, atol=1e-5)


def test_no_object():
    anchors = AnchorSettings().build((4, 8, 16, 32, 64))
    assert best_anchor_iou(anchors, torch.zeros(0, 4), torch.zeros(0, 2, dtype=torch.int64), 32).shape == (0,)
