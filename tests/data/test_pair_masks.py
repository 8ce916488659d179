"""Masks that pass transforms of (image, target) in groups: the same as all at once, and never more of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch import nn
from torchvision.transforms import v2

from lightning_rcnn.data.transforms import HorizontalFlip, Random, TrainingImage, pair_masks
from lightning_rcnn.data.transforms.torchvision import apply_to_pair

HEIGHT, WIDTH, OBJECTS = 40, 56, 11
AFFINE = v2.RandomAffine(25, translate=(0.2, 0.2), scale=(0.7, 1.3))


def training_image(seed: int) -> TrainingImage:
    """Rectangles, one without a mask."""
    chance = np.random.default_rng(seed)
    corners = chance.integers(0, (WIDTH - 12, HEIGHT - 12), (OBJECTS, 2))
    boxes = np.concatenate([corners, corners + chance.integers(2, 12, (OBJECTS, 2))], axis=1).astype(np.float32)
    outlines: list[Any] = [[[box[i].item() for i in (0, 1, 2, 1, 2, 3, 0, 3)]] for box in boxes]
    outlines[4] = None
    image = torch.from_numpy(chance.integers(0, 256, (3, HEIGHT, WIDTH), dtype=np.uint8))
    return TrainingImage(image, boxes, np.arange(1, OBJECTS + 1), np.arange(OBJECTS) == 2, outlines)


class Watched(nn.Module):
    """Notes how many masks pass at once."""

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform
        self.numbers: list[int] = []

    def forward(self, image: Any, target: dict[str, Any]) -> Any:
        if "masks" in target:
            self.numbers.append(len(target["masks"]))
        return self.transform(image, target)


def pixels(sample: TrainingImage) -> list[Any]:
    return [None if mask is None else coco_mask.decode(mask).tolist() for mask in sample.segmentations]


@pytest.mark.parametrize(
    ("transform", "most"),
    [
        (v2.RandomHorizontalFlip(1.0), 3),
        (AFFINE, 3),
        (v2.RandomPerspective(p=1.0), 3),
        (v2.ElasticTransform(), 3),
        (v2.RandomIoUCrop(), 3),
        (v2.RandomZoomOut(p=1.0), 3),
        (v2.Resize((31, 47)), 3),
        (v2.SanitizeBoundingBoxes(min_size=6), 3),
        (v2.Compose([AFFINE, v2.SanitizeBoundingBoxes(min_size=6)]), 3),
        (v2.Compose([AFFINE, v2.SanitizeBoundingBoxes()]), 3),
        (v2.Compose([v2.RandomCrop((20, 30)), v2.SanitizeBoundingBoxes()]), 3),
        (v2.Compose([v2.RandomIoUCrop(), v2.SanitizeBoundingBoxes()]), OBJECTS),  # its draws depend on all boxes
    ],
    ids=str,
)
def test_groups_give_what_all_masks_give_at_once(transform: nn.Module, most: int, monkeypatch: pytest.MonkeyPatch):
    for number in range(3):
        sample = HorizontalFlip(0.5)(training_image(number), Random(0, 0, number, 0))
        expected = apply_to_pair(transform, sample, Random(0, 0, number, 1), needs_masks=True)
        watched = Watched(transform)
        with monkeypatch.context() as patch:
            patch.setattr(pair_masks, "MAX_PIXELS", 3 * HEIGHT * WIDTH)
            patch.setattr(pair_masks, "LEAST_MASKS", 1)
            result = apply_to_pair(watched, sample, Random(0, 0, number, 1), needs_masks=True)
        assert torch.equal(result.image, expected.image)
        assert np.array_equal(result.boxes, expected.boxes)
        assert result.labels.tolist() == expected.labels.tolist()
        assert pixels(result) == pixels(expected)
        assert max(watched.numbers, default=0) <= most


@pytest.mark.parametrize(("height", "expected"), [(40, [16, 16, 8]), (4000, [16, 16, 8]), (16_000, [4] * 10)])
def test_an_image_passes_a_few_times_but_if_it_is_huge(
    height: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
):
    """With each group of masks the image passes again: one group a mask would take as long as so many images."""
    monkeypatch.setattr(pair_masks, "MAX_PIXELS", 3 * 40 * WIDTH)
    monkeypatch.setattr(pair_masks, "MOST_PIXELS", 4 * 16_000 * WIDTH)
    small = training_image(0)
    number = np.arange(40) % OBJECTS
    sample = replace(small, image=torch.zeros(3, height, WIDTH, dtype=torch.uint8)).with_objects(number)
    watched = Watched(v2.RandomHorizontalFlip(1.0))
    result = apply_to_pair(watched, sample, Random(0, 0, 0, 0), needs_masks=True)
    assert watched.numbers == expected
    assert len(result.segmentations) == 40
