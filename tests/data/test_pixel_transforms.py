"""Transforms that change pixels, against torchvision's for the same draw, and what they leave alone."""

import hashlib
import math
from dataclasses import replace
from itertools import permutations
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from lightning_rcnn.data.transforms import (
    JPEG,
    Blur,
    Cutout,
    Grayscale,
    Noise,
    PhotometricDistortion,
    Random,
    TrainingImage,
)
from lightning_rcnn.data.transforms.cutout import hidden_shares
from lightning_rcnn.data.transforms.pipeline import checked_transforms
from lightning_rcnn.errors import InputError

ALWAYS = [
    PhotometricDistortion(p=1.0),
    Blur(p=1.0),
    Noise(p=1.0),
    JPEG(p=1.0),
    Grayscale(p=1.0),
    Cutout(p=1.0, max_hidden=1.0),
]


def name_of(transform: Any) -> str:
    return type(transform).__name__


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth colors with noise, over the whole range."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 4, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
    return (smooth * 300 - 20 + torch.randn(3, height, width, generator=generator) * 8).clamp(0, 255).to(torch.uint8)


def sample(image: torch.Tensor) -> TrainingImage:
    height, width = image.shape[-2:]
    boxes = np.array([[0, 0, width, height], [0.25 * width, 0, 0.5 * width, 0.5 * height]], np.float32)
    outline = [[0.0, 0.0, float(width), 0.0, 0.0, float(height)]]
    return TrainingImage(image, boxes, np.array([3, 1]), np.array([False, True]), [outline, None], None, True, False)


def difference(first: torch.Tensor, second: torch.Tensor) -> int:
    return (first.int() - second.int()).abs().max().item()


@given(st.integers(0, 10**6), st.integers(1, 50), st.integers(1, 50), st.sampled_from(ALWAYS))
def test_only_pixels_change_and_they_depend_on_the_key_alone(number: int, height: int, width: int, transform: Any):
    given_sample = sample(picture(height, width, number))
    before = given_sample.image.clone()
    result = transform(given_sample, Random(7, 2, number, 1))
    assert result.image.dtype == torch.uint8
    assert result.image.shape == before.shape
    assert torch.equal(given_sample.image, before)
    assert np.array_equal(result.boxes, given_sample.boxes)
    assert np.array_equal(result.labels, given_sample.labels)
    assert np.array_equal(result.is_crowd, given_sample.is_crowd)
    assert result.segmentations == given_sample.segmentations
    assert (result.is_mirrored, result.is_upside_down) == (True, False)
    torch.manual_seed(number)
    np.random.seed(number)
    assert torch.equal(transform(given_sample, Random(7, 2, number, 1)).image, result.image)


@pytest.mark.parametrize("transform", ALWAYS, ids=name_of)
def test_each_key_draws_anew_and_p_is_the_share_of_images(transform: Any):
    given_sample = sample(picture(24, 32))
    changed = [transform(given_sample, Random(0, 0, number, 0)).image for number in range(30)]
    # The channels of a gray image are equal, whatever is drawn.
    assert len({image.numpy().tobytes() for image in changed}) >= (1 if isinstance(transform, Grayscale) else 15)
    never = type(transform)(p=0.0)
    assert all(torch.equal(never(given_sample, Random(0, 0, n, 0)).image, given_sample.image) for n in range(30))
    sometimes = type(transform)(p=0.3)
    if not isinstance(transform, PhotometricDistortion):
        shares = [
            not torch.equal(sometimes(given_sample, Random(0, 0, n, 0)).image, given_sample.image) for n in range(600)
        ]
        assert sum(shares) / 600 == pytest.approx(0.3, abs=0.07)
        # Those that change are a subset of those that change with a larger p, by the same draws.
        for number in np.flatnonzero(shares)[:10].tolist():
            key = Random(0, 0, number, 0), Random(0, 0, number, 0)
            assert torch.equal(
                sometimes(given_sample, key[0]).image, type(transform)(p=1.0)(given_sample, key[1]).image
            )


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.booleans())
def test_photometric_distortion_is_that_of_torchvision(number: int, p: float, is_wide: bool):
    wide = {"brightness": (0.0, 3.0), "contrast": (0.0, 2.0), "saturation": (0.5, 9.0), "hue": (-0.5, 0.4)}
    theirs = v2.RandomPhotometricDistort(**(wide if is_wide else {}), p=p)
    image, random = picture(30, 41, number % 50), Random(1, 2, number, 3)
    params: dict[str, Any] = {}
    for key in ("brightness", "contrast", "saturation", "hue"):
        is_drawn, factor = random.uniform() < p, random.uniform(*getattr(theirs, key))
        params[f"{key}_factor"] = factor if is_drawn else None
    params["contrast_before"] = random.uniform() < 0.5
    is_permuted, order = random.uniform() < p, list(permutations(range(3)))[random.integer() % 6]
    params["channel_permutation"] = torch.tensor(order) if is_permuted else None
    ours = PhotometricDistortion(**(wide if is_wide else {}), p=p)(sample(image), Random(1, 2, number, 3))
    assert difference(ours.image, theirs.transform(image, params)) <= 1


def test_photometric_distortion_takes_the_defaults_of_torchvision():
    ours, theirs = PhotometricDistortion(), v2.RandomPhotometricDistort()
    for name in ("brightness", "contrast", "saturation", "hue", "p"):
        assert getattr(ours, name) == getattr(theirs, name)


@given(st.integers(0, 10**6), st.sampled_from([(0.1, 2.0), (0.01, 0.02), (3.0, 8.0)]))
@settings(max_examples=40)
def test_blur_is_that_of_torchvision(number: int, sigma: tuple[float, float]):
    random = Random(0, 0, number, 0)
    random.uniform()
    drawn = random.uniform(*sigma)
    image = picture(60, 70, number % 50)
    ours = Blur(p=1.0, sigma=sigma)(sample(image), Random(0, 0, number, 0)).image
    assert difference(ours, v2.functional.gaussian_blur(image, 2 * math.ceil(3 * drawn) + 1, [drawn])) <= 1


@given(st.integers(0, 10**6), st.sampled_from([(30, 95), (1, 1), (100, 100), (1, 100)]), st.booleans())
@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")
def test_jpeg_is_that_of_torchvision(number: int, quality: tuple[int, int], is_noise: bool):
    random = Random(0, 0, number, 0)
    random.uniform()
    drawn = quality[0] + random.integer() % (quality[1] - quality[0] + 1)
    image = picture(37, 51, number % 50)
    if is_noise:
        image = torch.randint(0, 256, image.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
    ours = JPEG(p=1.0, quality=quality)(sample(image), Random(0, 0, number, 0)).image
    assert difference(ours, v2.functional.jpeg(image, drawn)) <= 1


def test_grayscale_is_that_of_torchvision():
    image = picture(50, 60)
    assert difference(Grayscale(1.0)(sample(image), Random(0, 0, 0, 0)).image, v2.RandomGrayscale(1.0)(image)) <= 1


def test_noise_is_gaussian_and_as_strong_as_that_of_torchvision():
    gray = torch.full((3, 300, 400), 128, dtype=torch.uint8)
    ours = Noise(p=1.0, sigma=(0.05, 0.05))(sample(gray), Random(0, 0, 0, 0)).image.double() - 128
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = v2.GaussianNoise(sigma=0.05)(gray).double() - 128
    sigma = 0.05 * 255
    assert ours.mean().item() == pytest.approx(0, abs=0.1)
    assert ours.std().item() == pytest.approx(sigma, rel=0.01)
    assert theirs.std().item() == pytest.approx(sigma, rel=0.05)  # theirs rounds towards zero
    for share in (0.0013, 0.0228, 0.1587, 0.5, 0.8413, 0.9772, 0.9987):
        quantiles = [torch.quantile(noise.flatten()[:300_000], share).item() for noise in (ours, theirs)]
        assert quantiles[0] == pytest.approx(quantiles[1], abs=1.5)
    assert abs(np.corrcoef(ours[0].flatten(), ours[1].flatten())[0, 1]) < 0.01
    assert abs(np.corrcoef(ours[0, 1:].flatten(), ours[0, :-1].flatten())[0, 1]) < 0.01


def test_noise_keeps_to_the_range_of_pixels_and_its_strength_is_drawn():
    image = torch.tensor([0, 255], dtype=torch.uint8).repeat(3, 40, 30)
    strong = Noise(p=1.0, sigma=(1.0, 1.0))(sample(image), Random(0, 0, 0, 0)).image
    assert strong[image == 0].float().mean() == pytest.approx(255 * 0.316, abs=12)  # of max(0, min(1, normal))
    assert strong[image == 255].float().mean() == pytest.approx(255 * (1 - 0.316), abs=12)
    gray = sample(torch.full((3, 40, 40), 128, dtype=torch.uint8))
    stds = [Noise(1.0, (0.0, 0.2))(gray, Random(0, 0, n, 0)).image.float().std().item() / 255 for n in range(200)]
    assert np.histogram(stds, bins=4, range=(0, 0.2))[0] == pytest.approx(50, abs=20)


def test_noise_is_that_of_torchvision_for_the_same_normal_numbers(monkeypatch: pytest.MonkeyPatch):
    """A normal number is the middle of the quantile that 16 bits name."""
    image, random = picture(20, 30), Random(1, 2, 3, 4)
    sigma, seed = [random.uniform(), random.uniform(0.0, 0.1)][1], random.integer()
    words = [int(word) for word in np.random.PCG64(seed).random_raw(450)]
    bits = [word >> shift & 0xFFFF for word in words for shift in (0, 16, 32, 48)]
    normal = torch.tensor([NormalDist().inv_cdf((value + 0.5) / 65536) for value in bits]).reshape(image.shape)
    monkeypatch.setattr(torch, "randn_like", lambda *_, **__: normal)
    ours = Noise(p=1.0)(sample(image), Random(1, 2, 3, 4)).image
    assert difference(ours, v2.functional.gaussian_noise(image, sigma=sigma)) <= 1  # theirs rounds towards zero
    assert difference(ours, image) > 10


def test_noise_is_the_same_on_every_machine():
    """numpy promises the bits of its generators; the digest holds them and the normal numbers made of them."""
    image = Noise(1.0)(sample(torch.full((3, 9, 11), 99, dtype=torch.uint8)), Random(1, 2, 3, 4)).image
    assert hashlib.sha256(image.numpy().tobytes()).hexdigest().startswith("36f1420290b070fa")


@given(st.integers(0, 10**6))
def test_hidden_shares_are_those_counted_pixel_by_pixel(number: int):
    chance = np.random.default_rng(number)

    def corners(count: int) -> np.ndarray:
        first, second = chance.integers(0, 20, (2, count, 2))
        return np.concatenate([np.minimum(first, second), np.maximum(first, second) + 1], axis=1)

    rectangles, boxes = corners(int(chance.integers(1, 6))), corners(5)
    is_hidden = np.zeros((21, 21))
    for left, top, right, bottom in rectangles:
        is_hidden[top:bottom, left:right] = 1
    expected = [is_hidden[top:bottom, left:right].mean() for left, top, right, bottom in boxes]
    assert hidden_shares(boxes.astype(np.float32), rectangles) == pytest.approx(np.array(expected))


def test_hidden_shares_of_parts_of_pixels_and_of_no_area():
    boxes = np.array([[0.5, 0, 2.5, 1], [3, 3, 3, 5], [-4, -4, 4, 4]], np.float32)
    assert hidden_shares(boxes, np.array([[1, 0, 2, 2], [1, 1, 3, 2]])).tolist() == [0.5, 0, 3 / 64]


def test_cutout_fills_rectangles_and_drops_what_they_hide():
    """One rectangle of half the edges: 20 x 30 of 40 x 60 pixels."""
    cutout = Cutout(p=1.0, count=(1, 1), size=(0.5, 0.5), fill=(1, 2, 3), max_hidden=0.5)
    white = replace(sample(torch.full((3, 40, 60), 255, dtype=torch.uint8)), boxes=np.zeros((0, 4), np.float32))
    white = replace(white, labels=white.labels[:0], is_crowd=white.is_crowd[:0], segmentations=[])
    corners = set()
    for number in range(40):
        image = cutout(white, Random(0, 0, number, 0)).image
        rows, columns = (np.flatnonzero((image[0] == 1).numpy().any(axis)) for axis in (1, 0))
        assert (len(rows), len(columns)) == (20, 30)
        top, left = int(rows[0]), int(columns[0])
        corners.add((top, left))
        hole = torch.tensor([1, 2, 3], dtype=torch.uint8)[:, None, None].expand(3, 20, 30)
        assert torch.equal(image[:, top : top + 20, left : left + 30], hole)
        assert (image == 255).sum() == 3 * (40 * 60 - 20 * 30)
        # Half hidden, just more than half hidden, hidden, in the open, and a hidden crowd.
        right, bottom = left + 30, top + 20
        boxes = [[right - 9, top, right + 9, bottom], [right - 9, top, right + 8, bottom], [left, top, right, bottom]]
        boxes += [[right, top, right + 9, bottom], [left + 1, top, right, bottom]]
        objects = replace(
            white,
            boxes=np.array(boxes, np.float32),
            labels=np.arange(1, 6),
            is_crowd=np.arange(5) == 4,
            segmentations=[None, None, [[0.0] * 6], None, [[1.0] * 6]],
        )
        result = cutout(objects, Random(0, 0, number, 0))
        assert result.labels.tolist() == [1, 4, 5]
        assert result.boxes.tolist() == [boxes[0], boxes[3], boxes[4]]
        assert result.is_crowd.tolist() == [False, False, True]
        assert result.segmentations == [None, None, [[1.0] * 6]]
    assert len(corners) > 30
    assert {top for top, _ in corners} <= set(range(21))


def test_rectangles_lie_in_the_visible_part_after_a_crop():
    """The window reaches beyond the image on the left; half its rows and columns inside are 10 x 15 pixels."""
    cropped = replace(sample(torch.full((3, 40, 60), 255, dtype=torch.uint8)), window=(-50, 15, 30, 35))
    cutout = Cutout(p=1.0, count=(1, 1), size=(0.5, 0.5), fill=(1, 2, 3))
    for number in range(40):
        result = cutout(cropped, Random(0, 0, number, 0))
        rows, columns = (np.flatnonzero((result.image[0] == 1).numpy().any(axis)) for axis in (1, 0))
        assert (len(rows), len(columns)) == (10, 15)
        assert rows[0] >= 15
        assert rows[-1] < 35
        assert columns[-1] < 30
        assert result.window == cropped.window


def test_the_number_of_rectangles_is_drawn():
    white = sample(torch.full((3, 200, 200), 255, dtype=torch.uint8))
    cutout = Cutout(p=1.0, count=(1, 4), size=(0.01, 0.01), fill=(0, 0, 0))
    areas = [int((cutout(white, Random(0, 0, n, 0)).image[0] == 0).sum()) // 4 for n in range(200)]
    assert np.bincount(areas, minlength=5)[1:] == pytest.approx(50, abs=20)


def test_plain_data_name_them_by_their_arguments():
    plain = {"class_path": "lightning_rcnn.data.transforms.JPEG", "init_args": {"p": 0.2, "quality": [50, 60]}}
    (built,) = checked_transforms([plain])
    assert (built.p, built.quality) == (0.2, (50, 60))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Blur(p=1.5), "data.train_transforms: Blur: p 1.5 is not a probability; give 0 to 1"),
        (lambda: Noise(p=-0.1), "data.train_transforms: Noise: p -0.1 is not a probability"),
        (lambda: JPEG(p=float("nan")), "data.train_transforms: JPEG: p nan is not a probability"),
        (lambda: Grayscale(2), "data.train_transforms: Grayscale: p 2 is not a probability"),
        (lambda: Cutout(p=7), "data.train_transforms: Cutout: p 7 is not a probability"),
        (lambda: PhotometricDistortion(p=1.1), "PhotometricDistortion: p 1.1 is not a probability"),
        (
            lambda: PhotometricDistortion(hue=(-0.6, 0.1)),
            r"PhotometricDistortion: hue \[-0.6, 0.1\] is out of range; give \[smallest, largest\] in -0.5 to 0.5",
        ),
        (lambda: PhotometricDistortion(contrast=(1.5, 0.5)), r"contrast \[1.5, 0.5\] is out of range"),
        (lambda: PhotometricDistortion(brightness=(-1, 0.5)), r"brightness \[-1, 0.5\] is out of range"),
        (lambda: PhotometricDistortion(saturation=0.5), r"PhotometricDistortion.saturation: 0.5 is not a list of 2"),
        (lambda: Blur(sigma=(0, 1)), r"Blur: sigma \[0, 1\] is out of range; .* in 0.01 to 100"),
        (lambda: Noise(sigma=(0, 25)), r"Noise: sigma \[0, 25\] is out of range; .* in 0 to 1"),
        (lambda: JPEG(quality=(0, 50)), r"JPEG: quality \[0, 50\] is out of range; .* in 1 to 100"),
        (lambda: JPEG(quality=(30.5, 50)), r"JPEG.quality\[0\]: 30.5 is not a whole number"),
        (lambda: Cutout(count=(0, 3)), r"Cutout: count \[0, 3\] is out of range"),
        (lambda: Cutout(size=(0.2, 1.2)), r"Cutout: size \[0.2, 1.2\] is out of range"),
        (lambda: Cutout(fill=(0, 0, 256)), r"Cutout: fill is \[0, 0, 256\]; give \[red, green, blue\], each 0 to 255"),
        (lambda: Cutout(max_hidden=90), "Cutout: max_hidden 90 is not a share; give 0 to 1"),
    ],
)
def test_what_is_out_of_range_is_refused_in_one_line(build: Any, message: str):
    with pytest.raises(InputError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)
