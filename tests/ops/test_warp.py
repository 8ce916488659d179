import pytest
import torch
import torch.nn.functional as F

from lightning_rcnn.ops.warp import warp_regions


def ramp(height=40, width=60):
    """Make an image whose channels are x, y and 1 at the centers of pixels, so that samples show their positions."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack((x, y, torch.ones_like(x)))[None]


def test_a_box_fills_the_square_but_for_the_context():
    # A box of 12 x 6 pixels about (30, 20) fills the 6 middle pixels of 10: one is 2 pixels wide and 1 high.
    (square,) = warp_regions(ramp(), torch.tensor([[[24.0, 17, 36, 23]]]), size=10, context=2)
    x, y, one = square
    torch.testing.assert_close(x, torch.arange(21.0, 40, 2).expand(10, 10))
    torch.testing.assert_close(y, torch.arange(15.5, 25)[:, None].expand(10, 10))
    torch.testing.assert_close(one, torch.ones(10, 10))


def test_papers_numbers():
    """227 pixels with 16 of context on each side: the grown box is 227/195 as large."""
    (square,) = warp_regions(ramp(), torch.tensor([[[15.0, 10, 45, 30]]]))
    grown = 30 * 227 / 195
    assert square.shape == (3, 227, 227)
    torch.testing.assert_close(square[0, 100, 0].item(), 30 - grown / 2 + grown / 227 / 2, atol=1e-4, rtol=0)
    torch.testing.assert_close(square[0, 100, 226].item(), 30 + grown / 2 - grown / 227 / 2, atol=1e-4, rtol=0)


@pytest.mark.parametrize("box", [(8, 4, 40, 36), (3, 10, 19, 14), (0, 0, 60, 40)])
def test_without_context_it_is_a_crop_that_torch_resizes(box):
    """On whole pixels and inside of the image; at the border torch repeats the last pixel, where ours looks beyond."""
    images = torch.rand(1, 3, 40, 60, generator=torch.Generator().manual_seed(0))
    x1, y1, x2, y2 = box
    resized = F.interpolate(images[..., y1:y2, x1:x2], (24, 24), mode="bilinear", align_corners=False, antialias=False)
    warped = warp_regions(images, torch.tensor([[box]]).float(), size=24, context=0)
    # Of an enlarged crop the outer pixels lie less than half a pixel from its edge.
    inner = slice(4, 20)
    torch.testing.assert_close(warped[..., inner, inner], resized[..., inner, inner], atol=1e-5, rtol=1e-5)


def test_outside_of_the_image_is_the_mean():
    (square,) = warp_regions(ramp(), torch.tensor([[[-20.0, -20, 20, 20]]]), size=8, context=0)
    assert (square[:, :4] == 0).all()
    assert (square[:, :, :4] == 0).all()
    assert (square[2, 4:, 4:] == 1).all()


def test_regions_come_image_by_image_in_the_memory_format_of_the_images():
    images = torch.cat((ramp(), ramp() + 100)).contiguous(memory_format=torch.channels_last)
    boxes = torch.tensor([[[10.0, 10, 20, 20], [30, 20, 40, 30]], [[10, 10, 20, 20], [0, 0, 0, 0]]])
    squares = warp_regions(images, boxes, size=6, context=1)
    assert squares.is_contiguous(memory_format=torch.channels_last)
    assert torch.isfinite(squares).all()
    centers = squares[:, :2].mean(dim=(2, 3))
    torch.testing.assert_close(centers[:3], torch.tensor([[15.0, 15], [35, 25], [115, 115]]))
