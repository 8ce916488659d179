"""The weighted pixels of a bin, counted and summed by hand."""

import numpy as np
import torch
from numpy.testing import assert_allclose

from lightning_rcnn.ops.cpu.pixel_weights import Grid, Pyramid, bin_weights, transpose, weighted_sum


def weights_of(rois, output_size=(2, 2), sampling_ratio=2):
    rois = np.array(rois, dtype=np.float32)
    levels = np.zeros(len(rois), dtype=np.int64)
    return bin_weights(rois, levels, Pyramid(1, [8], [8], [1.0]), Grid(output_size, sampling_ratio, False))


def dense(weights, num_columns):
    matrix = np.zeros((len(weights.offsets) - 1, num_columns))
    rows = np.repeat(np.arange(len(matrix)), np.diff(weights.offsets))
    np.add.at(matrix, (rows, weights.indices), weights.values)
    return matrix


def test_samples_that_share_pixels_are_merged():
    # Samples a pixel apart, 1.5 and 2.5 along each axis, touch pixels 1, 2 and 3: nine reads instead of sixteen.
    weights = weights_of([[0, 1, 1, 3, 3]], output_size=(1, 1))
    assert weights.offsets.tolist() == [0, 9]
    assert sorted(weights.indices) == [8 * y + x for y in (1, 2, 3) for x in (1, 2, 3)]
    assert_allclose(weights.values.reshape(3, 3), np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]))


def test_weights_of_a_bin_inside_the_map_sum_to_one():
    weights = weights_of([[0, 0.3, 0.7, 6.2, 5.9]], output_size=(3, 3), sampling_ratio=3)
    assert_allclose(dense(weights, 64).sum(1), np.ones(9), rtol=1e-6)


def test_padding_regions_have_no_entries():
    weights = weights_of([[-1, 0, 0, 4, 4], [0, 0, 0, 4, 4]])
    assert weights.offsets[:5].tolist() == [0] * 5
    assert weights.offsets[5] > 0


def test_rows_count_levels_then_images_then_lines():
    pyramid = Pyramid(2, [4, 2], [4, 2], [1.0, 0.5])
    rois = np.array([[1, 2, 2, 2, 2]], dtype=np.float32)
    weights = bin_weights(rois, np.array([1]), pyramid, Grid((1, 1), 1, True))
    # At scale 1/2 and half a pixel back the box is the point (0.5, 0.5): all four pixels of the second image's map.
    assert weights.indices.tolist() == [2 * 16 + 4 + i for i in range(4)]
    assert_allclose(weights.values, np.full(4, 0.25))


def test_the_transpose_holds_the_same_weights_in_order():
    # Beyond 2^16 rows, so that the rows' upper digits are sorted too.
    pyramid = Pyramid(1, [300], [400], [1.0])
    corners = np.random.default_rng(0).uniform(0, 300, (5, 4))
    rois = np.insert(np.sort(corners.astype(np.float32)), 0, 0, axis=1)
    weights = bin_weights(rois, np.zeros(5, dtype=np.int64), pyramid, Grid((2, 2), 2, False))
    transposed = transpose(weights, 300 * 400)
    assert_allclose(dense(transposed, 20), dense(weights, 300 * 400).T)
    same_row = np.repeat(np.arange(300 * 400), np.diff(transposed.offsets))
    assert np.all((np.diff(same_row) > 0) | (np.diff(transposed.indices) > 0))


def test_weighted_sum_is_the_product_with_the_dense_matrix():
    weights = weights_of([[0, 0.3, 0.7, 6.2, 5.9], [-1, 0, 0, 4, 4], [0, 2, 3, 7, 8]])
    rows = torch.randn(64, 5)
    expected = torch.from_numpy(dense(weights, 64)).float() @ rows
    torch.testing.assert_close(weighted_sum(weights, rows), expected)
    torch.testing.assert_close(weighted_sum(weights.rows_between(3, 10), rows), expected[3:10])
    assert weighted_sum(weights.rows_between(4, 8), rows).tolist() == [[0.0] * 5] * 4, "the bins of padding"
