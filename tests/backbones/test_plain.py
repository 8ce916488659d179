import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.errors import InputError


def plain(name="alexnet", weights=None, norm=None, frozen_stages=0):
    torch.manual_seed(0)
    return PlainBackbone(name, weights, norm, 1e-5, frozen_stages)


def without_values(name, **options):
    """Build a network on the meta device, because VGG16 has 138 million weights to initialize."""
    with torch.device("meta"):
        return plain(name, **options)


def test_a_file_of_torchvision_gives_torchvisions_features_and_layers(tmp_path):
    theirs = torchvision.models.alexnet().eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = plain(weights=str(tmp_path / "weights.pth")).eval()
    images = torch.randn(1, 3, 67, 99)
    (features,) = ours(images)
    torch.testing.assert_close(theirs.features[-1](features), theirs.features(images))
    linear = [layer for layer in theirs.classifier if isinstance(layer, nn.Linear)]
    for layer, their_layer in zip(ours.take_fully_connected(), linear[:2], strict=True):
        assert layer.weight.equal(their_layer.weight)


def test_vgg16_is_cut_before_its_last_pooling_and_its_classes():
    with torch.device("meta"):
        theirs = torchvision.models.vgg16()
    ours = without_values("vgg16")
    assert isinstance(theirs.features[-1], nn.MaxPool2d)
    assert [str(layer) for layer in ours.features] == [str(layer) for layer in theirs.features[:-1]]
    assert [layer.weight.shape for layer in ours.take_fully_connected()] == [(4096, 512 * 7 * 7), (4096, 4096)]


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match="not weights of alexnet"):
        plain("alexnet", str(tmp_path / "resnet18.pth"))


@pytest.mark.parametrize(
    ("name", "frozen_stages", "first_that_learns"),
    [("alexnet", 0, 0), ("alexnet", 1, 3), ("vgg16", 2, 10), ("vgg16", 5, None)],
)
def test_frozen_stages_are_the_first_ones(name, frozen_stages, first_that_learns):
    # VGG16's conv3_1 is features.10, AlexNet's conv2 features.3: what the paper lets learn.
    learning = [
        int(key.split(".")[1])
        for key, value in without_values(name, frozen_stages=frozen_stages).named_parameters()
        if value.requires_grad
    ]
    assert (min(learning) if learning else None) == first_that_learns


def test_frozen_norms_do_not_move():
    backbone = plain(norm="batch_norm", frozen_stages=1).train()
    backbone(torch.randn(2, 3, 64, 64))
    means = [module.running_mean for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert means[0].eq(0).all()
    assert not means[1].eq(0).all()


@pytest.mark.parametrize("number", [-1, 6])
def test_stages_that_do_not_exist_are_refused(number):
    with pytest.raises(InputError, match="frozen_stages"):
        plain(frozen_stages=number)


@pytest.mark.parametrize(("name", "middle"), [("alexnet", 0.0), ("vgg16", 7.5)])
def test_positions_are_centered_at_multiples_of_the_stride(name, middle):
    """By the arithmetic of windows: each moves the center by half of its width less its padding."""
    backbone = without_values(name)
    backbone.align_with_image()
    first, step = 0.0, 1
    for layer in backbone.features:
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            size, stride, padding = (np.ravel(value)[0] for value in (layer.kernel_size, layer.stride, layer.padding))
            first, step = first + ((size - 1) / 2 - padding) * step, step * stride
    assert (first, step) == (middle, 16)
