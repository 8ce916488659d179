"""Weights for RGB in a first convolution for other channels."""

import pytest
import torch
from torch.nn.functional import conv2d

from lightning_rcnn import FasterRCNN
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.backbones.stem import adapt_stem
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.detectors.loading import load_detector, save_detector
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.errors import InputError

WEIGHT = torch.randn((8, 3, 7, 7), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3, 6, 12, 15])
def test_equal_channels_give_what_they_gave_as_rgb(channels):
    gray = torch.rand((2, 1, 24, 24), generator=torch.Generator().manual_seed(1))
    expected = conv2d(gray.expand(-1, 3, -1, -1), WEIGHT)
    adapted = conv2d(gray.expand(-1, channels, -1, -1), adapt_stem(WEIGHT, channels))
    assert torch.allclose(adapted, expected, atol=1e-4)


@pytest.mark.parametrize("channels", [2, 4, 5, 16])
def test_colors_are_repeated_and_scaled(channels):
    """As `timm.models.adapt_input_conv` does: repeat, cut, times 3 / C."""
    adapted = adapt_stem(WEIGHT, channels)
    for channel in range(channels):
        assert torch.allclose(adapted[:, channel], WEIGHT[:, channel % 3] * 3 / channels)


def test_three_channels_keep_their_weights():
    assert torch.equal(adapt_stem(WEIGHT, 3), WEIGHT)


def test_a_backbone_loads_weights_for_rgb(tmp_path):
    rgb = ResNetFPN("resnet18")
    weights = {key.removeprefix("body."): value for key, value in rgb.state_dict().items() if "fpn" not in key}
    torch.save(weights, tmp_path / "imagenet.pth")
    loaded = ResNetFPN("resnet18", weights=str(tmp_path / "imagenet.pth"), in_channels=12).state_dict()
    assert torch.equal(loaded["body.conv1.weight"], adapt_stem(weights["conv1.weight"], 12))
    others = weights.keys() - {"conv1.weight"}
    assert all(torch.equal(loaded[f"body.{key}"], weights[key]) for key in others)


def test_a_plain_backbone_takes_other_channels():
    with torch.device("meta"):
        backbone = PlainBackbone("alexnet", in_channels=12)
        assert backbone(torch.empty(1, 12, 128, 128))[0].shape == (1, 256, 7, 7)


def detector(channels, pixels=None, **options):
    pixels = pixels or PixelFormat(channels, "float32", (0.0,), (1.0,))
    return FasterRCNN(
        class_names=["thing"],
        backbone=ResNetFPN("resnet18", channels=16, in_channels=channels),
        preprocessing=PreprocessingSettings(min_size=64, max_size=64, pixels=pixels),
        **options,
    )


def test_a_detector_for_rgb_starts_one_for_bands_and_stores_them(tmp_path):
    rgb = detector(3, PixelFormat())
    save_detector(rgb, tmp_path / "rgb.ckpt")
    bands = detector(12, weights=str(tmp_path / "rgb.ckpt"))
    key = "backbone.body.conv1.weight"
    assert torch.equal(bands.state_dict()[key], adapt_stem(rgb.state_dict()[key], 12))
    save_detector(bands, tmp_path / "bands.ckpt")
    assert load_detector(tmp_path / "bands.ckpt").pixels == bands.pixels


def test_backbone_and_preprocessing_have_to_agree():
    with pytest.raises(InputError, match=r"in_channels is 4, but the images have 12 channels of float32"):
        detector(4, PixelFormat(12, "float32"))


@pytest.mark.parametrize(
    ("channels", "settings", "mean"),
    [
        (3, {}, [0.485, 0.456, 0.406]),
        (1, {}, [0.449]),
        (5, {}, [0.485, 0.456, 0.406, 0.485, 0.456]),
        (2, {"pixel_mean": (0.1, 0.2), "pixel_std": (1.0, 1.0)}, [0.1, 0.2]),
    ],
)
def test_mean_of_each_channel(channels, settings, mean):
    build = PreprocessingSettings(pixels=PixelFormat(channels), **settings).build()
    assert build.pixel_mean.flatten().tolist() == pytest.approx(mean)
    images = torch.rand((2, channels, 8, 8)) * 255
    sizes = torch.tensor([[8, 8], [4, 8]])
    normalized = build.normalize(images, sizes)
    std = torch.tensor(settings.get("pixel_std", [0.226] if channels == 1 else [0.229, 0.224, 0.225, 0.229, 0.224]))
    expected = (images / 255 - torch.tensor(mean)[:, None, None]) / std[:channels, None, None]
    assert torch.allclose(normalized[0], expected[0], atol=1e-5)
    assert not normalized[1, :, 4:].any()


def test_reversed_colors_are_the_first_three_channels():
    settings = {"pixel_mean": (0.0,) * 3, "pixel_std": (1.0,) * 3, "channel_order": "bgr"}
    build = PreprocessingSettings(pixels=PixelFormat(5), **settings).build()
    images = torch.arange(5.0).reshape(1, 5, 1, 1) * 51
    assert build.normalize(images, torch.tensor([[1, 1]])).flatten().tolist() == pytest.approx([0.4, 0.2, 0, 0.6, 0.8])


def test_a_wrong_number_of_means_is_refused():
    with pytest.raises(InputError, match=r"pixel_mean: 4 numbers for 12 channels; give three, or one"):
        PreprocessingSettings(pixels=PixelFormat(12), pixel_mean=(0.0,) * 4)
