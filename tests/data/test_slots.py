import pytest
import torch

from lightning_rcnn.data.slots import SlotLayout, allocate_slots, clear_padding, write_image


def noise(channels: int, dtype: torch.dtype) -> torch.Tensor:
    pixels = torch.randint(0, 256, (11, 17, channels), generator=torch.Generator().manual_seed(0))
    return pixels.to(dtype).permute(2, 0, 1)


@pytest.mark.parametrize("axes", [(), (-1,), (-2,), (-2, -1)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("channels", [1, 3, 4, 12, 128, 129])
def test_an_image_is_written_and_flipped_as_by_torch(channels: int, dtype: torch.dtype, axes: tuple[int, ...]):
    image = noise(channels, dtype)
    for given in (image, image.contiguous(), image.mT):  # as decoders write, planes, a quarter turn
        slots = allocate_slots(SlotLayout(2, channels, (32, 64), dtype)).fill_(9)
        written = write_image(given, slots[1], axes)
        assert torch.equal(written, given.flip(axes))
        assert written.data_ptr() == slots[1].data_ptr()
        assert (slots[0] == 9).all()
        assert (slots[1] == 9).sum() >= channels * (32 * 64 - 11 * 17)
        clear_padding(slots[1], *given.shape[-2:])
        assert slots[1].sum() == given.sum(dtype=slots.dtype if dtype.is_floating_point else torch.int64)


def test_bytes_are_channels_last_and_numbers_planes():
    assert allocate_slots(SlotLayout(2, 3, (32, 64), torch.uint8)).is_contiguous(memory_format=torch.channels_last)
    assert allocate_slots(SlotLayout(2, 3, (32, 64), torch.float32)).is_contiguous()
