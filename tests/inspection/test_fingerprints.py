"""Recognition of pictures that occur twice."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from lightning_rcnn.inspection.fingerprints import (
    HASH_BITS_APART,
    THUMBNAIL,
    candidate_pairs,
    gray_of,
    is_same_picture,
    perceptual_hash,
    thumbnail,
)


def cells(seed, moved=()):
    """A picture of a microscope: the same light in all, cells at random; those `moved` are elsewhere."""
    rng = np.random.default_rng(seed)
    pixels = np.full((240, 320, 3), 210, np.uint8) + np.linspace(0, 20, 320).astype(np.uint8)[None, :, None]
    for number in range(25):
        x, y = (int(rng.integers(0, side)) for side in (320, 240))
        if number in moved:
            x, y = 320 - x, 240 - y
        cv2.circle(pixels, (x, y), int(rng.integers(8, 20)), (190, 120, 130), -1)
    noise = np.random.default_rng(seed + 1000).normal(0, 4, pixels.shape)
    return (pixels + noise).clip(0, 255).astype(np.uint8)


def again(pixels, quality, scale):
    image = Image.fromarray(pixels)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def is_candidate(one, other):
    grays = [gray_of(pixels) for pixels in (one, other)]
    hashes = np.array([perceptual_hash(gray) for gray in grays], np.uint64)
    return list(candidate_pairs(hashes, np.stack([thumbnail(gray) for gray in grays]), np.ones(2))) == [(0, 1)]


@pytest.mark.parametrize(("quality", "scale"), [(95, 1.0), (40, 1.0), (75, 0.8), (60, 0.5), (85, 1.4)])
def test_the_same_picture_compressed_and_resized(quality, scale):
    for seed in range(8):
        one = cells(seed)
        other = again(one, quality, scale)
        assert is_candidate(one, other)
        assert is_same_picture(one, other)
        assert is_same_picture(other, one)


def test_pictures_of_one_microscope_are_not_the_same():
    pictures = [cells(seed) for seed in range(12)]
    assert not any(is_same_picture(one, other) for i, one in enumerate(pictures) for other in pictures[:i])
    # Nor two frames of which a few objects have moved.
    assert not is_same_picture(cells(1), cells(1, moved=(3, 4)))


def test_flat_pictures_have_no_details_to_compare():
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert not is_same_picture(flat, flat)


def test_candidates_are_those_of_all_pairs():
    """Against the comparison of all pairs, with copies some bits apart."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 400, dtype=np.uint64)
    for number in range(0, 300, 2):
        flips = np.bitwise_or.reduce(
            np.uint64(1) << rng.choice(64, number % 15, replace=False).astype(np.uint64), initial=np.uint64(0)
        )
        hashes[number + 1] = hashes[number] ^ flips
    thumbnails = np.zeros((400, THUMBNAIL**2), np.uint8)
    thumbnails[1::8] = 9  # these look different
    ratios = np.ones(400)
    ratios[3::8] = 1.5
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = {
        (i, j)
        for i, j in np.argwhere(apart <= HASH_BITS_APART).tolist()
        if i < j and thumbnails[i, 0] == thumbnails[j, 0] and ratios[i] == ratios[j]
    }
    found = list(candidate_pairs(hashes, thumbnails, ratios))
    assert len(expected) > 40
    assert set(found) == expected
    assert len(found) == len(set(found))
