"""The weighted pixels of a bin, counted and summed by hand."""

import torch
from torch.testing import assert_close

from lightning_rcnn.roi.sampling import Grid, Pyramid, region_bags, transpose_bags


def bags_of(rois, output_size=(2, 2), sampling_ratio=2, pyramid=None):
    pyramid = pyramid or Pyramid(1, [8], [8], [1.0])
    levels = torch.zeros(len(rois), dtype=torch.int64)
    return region_bags(torch.tensor(rois), levels, pyramid, Grid(output_size, sampling_ratio, False))


def test_samples_that_share_pixels_are_merged():
    # Samples a pixel apart, 1.5 and 2.5 along each axis, touch pixels 1, 2 and 3: nine reads instead of sixteen.
    bags = bags_of([[0.0, 1.0, 1.0, 3.0, 3.0]], output_size=(1, 1))
    assert bags.offsets.tolist() == [0, 9]
    assert sorted(bags.rows.tolist()) == [8 * y + x for y in (1, 2, 3) for x in (1, 2, 3)]
    assert_close(bags.weights.view(3, 3), torch.tensor([0.25, 0.5, 0.25])[:, None] * torch.tensor([0.25, 0.5, 0.25]))


def test_weights_of_a_bin_inside_the_map_sum_to_one():
    bags = bags_of([[0.0, 0.3, 0.7, 6.2, 5.9]], output_size=(3, 3), sampling_ratio=3)
    sums = torch.stack([bags.weights[a:b].sum() for a, b in zip(bags.offsets[:-1], bags.offsets[1:], strict=True)])
    assert_close(sums, torch.ones(9))


def test_padding_regions_have_no_entries():
    bags = bags_of([[-1.0, 0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 0.0, 4.0, 4.0]])
    assert bags.offsets[:5].tolist() == [0] * 5
    assert bags.offsets[5] > 0


def test_rows_count_levels_then_images_then_lines():
    pyramid = Pyramid(2, [4, 2], [4, 2], [1.0, 0.5])
    rois = torch.tensor([[1.0, 2.0, 2.0, 2.0, 2.0]])
    bags = region_bags(rois, torch.tensor([1]), pyramid, Grid((1, 1), 1, True))
    # At scale 1/2 and half a pixel back the box is the point (0.5, 0.5): all four pixels of the second image's map.
    assert bags.rows.tolist() == [2 * 16 + 4 + i for i in range(4)]
    assert_close(bags.weights, torch.full((4,), 0.25))


def test_transposed_bags_hold_the_same_weights():
    bags = bags_of([[0.0, 0.3, 0.7, 6.2, 5.9], [0.0, -3.0, 2.0, 3.0, 30.0]])
    matrix = torch.zeros(8, 64)
    bins = torch.repeat_interleave(torch.arange(8), bags.offsets.diff())
    matrix.index_put_((bins, bags.rows.long()), bags.weights, accumulate=True)
    transposed = transpose_bags(bags, 64)
    other = torch.zeros(8, 64)
    rows = torch.repeat_interleave(torch.arange(64), transposed.offsets.diff())
    other.index_put_((transposed.rows.long(), rows), transposed.weights, accumulate=True)
    assert_close(other, matrix)
