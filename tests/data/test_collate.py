import numpy as np
import pytest
import torch

from lightning_rcnn.data.collate import Sample, collate_images, collate_targets, empty_sample
from lightning_rcnn.data.slots import SlotLayout, allocate_slots, write_image
from lightning_rcnn.structures import NO_IMAGE, PADDING_LABEL, ImageRecord


def sample(num: int, height: int = 20, width: int = 30, image_id: int = 5) -> Sample:
    return Sample(
        (height, width),
        np.random.default_rng(0).random((num, 4), np.float32),
        np.arange(1, num + 1),
        np.arange(num) % 2 == 1,
        ImageRecord(image_id, "a.jpg", 40, 60),
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_are_padded_right_and_below(dtype: torch.dtype):
    images = allocate_slots(SlotLayout(3, 3, (32, 64), dtype)).fill_(77)  # memory once used
    samples = [sample(1), sample(0, 32, 10, image_id=6), empty_sample("broken")]
    for each, slot in zip(samples[:2], images, strict=False):
        write_image(torch.full((3, *each.size), 9, dtype=torch.uint8), slot)
    batch = collate_images(samples, images)
    assert batch.images.shape == (3, 3, 32, 64)
    assert batch.images.dtype == dtype
    assert (batch.images[0, :, :20, :30] == 9).all()
    assert batch.images.sum() == 9 * 3 * (20 * 30 + 32 * 10)
    assert batch.image_sizes.tolist() == [[20, 30], [32, 10], [0, 0]]
    assert batch.image_ids.tolist() == [5, 6, NO_IMAGE]
    assert batch.targets is None
    assert [record.problem for record in batch.records] == ["", "", "broken"]


@pytest.mark.parametrize(
    ("counts", "padded"), [([0, 0], 8), ([8, 3], 8), ([9], 16), ([512], 512), ([513, 1], 1024), ([1500], 2048)]
)
def test_targets_are_padded_to_a_size_that_recurs(counts: list[int], padded: int):
    samples = [sample(count) for count in counts]
    targets = collate_targets(samples)
    assert targets.boxes.shape == (len(counts), padded, 4)
    for slot, (count, expected) in enumerate(zip(counts, samples, strict=True)):
        assert (targets.boxes[slot, :count].numpy() == expected.boxes).all()
        assert (targets.labels[slot, :count].numpy() == expected.labels).all()
        assert (targets.is_crowd[slot, :count].numpy() == expected.is_crowd).all()
        assert (targets.labels[slot, count:] == PADDING_LABEL).all()
        assert not targets.boxes[slot, count:].any()
        assert not targets.is_crowd[slot, count:].any()
        assert targets.is_object[slot].sum() == (~expected.is_crowd).sum()
