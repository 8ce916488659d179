import pytest
import torch
import torchvision
from torch import nn

from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.errors import InputError


def plain(name="alexnet", weights=None, norm=None, frozen_stages=0):
    torch.manual_seed(0)
    return PlainBackbone(name, weights, norm, 1e-5, frozen_stages)


@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_a_file_of_torchvision_gives_torchvisions_features_and_layers(name, tmp_path):
    theirs = getattr(torchvision.models, name)().eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = plain(name, str(tmp_path / "weights.pth")).eval()
    images = torch.randn(1, 3, 67, 99)
    (features,) = ours(images)
    torch.testing.assert_close(theirs.features[-1](features), theirs.features(images))
    linear = [layer for layer in theirs.classifier if isinstance(layer, nn.Linear)]
    for layer, their_layer in zip(ours.take_fully_connected(), linear[:2], strict=True):
        assert layer.weight.equal(their_layer.weight)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match="not weights of vgg16"):
        plain("vgg16", str(tmp_path / "resnet18.pth"))


@pytest.mark.parametrize(
    ("name", "frozen_stages", "first_that_learns"),
    [("alexnet", 0, 0), ("alexnet", 1, 3), ("vgg16", 2, 10), ("vgg16", 5, None)],
)
def test_frozen_stages_are_the_first_ones(name, frozen_stages, first_that_learns):
    # VGG16's conv3_1 is features.10, AlexNet's conv2 features.3: what the paper lets learn.
    learning = [
        int(key.split(".")[1])
        for key, value in plain(name, frozen_stages=frozen_stages).named_parameters()
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
def test_positions_look_at_multiples_of_the_stride(name, middle):
    """The pixels that change a position of the map lie around 16 i + middle: as many on one side as on the other."""
    backbone = plain(name).eval()
    backbone.align_with_image()
    for module in backbone.modules():  # all weights positive, so that no pixel is hidden behind a ReLU
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1.0)
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.MaxPool2d):
            module.forward = lambda x, m=module: nn.functional.avg_pool2d(x, m.kernel_size, m.stride, m.padding)
    images = torch.ones(1, 3, 480, 480, dtype=torch.float64, requires_grad=True)
    (features,) = backbone.double()(images)
    features[0, 0, 15, 15].backward()
    touched = images.grad[0, 0].sum(0).nonzero().squeeze(1)
    assert (touched.min() + touched.max()) / 2 == 15 * 16 + middle
