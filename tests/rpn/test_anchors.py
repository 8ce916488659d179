import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator as TorchvisionAnchors
from torchvision.models.detection.image_list import ImageList

from lightning_rcnn.errors import InputError
from lightning_rcnn.rpn.anchors import AnchorGenerator, AnchorSettings, cell_anchors

RATIOS = (0.5, 1.0, 2.0)


def test_cells_of_both_references_by_hand():
    # Side 32, height half the width: 45.25 x 22.63, so half-extents 22.63 and 11.31; torchvision rounds them.
    rounded = cell_anchors([32], RATIOS, "rounded", "ratio_major")[0]
    exact = cell_anchors([32], RATIOS, "exact", "size_major")[0]
    assert rounded.tolist() == [-23, -11, 23, 11]
    torch.testing.assert_close(exact, torch.tensor([-22.63, -11.31, 22.63, 11.31]), atol=0.005, rtol=0)


def test_orders_of_sizes_and_ratios():
    by_ratio = cell_anchors([32, 64], RATIOS, "exact", "ratio_major")
    by_size = cell_anchors([32, 64], RATIOS, "exact", "size_major")
    sides = (by_ratio[:, 2:] * 2).prod(1).sqrt()
    torch.testing.assert_close(sides, torch.tensor([32.0, 64] * 3))
    torch.testing.assert_close(by_ratio.view(3, 2, 4).transpose(0, 1).reshape(6, 4), by_size)


@pytest.mark.parametrize("image_size", [(800, 1088), (160, 224)])
def test_torchvisions_anchors_with_its_stride_rule(image_size):
    sizes, feature_sizes = [[32], [64], [512]], []
    for stride in (4, 8, 64):
        feature_sizes.append((-(-image_size[0] // stride), -(-image_size[1] // stride)))
    theirs = TorchvisionAnchors(tuple(map(tuple, sizes)), (RATIOS,) * 3)
    expected = theirs(
        ImageList(torch.zeros(1, 3, *image_size), [image_size]), [torch.zeros(1, 1, *size) for size in feature_sizes]
    )[0]
    ours = AnchorGenerator(sizes, RATIOS, (4, 8, 64), "rounded", "ratio_major", "image_ratio")
    assert torch.cat(ours(feature_sizes, image_size)).equal(expected)


def test_fixed_stride_centers_anchors_on_the_networks_grid():
    anchors = AnchorGenerator([[64]], (1.0,), (64,))([(13, 21)], (800, 1344))[0]
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert centers.view(13, 21, 2)[12, 20].tolist() == [20 * 64, 12 * 64]


def test_all_sizes_on_every_level():
    generator = AnchorSettings(sizes=(32, 64), levels="all_sizes").build((8, 16))
    for anchors in generator([(2, 2), (1, 1)], (16, 16)):
        sides = (anchors[:6, 2:] - anchors[:6, :2]).prod(1).sqrt()
        torch.testing.assert_close(sides, torch.tensor([32.0, 64] * 3))
    with pytest.raises(InputError, match="2 levels need as many sizes, not 3"):
        AnchorSettings(sizes=(32, 64, 128)).build((8, 16))
