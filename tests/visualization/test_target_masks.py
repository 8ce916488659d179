"""Masks of a batch for drawing, in both forms, against the masks of the data set."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from lightning_rcnn.data.dataset import BatchRequest, DetectionDataset
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.torch_dataset import TorchDatasetReader
from lightning_rcnn.data.transforms import HorizontalFlip
from lightning_rcnn.masks.run_length import decode_crop
from lightning_rcnn.visualization.target_masks import target_masks

HEIGHT, WIDTH = 48, 64


def shapes(number: int) -> np.ndarray:
    """A disk with a hole, one that the image's edge cuts, and a rectangle; bool [3, h, w]."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    away = np.hypot(x - 20 - number, y - 20)
    return np.stack([(away < 12) & (away > 4), np.hypot(x - 60, y - 40) < 9, (x > 3) & (x < 9) & (y > 30) & (y < 45)])


class Shapes(Dataset):
    classes = ("a", "b", "c")

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> tuple[Any, dict[str, Any]]:
        masks = shapes(number)
        boxes = [[x.min(), y.min(), x.max() + 1, y.max() + 1] for y, x in map(np.nonzero, masks)]
        target = {"boxes": torch.tensor(boxes).float(), "labels": torch.arange(1, 4), "masks": torch.from_numpy(masks)}
        return torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8), target


def whole(rle: Any) -> np.ndarray:
    crop = decode_crop(rle)
    mask = np.zeros(rle["size"], bool)
    mask[crop.top : crop.top + crop.pixels.shape[0], crop.left : crop.left + crop.pixels.shape[1]] = crop.pixels
    return mask


@pytest.mark.parametrize("form", ["bitmaps", "polygons"])
@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_masks_are_those_of_the_data_set(form, scale: int, p: float):
    rule = ResizeRule(scale * HEIGHT, scale * WIDTH)
    data = DetectionDataset(TorchDatasetReader(Shapes()), [rule], "training", [HorizontalFlip(p)], mask_form=form)
    height, width = scale * HEIGHT + 16, scale * WIDTH + 32
    targets = data[BatchRequest(0, 0, (height, width), (0, 1))].targets
    for slot in range(2):
        drawn = target_masks(targets.masks, slot, height, width)
        assert drawn[3:] == [None] * len(drawn[3:])  # padding
        for rle, mask in zip(drawn[:3], shapes(slot), strict=True):
            expected = np.zeros((height, width), bool)
            enlarged = np.kron(mask[:, ::-1] if p else mask, np.ones((scale, scale), bool))
            expected[: scale * HEIGHT, : scale * WIDTH] = enlarged
            assert np.array_equal(whole(rle), expected)
