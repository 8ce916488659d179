"""The pixels of an affine map, warped some rows at a time, against torchvision's of the whole image."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from lightning_rcnn.data.transforms.warp_affine import warp_affine

FILL = [123.0, 116.0, 103.0]


@pytest.mark.parametrize("height", [1, 2, 63, 64, 65, 128, 150])
@pytest.mark.parametrize("form", ["planes", "channels last", "floats"])
def test_it_is_torchvisions_to_the_bit(height: int, form: str):
    generator = torch.Generator().manual_seed(height)
    for number in range(4):
        width = int(torch.randint(1, 90, (1,), generator=generator))
        image: Tensor = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator)
        image = image.permute(2, 0, 1) if form == "channels last" else image.permute(2, 0, 1).contiguous()
        image = image.float() if form == "floats" else image
        degrees, shear = (30.0 * torch.randn(2, generator=generator)).tolist()
        scale, shift = 0.5 + 0.5 * number, torch.randint(-20, 20, (2,), generator=generator).tolist()
        linear = v2.InterpolationMode.BILINEAR
        expected = v2.functional.affine(image, degrees, shift, scale, [shear, 0.0], interpolation=linear, fill=FILL)
        before = image.clone()
        assert torch.equal(warp_affine(image, degrees, shift, scale, shear, FILL), expected)
        assert torch.equal(image, before)
