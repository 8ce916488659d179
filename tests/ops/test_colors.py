"""Changes of colors of decoded images; `cuda/test_kernels_on_host.py` has the kernels."""

import sys
from pathlib import Path

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from lightning_rcnn.ops.color_steps import CHANNEL_ORDERS, ColorKind, ColorStep
from lightning_rcnn.ops.colors import change_colors
from lightning_rcnn.ops.cpu.colors import changed
from lightning_rcnn.ops.placements import Placement

sys.path.insert(0, str(Path(__file__).parent / "cuda" / "host"))

import random_colors  # lies in the folder above


@pytest.mark.parametrize("max_steps", [1, 6])
def test_colors_are_changed_as_by_torchvision(max_steps: int):
    for seed in range(30):
        assert random_colors.has_colors(random_colors.draw_colors(seed, max_steps)), seed


def test_the_operator_is_registered_as_torch_asks():
    case = random_colors.draw_colors(1)
    torch.library.opcheck(change_colors, (case.pixels, case.placements, case.steps, case.channels))


@pytest.mark.parametrize("order", range(6))
def test_channels_change_places(order: int):
    steps = torch.tensor([[[ColorKind.ORDER, order]]], dtype=torch.float64)
    pixels = torch.tensor([10, 20, 30], dtype=torch.uint8)
    changed = change_colors(pixels, torch.tensor([Placement(0, 1, 1)]), steps, 3)
    assert changed.tolist() == [10 + 10 * channel for channel in CHANNEL_ORDERS[order]]
    assert pixels.tolist() == [10, 20, 30]


def test_a_pixel_by_hand():
    """Half the contrast of 100 and 201 around their mean, 150.5; then twice the brightness, which is cut off."""
    steps = torch.tensor([[[ColorKind.CONTRAST, 0.5], [ColorKind.BRIGHTNESS, 2.0]]], dtype=torch.float64)
    pixels = torch.tensor([100, 201], dtype=torch.uint8)
    changed = change_colors(pixels, torch.tensor([Placement(0, 1, 2)]), steps, 1)
    assert changed.tolist() == [250, 255]  # 125.25 and 175.75


@pytest.mark.parametrize("height", [1, 64, 65, 150])
@pytest.mark.parametrize("form", ["planes", "channels last", "floats", "one channel"])
def test_rows_are_changed_band_by_band_as_the_whole_image(height: int, form: str):
    generator = torch.Generator().manual_seed(height)
    image = torch.randint(0, 256, (height, 37, 3), dtype=torch.uint8, generator=generator).permute(2, 0, 1)
    image = image if form == "channels last" else image.contiguous()
    image = image.float() / 255 if form == "floats" else image
    changes = {ColorKind.BRIGHTNESS: F.adjust_brightness, ColorKind.CONTRAST: F.adjust_contrast}
    if form == "one channel":
        image = image[:1]
    else:
        changes |= {ColorKind.SATURATION: F.adjust_saturation, ColorKind.HUE: F.adjust_hue}
    for kind, change in changes.items():
        for value in (0.0, 0.3, 0.5) if kind == ColorKind.HUE else (0.0, 0.7, 1.4):
            assert torch.equal(changed(image, [ColorStep(kind, value)]), change(image, value)), kind
