"""The weighted pixels of a bin, counted and summed by hand."""

import numpy as np
from numpy.testing import assert_allclose

from lightning_rcnn.ops.cpu.pixel_weights import Grid, Pyramid, region_bags, transpose_bags


def bags_of(rois, output_size=(2, 2), sampling_ratio=2):
    rois = np.array(rois, dtype=np.float32)
    levels = np.zeros(len(rois), dtype=np.int64)
    return region_bags(rois, levels, Pyramid(1, [8], [8], [1.0]), Grid(output_size, sampling_ratio, False))


def matrix_of(bags, num_columns):
    matrix = np.zeros((len(bags.offsets) - 1, num_columns))
    bins = np.repeat(np.arange(len(matrix)), np.diff(bags.offsets))
    np.add.at(matrix, (bins, bags.rows), bags.weights)
    return matrix


def test_samples_that_share_pixels_are_merged():
    # Samples a pixel apart, 1.5 and 2.5 along each axis, touch pixels 1, 2 and 3: nine reads instead of sixteen.
    bags = bags_of([[0, 1, 1, 3, 3]], output_size=(1, 1))
    assert bags.offsets.tolist() == [0, 9]
    assert sorted(bags.rows) == [8 * y + x for y in (1, 2, 3) for x in (1, 2, 3)]
    assert_allclose(bags.weights.reshape(3, 3), np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]))


def test_weights_of_a_bin_inside_the_map_sum_to_one():
    bags = bags_of([[0, 0.3, 0.7, 6.2, 5.9]], output_size=(3, 3), sampling_ratio=3)
    assert_allclose(matrix_of(bags, 64).sum(1), np.ones(9), rtol=1e-6)


def test_padding_regions_have_no_entries():
    bags = bags_of([[-1, 0, 0, 4, 4], [0, 0, 0, 4, 4]])
    assert bags.offsets[:5].tolist() == [0] * 5
    assert bags.offsets[5] > 0


def test_rows_count_levels_then_images_then_lines():
    pyramid = Pyramid(2, [4, 2], [4, 2], [1.0, 0.5])
    rois = np.array([[1, 2, 2, 2, 2]], dtype=np.float32)
    bags = region_bags(rois, np.array([1]), pyramid, Grid((1, 1), 1, True))
    # At scale 1/2 and half a pixel back the box is the point (0.5, 0.5): all four pixels of the second image's map.
    assert bags.rows.tolist() == [2 * 16 + 4 + i for i in range(4)]
    assert_allclose(bags.weights, np.full(4, 0.25))


def test_transposed_bags_hold_the_same_weights_in_order():
    # Beyond 2^16 rows, so that the rows' upper digits are sorted too.
    pyramid = Pyramid(1, [300], [400], [1.0])
    corners = np.random.default_rng(0).uniform(0, 300, (5, 4))
    rois = np.insert(np.sort(corners.astype(np.float32)), 0, 0, axis=1)
    bags = region_bags(rois, np.zeros(5, dtype=np.int64), pyramid, Grid((2, 2), 2, False))
    transposed = transpose_bags(bags, 300 * 400)
    assert_allclose(matrix_of(transposed, 20), matrix_of(bags, 300 * 400).T)
    same_row = np.repeat(np.arange(300 * 400), np.diff(transposed.offsets))
    assert np.all((np.diff(same_row) > 0) | (np.diff(transposed.rows) > 0))
