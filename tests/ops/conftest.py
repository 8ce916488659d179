import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def pyramid():
    """Draw four levels of a 2 x 96 x 128 input with strides 4 to 32; return them and their scales."""
    generator = torch.Generator().manual_seed(0)
    strides = (4, 8, 16, 32)
    features = [torch.randn(2, 5, 96 // s, 128 // s, generator=generator) for s in strides]
    return features, [1 / s for s in strides]


@pytest.fixture
def make_rois():
    """Return a function that draws regions of a 2 x 96 x 128 input, some partly or wholly outside, flat or tiny."""

    def make(num_rois, seed=0):
        generator = torch.Generator().manual_seed(seed)
        centers = torch.rand(num_rois, 2, generator=generator) * torch.tensor([160.0, 120.0]) - 16
        sides = torch.exp(torch.randn(num_rois, 2, generator=generator) + 3)
        sides[::7] = 0
        images = torch.randint(0, 2, (num_rois, 1), generator=generator)
        return torch.cat((images, centers - sides / 2, centers + sides / 2), dim=1)

    return make
