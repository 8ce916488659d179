"""Images that are decoded into the memory of their batch: the same bytes as those that are copied there."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch

from lightning_rcnn.data import transforms as ours
from lightning_rcnn.data.batch_images import UnrenderedImages
from lightning_rcnn.data.batch_memory import BatchMemory
from lightning_rcnn.data.dataset import BatchRequest, DetectionDataset
from lightning_rcnn.data.decoded_batch import DecodedBatch
from lightning_rcnn.data.decoded_bytes import DecodedBytes
from lightning_rcnn.data.decoded_image import decode_with_damage
from lightning_rcnn.data.reader import RawSample
from lightning_rcnn.data.resize import ResizeRule
from tests.data.test_device_transforms import SHAPE, NoiseReader


class OwnBuffer:
    """A buffer in this process, which is no worker."""

    def slots(self, layout: Any) -> torch.Tensor:
        return layout.arrange(torch.full((layout.num_bytes,), 7, dtype=torch.uint8))

    def release(self) -> None:
        pass


class OwnMemory(BatchMemory):
    """Memory that gives such buffers."""

    def take(self, num_bytes: int) -> Any:
        return OwnBuffer()


class JpegReader(NoiseReader):
    """Every fifth file is cut off, every fifth has pixels of its own."""

    def read(self, number: int) -> RawSample:
        raw = super().read(number)
        assert raw.pixels is not None
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(raw.pixels.permute(1, 2, 0).numpy()))
        if number % 5 == 4:
            return raw
        return replace(raw, image=data[: len(data) // 2] if number % 5 == 3 else data, pixels=None)


@pytest.mark.parametrize("num_bytes", [10**6, 30_000])
@pytest.mark.parametrize(
    "transforms",
    [
        [],
        [ours.RandomSizeCrop(10, 30, p=1.0), ours.HorizontalFlip()],
        [ours.CopyPaste(p=0.7), ours.Noise(p=0.5)],
        [ours.Cutout(p=0.5), ours.Affine(p=0.3)],
    ],
    ids=["nothing", "crops", "pasted", "changed"],
)
def test_batches_are_those_of_images_that_are_copied(transforms: list[Any], num_bytes: int):
    for first in range(0, 36, 6):
        request = BatchRequest(0, 0, SHAPE, tuple(range(first, first + 6)))
        batches = []
        for memory in (BatchMemory(0, 0), OwnMemory(0, num_bytes)):
            samples = DetectionDataset(
                JpegReader(), [ResizeRule(64, 110)], "training", transforms, images=UnrenderedImages
            )
            samples.memory = memory
            batch = samples[request]
            assert isinstance(batch, DecodedBatch)
            batches.append(batch)
        copied, own = batches
        assert [record.problem for record in own.records] == [record.problem for record in copied.records]
        assert torch.equal(own.rendered().images, copied.rendered().images)


def test_an_image_that_is_there_is_not_copied_and_a_part_of_it_is_moved():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    data, memory = simplejpeg.encode_jpeg(pixels), DecodedBytes(OwnMemory(0, 10_000))
    first = decode_with_damage(data, apply_exif=False, room=memory.room).pixels
    expected = decode_with_damage(data, apply_exif=False).pixels
    assert torch.equal(first, expected)
    assert first.data_ptr() == torch.from_numpy(memory.room).data_ptr()
    assert memory.append(first) == 0
    second = decode_with_damage(data, apply_exif=False, room=memory.room).pixels
    assert memory.append(second[:, 3:20, 5:9]) == 3600  # from its own place
    assert len(memory.room) == 10_000 - 3600 - 17 * 4 * 3
    third = decode_with_damage(data, apply_exif=False, room=memory.room[:3599]).pixels  # does not fit
    assert torch.equal(third, expected)
    both, _, buffer = memory.finish()
    assert buffer is not None
    assert torch.equal(both[:3600].view(40, 30, 3).permute(2, 0, 1), expected)
    assert torch.equal(both[3600:].view(17, 4, 3).permute(2, 0, 1), expected[:, 3:20, 5:9])
