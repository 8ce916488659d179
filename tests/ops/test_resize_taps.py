"""Tables of taps against the resizes whose rules they state."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from lightning_rcnn.ops.resize_taps import PILLOW_BITS, AxisTaps, axis_taps

LENGTHS = [(1, 9), (7, 7), (5, 40), (40, 5), (33, 32), (32, 33), (480, 800), (800, 333), (1333, 61)]


def resized(row: np.ndarray, taps: AxisTaps) -> np.ndarray:
    """Resize uint8 [n, C] along its first axis, as the table says."""
    first, weights = taps.table[:, :1], taps.table[:, 1:]
    chosen = row[np.minimum(first + np.arange(weights.shape[1]), len(row) - 1)].astype(np.int64)
    total = (chosen * weights[:, :, None]).sum(axis=1)
    return np.clip((total + (1 << taps.bits >> 1)) >> taps.bits, 0, 255)


@pytest.mark.parametrize(("length", "new_length"), LENGTHS)
def test_the_weights_are_those_of_torch_and_pillow(length: int, new_length: int):
    row = np.random.default_rng(length).integers(0, 256, (length, 3), dtype=np.uint8)
    pixels = torch.from_numpy(row).T[None, :, None].expand(1, 3, 2, length)
    by_torch = interpolate(pixels, (2, new_length), mode="bilinear", align_corners=False, antialias=True)
    by_pillow = Image.fromarray(row[None]).resize((new_length, 1), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(
        resized(row, axis_taps(length, new_length, "antialiased")), by_torch[0, :, 0].T.numpy()
    )
    np.testing.assert_array_equal(resized(row, axis_taps(length, new_length, "pillow")), np.asarray(by_pillow)[0])


@pytest.mark.parametrize(("length", "new_length"), LENGTHS)
def test_linear_weights_are_those_of_torch(length: int, new_length: int):
    row = np.random.default_rng(length).integers(0, 256, (length, 3), dtype=np.uint8)
    pixels = torch.from_numpy(row).T[None].float()
    by_torch = interpolate(pixels, new_length, mode="linear", align_corners=False)[0].T
    taps = axis_taps(length, new_length, "linear")
    first, weights = taps.table[:, 0], taps.table[:, 1:] / 2**PILLOW_BITS
    ours = sum(row[np.minimum(first + tap, length - 1)] * weights[:, tap, None] for tap in range(2))
    np.testing.assert_allclose(ours, by_torch.numpy(), rtol=0, atol=0.05)  # positions are of 32 bits


@pytest.mark.parametrize("rule", ["antialiased", "pillow", "linear"])
def test_an_axis_that_keeps_its_length_keeps_its_pixels(rule):
    row = np.arange(256, dtype=np.uint8)[:, None]
    np.testing.assert_array_equal(resized(row, axis_taps(256, 256, rule)), row)


def test_a_ramp_that_shrinks_by_four():
    """Triangles of eight pixels, by hand: 1/32, 3/32, 5/32, 7/32 and back."""
    taps = axis_taps(32, 8, "pillow")
    expected = np.array([0, 1, 3, 5, 7, 7, 5, 3, 1]) / 32
    middle = taps.table[3]
    weights = np.trim_zeros(middle[1:]) / 2**PILLOW_BITS
    np.testing.assert_allclose(weights, expected[1:], atol=1e-6)
