"""Cells and peaks of heat maps against torchvision's functions, which loop over regions."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints, keypoints_to_heatmap

from lightning_rcnn.ops.heat_maps import heat_map_cells, heat_map_peaks


def boxes_of(number: int, longest: float) -> torch.Tensor:
    """Boxes of all sizes, some thinner than a pixel."""
    corner, side = 100 * torch.rand(number, 2), longest * torch.rand(number, 2) ** 2 + 0.2
    return torch.cat((corner, corner + side), dim=1)


def noise(number: int) -> torch.Tensor:
    return torch.randn(number, 5, 56, 56)


def smooth(number: int) -> torch.Tensor:
    """What an untrained head gives: a small map, upsampled."""
    return F.interpolate(torch.randn(number, 5, 28, 28), scale_factor=2.0, mode="bilinear", align_corners=False)


def peaked(number: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(56.0), torch.arange(56.0), indexing="ij")
    center = 56 * torch.rand(number, 5, 2, 1, 1)
    return -((x - center[:, :, 0]) ** 2 + (y - center[:, :, 1]) ** 2) / 8 + 0.3 * torch.randn(number, 5, 56, 56)


@pytest.mark.parametrize("kind", [noise, smooth, peaked], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("longest", [40, 300])
def test_peaks_are_those_of_torchvisions_loop(kind, longest):
    torch.manual_seed(0)
    maps, boxes = kind(60), boxes_of(60, longest)
    points, values = heat_map_peaks(maps, boxes, longest + 2)
    theirs, their_values = heatmaps_to_keypoints(maps, boxes)
    torch.testing.assert_close(values, their_values, atol=1e-4, rtol=0)
    torch.testing.assert_close(points, theirs[..., :2], atol=1e-3, rtol=0)


def test_a_large_box_costs_no_resized_map():
    torch.manual_seed(0)
    maps, boxes = smooth(3), torch.tensor([[0.0, 0, 1333, 800], [5, 5, 1200, 20], [3, 3, 3, 3]])
    points, values = heat_map_peaks(maps, boxes, 1344)
    theirs, their_values = heatmaps_to_keypoints(maps, boxes)
    torch.testing.assert_close(values, their_values, atol=1e-4, rtol=0)
    torch.testing.assert_close(points, theirs[..., :2], atol=1e-2, rtol=0)


def test_cells_are_those_of_torchvision_also_on_edges_and_outside():
    torch.manual_seed(0)
    boxes = boxes_of(40, 80)
    keypoints = torch.cat((220 * torch.rand(40, 6, 2), torch.randint(0, 3, (40, 6, 1)).float()), dim=2)
    keypoints[:, 0, :2], keypoints[:, 1, :2] = boxes[:, :2], boxes[:, 2:]
    keypoints[:, 2, :2] = (boxes[:, :2] + boxes[:, 2:]) / 2
    cells, has_cell = heat_map_cells(keypoints, boxes, 56)
    expected, valid = keypoints_to_heatmap(keypoints, boxes, 56)
    assert has_cell.tolist() == valid.bool().tolist()
    assert cells.tolist() == expected.tolist()
    assert has_cell[:, 2].any()


def test_an_empty_box_has_no_cells():
    cells, has_cell = heat_map_cells(torch.tensor([[[0.0, 0, 2]]]), torch.zeros(1, 4), 56)
    assert not has_cell.any() or cells.max() < 56 * 56
