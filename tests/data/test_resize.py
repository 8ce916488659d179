from itertools import product

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from lightning_rcnn.data.resize import ResizeRule


def make_image(height, width):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.parametrize(
    ("original", "resized"),
    [
        ((480, 640), (800, 1067)),
        ((640, 480), (1067, 800)),
        ((100, 300), (444, 1333)),
        # 232.5 exactly, if it is not computed by way of 800 x 4586.67 first.
        ((1032, 180), (1333, 232)),
        ((655, 1310), (667, 1333)),
    ],
)
def test_sizes_of_detectron2(original, resized):
    """Worked out by its steps: the shorter edge to 800; if the longer is then beyond 1333, both down; rounded."""
    assert ResizeRule(800, 1333, "pillow").size(*original) == resized
    assert ResizeRule(800, 1333, "antialiased").size(*original) == resized


@pytest.mark.parametrize("size", [(60, 80), (300, 200), (96, 128)])
def test_pillow_is_pillow(size):
    rule, image = ResizeRule(96, 160, "pillow"), make_image(*size)
    height, width = rule.size(*size)
    expected = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((width, height), Image.Resampling.BILINEAR)
    resized = rule(image)
    assert resized.dtype == torch.uint8
    assert np.array_equal(resized.permute(1, 2, 0).numpy(), np.asarray(expected))


@pytest.mark.parametrize(
    ("original", "resized"), [((480, 640), (800, 1067)), ((100, 300), (444, 1333)), ((60, 61), (800, 813))]
)
def test_sizes_of_mmdetection(original, resized):
    """Worked out by hand: the smaller of both factors, and half a pixel more before the fraction is cut off."""
    assert ResizeRule(800, 1333, "opencv").size(*original) == resized


def test_opencv_is_opencv():
    rule, image = ResizeRule(96, 160, "opencv"), make_image(60, 80)
    expected = cv2.resize(image.permute(1, 2, 0).numpy(), (128, 96), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(rule(image).permute(1, 2, 0).numpy(), expected)


def test_torchs_own_way_differs_by_one_and_rarely():
    image = make_image(200, 300)
    by_pillow, by_torch = (ResizeRule(96, 160, method)(image).int() for method in ("pillow", "antialiased"))
    difference = (by_pillow - by_torch).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.05


def test_images_stay_channels_last_where_they_are():
    """The way to resize follows the layout, and the pixels are those of planes."""
    rule, planes = ResizeRule(96, 160), make_image(200, 300)
    pixels = planes.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for part in (slice(None), slice(7, 150)):
        resized = rule(pixels[:, part, part])
        assert resized.stride() == (1, 3 * resized.shape[2], 3)
        by_planes = interpolate(
            planes[None, :, part, part].contiguous(), resized.shape[-2:], mode="bilinear", antialias=True
        )
        assert torch.equal(resized, by_planes[0])


def test_a_corner_of_bytes_is_rounded_as_opencv_rounds():
    rule = ResizeRule(64, 110, "opencv")
    image = torch.randint(0, 256, (40, 60, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    corner = rule.resize_corner(image.permute(2, 0, 1), (80, 120), (2.0001, 2.0001))
    whole = rule.resize(image.permute(2, 0, 1), (80, 120))
    difference = corner.int() - whole.int()
    assert difference.abs().max() <= 1
    assert abs(difference.float().mean().item()) < 0.1  # -0.5 if it were cut off
    assert rule.resize_corner(image.permute(2, 0, 1).float(), (80, 120), (2.0001, 2.0001)).frac().any()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("layout", [(0, 1, 2), (1, 2, 0), (2, 1, 0), (0, 2, 1)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_of_one_pixel_in_width_or_height_are_resized_as_by_pillow(channels, layout, dtype):
    """torch repeats the first row of those that become one pixel wide, or stops with an internal error."""
    generator = torch.Generator().manual_seed(channels)
    for height, width, *size in product((1, 2, 7), (1, 2, 7), (1, 2, 9), (1, 2, 9)):
        if 1 not in (height, width, *size):
            continue
        image = torch.randint(0, 256, (channels, height, width), generator=generator).to(dtype)
        image = (
            image.permute(layout).contiguous().permute(np.argsort(layout).tolist())
        )  # equal, but otherwise in memory
        resized = ResizeRule(8, 8).resize(image, (size[0], size[1]))
        assert (resized.dtype, resized.shape) == (dtype, (channels, *size))
        for ours, plane in zip(resized, image, strict=True):
            theirs = Image.fromarray(plane.numpy().astype(np.float32)).resize(size[::-1], Image.Resampling.BILINEAR)
            assert np.abs(ours.numpy() - np.asarray(theirs)).max() <= (1.01 if dtype == torch.uint8 else 1e-3)
