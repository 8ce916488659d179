"""An image resized on its canvas without the canvas, beside the canvas resized as a whole."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightning_rcnn.data.canvas import filled, resize_on_canvas
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.transforms import HorizontalFlip, ZoomOut
from lightning_rcnn.data.transforms.base import Random, TrainingImage
from lightning_rcnn.data.transforms.quarter_turns import turned
from lightning_rcnn.data.transforms.view import displayed_pixels
from tests.data.rendering import render_alone

FILL = (124, 3, 250)
TOLERANCES = {"antialiased": 1, "pillow": 2, "bilinear": 0.1}
"""Pillow rounds after each of its two passes, and a flipped pass may round to the other side."""
lengths = st.integers(1, 90)
shares = st.floats(0, 1)


def noise(height, width):
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1)


@pytest.mark.parametrize("method", ["antialiased", "pillow", "bilinear"])
@settings(max_examples=60)
@given(
    image=st.tuples(lengths, lengths),
    growth=st.tuples(st.floats(1, 5), st.floats(1, 5)),
    place=st.tuples(shares, shares),
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
)
@example(image=(1, 47), growth=(1.0, 2.0), place=(0.0, 0.0), size=(1, 95))  # one pixel more
@example(image=(30, 40), growth=(3.0, 3.0), place=(0.9, 0.1), size=(91, 122))
def test_the_pixels_are_those_of_the_whole_canvas(method, image, growth, place, size):
    rule = ResizeRule(10, 20, method)
    height, width = (int(edge * factor) for edge, factor in zip(image, growth, strict=True))
    top, left = (round((full - edge) * share) for full, edge, share in zip((height, width), image, place, strict=True))
    canvas = filled(FILL, (height, width), torch.uint8)
    canvas[:, top : top + image[0], left : left + image[1]] = noise(*image)
    ours = resize_on_canvas(noise(*image), (left, top), (height, width), FILL, size, rule.resize_corner)
    whole = rule.resize(canvas, size)
    assert ours.dtype == whole.dtype
    assert (ours.float() - whole.float()).abs().max() <= TOLERANCES[method]


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_zoom_is_rendered_as_its_canvas_would_be(flip, turns):
    nothing = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_), [])
    rule = ResizeRule(90, 200)
    for number in range(6):
        sample = ZoomOut((1.2, 4.0), p=1.0)(TrainingImage(noise(60, 80), *nothing), Random(0, 0, number, 0))
        sample = HorizontalFlip(flip)(sample, Random(0, 0, number, 1))
        for _ in range(turns):
            sample = turned(sample)
        image, _ = render_alone(sample, rule, (256, 256))
        axes = [axis for axis, does in ((-2, sample.is_upside_down), (-1, sample.is_mirrored)) if does]
        whole = rule.resize(displayed_pixels(sample), tuple(image.shape[-2:])).flip(axes)
        assert (image.int() - whole.int()).abs().max() <= 1


def test_the_canvas_is_not_filled(monkeypatch):
    """Of 4 x 4 times the image at most two fifths are resized, where it lies in the middle."""
    sizes = []
    rule = ResizeRule(400, 1000)

    def resize(image, size, factors):
        sizes.append(image.shape[-2] * image.shape[-1])
        return rule.resize_corner(image, size, factors)

    for corner in ((0, 0), (450, 450), (900, 300), (300, 0)):
        resize_on_canvas(noise(300, 300), corner, (1200, 1200), FILL, (400, 400), resize)
    assert max(sizes) < 1200 * 1200 / 2.4
    assert min(sizes) < 1.1 * 300 * 300
