"""RoIAlign as a sum over pixels, beside torchvision's operator and ours."""

import pytest
import torch
from torch import nn
from torch.export import Dim
from torchvision.ops import MultiScaleRoIAlign, roi_align

from lightning_rcnn.export.operators import OPERATORS, StandardOperators
from lightning_rcnn.export.roi_align import roi_align as weighted_sums
from lightning_rcnn.ops.level_assignment import assign_levels
from lightning_rcnn.ops.roi_align import multiscale_roi_align

SCALES = [1 / 4, 1 / 8, 1 / 16]


def pyramid(num_images=2, height=96, width=160, channels=5):
    torch.manual_seed(0)
    return [torch.randn(num_images, channels, int(height * scale), int(width * scale)) for scale in SCALES]


def regions(number=200, height=96, width=160, num_images=2):
    """Regions of all sizes, many of them partly or wholly outside, some without area or inverted."""
    torch.manual_seed(1)
    corners = torch.rand(number, 2) * torch.tensor([width, height]) * 1.4 - 30
    sizes = torch.exp(torch.rand(number, 2) * 6 - 1)
    sizes[:3] = torch.tensor([[0.0, 5.0], [-20.0, -10.0], [1e-3, 1e-3]])
    image = torch.randint(num_images, (number, 1)).float()
    return torch.cat([image, corners, corners + sizes], dim=1)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
def test_one_map_is_that_of_torchvision(aligned, ratio):
    features, rois = pyramid()[0], regions()
    levels = torch.zeros(len(rois), dtype=torch.int64)
    found = weighted_sums([features], rois, levels, [0.25], (7, 5), ratio, aligned)
    expected = roi_align(features, rois, (7, 5), 0.25, ratio, aligned)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("ratio", [0, 2])
def test_a_pyramid_is_that_of_torchvision_and_padding_is_zero(ratio):
    features, rois = pyramid(), regions()
    levels = assign_levels(rois[:, 1:], SCALES)
    found = weighted_sums(features, rois, levels, SCALES, (7, 7), ratio, False)
    theirs = MultiScaleRoIAlign(["0", "1", "2"], 7, ratio)
    boxes = [rois[rois[:, 0] == image, 1:] for image in range(2)]
    expected = theirs(dict(zip("012", features, strict=True)), boxes, [(96, 160)] * 2)
    order = torch.cat([torch.nonzero(rois[:, 0] == image).squeeze(1) for image in range(2)])
    torch.testing.assert_close(found[order], expected, rtol=1e-5, atol=5e-6)
    rois[::3, 0] = -1
    padded = weighted_sums(features, rois, levels, SCALES, (7, 7), ratio, False)
    assert not padded[::3].any()
    torch.testing.assert_close(padded[1::3], found[1::3])


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("height", [1, 2, 33])
def test_maps_of_one_pixel_are_that_of_torchvision(height, ratio):
    features, rois = torch.randn(1, 4, height, 1), regions(50, 4 * height, 4, num_images=1)
    levels = torch.zeros(len(rois), dtype=torch.int64)
    found = weighted_sums([features], rois, levels, [0.25], (7, 7), ratio, False)
    torch.testing.assert_close(found, roi_align(features, rois, 7, 0.25, ratio), rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
def test_the_graph_has_the_bits_of_our_operator(ratio, aligned):
    features, rois = pyramid(), regions()
    rois[::7, 0] = -1
    arguments = {"output_size": 7, "scales": SCALES, "sampling_ratio": ratio, "aligned": aligned}
    expected = multiscale_roi_align(features, rois, **arguments)
    with StandardOperators(OPERATORS):
        found = multiscale_roi_align(features, rois, **arguments)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("aligned", [False, True])
def test_regions_far_larger_than_the_map_cost_no_more_memory(aligned):
    torch.manual_seed(0)
    features = torch.randn(1, 2, 9, 12)
    rois = torch.tensor([[0, -1e6, -1e6, 1e6, 1e6], [0, -5e3, 2, 40, 20], [0, 3, 4, 9e5, 5], [0, 5e6, 5e6, 6e6, 6e6]])
    levels = torch.zeros(4, dtype=torch.int64)
    found = weighted_sums([features], rois, levels, [0.25], (7, 7), 0, aligned)
    expected = multiscale_roi_align([features], rois, output_size=7, scales=[0.25], sampling_ratio=0, aligned=aligned)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=5e-6)


def test_a_graph_takes_regions_that_the_traced_ones_did_not_foresee():
    class Pool(nn.Module):
        def forward(self, features: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
            return weighted_sums([features], rois, torch.zeros_like(rois[:, 0]).long(), [0.25], (7, 7), 0, True)

    features, rois = pyramid()[0], regions()
    shapes = ({0: Dim("batch"), 2: Dim("height"), 3: Dim("width")}, {0: Dim("number")})
    graph = torch.export.export(Pool(), (features, rois[:5]), dynamic_shapes=shapes, strict=False).module()
    padding = torch.tensor([[-1.0, 0, 0, 0, 0], [0, 5, 5, 5, 5]])
    for own in (rois, padding, padding[:1], torch.tensor([[0, 0, 0, 159.0, 9.0]])):
        torch.testing.assert_close(graph(features, own), Pool()(features, own), rtol=0, atol=0)
    assert not graph(features, padding).any()
