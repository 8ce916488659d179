"""Rendering of decoded images; `cuda/test_kernels_on_host.py` has the kernel."""

import sys
from pathlib import Path

import pytest
import torch

from lightning_rcnn.ops.placements import Placement
from lightning_rcnn.ops.render import render_images

sys.path.insert(0, str(Path(__file__).parent / "cuda" / "host"))

import random_rendering  # lies in the folder above


@pytest.mark.parametrize("seeds", [range(0, 20), range(20, 40)], ids=str)
def test_images_are_rendered_as_by_torch_and_pillow(seeds: range):
    for seed in seeds:
        assert random_rendering.is_rendered(random_rendering.draw_rendering(seed)), seed


def test_the_operator_is_registered_as_torch_asks():
    for seed in (0, 1, 2):
        case = random_rendering.draw_rendering(seed)
        arguments = case.pixels, case.placements, case.taps, case.fill, *case.size, case.rule != "linear"
        torch.library.opcheck(render_images, arguments)


def test_empty_slots_are_black():
    images = render_images(
        torch.zeros(0, dtype=torch.uint8),
        torch.tensor([Placement(), Placement()]),
        torch.zeros(0, dtype=torch.int32),
        torch.full((2, 3), 9, dtype=torch.uint8),
        32,
        64,
        is_rounded=True,
    )
    assert images.shape == (2, 3, 32, 64)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert not images.any()


def test_kernels_that_are_asked_for_and_cannot_run_are_an_error():
    case = random_rendering.draw_rendering(0)
    with pytest.raises(RuntimeError, match="images are on the device cpu"):
        case.rendered("cuda")
