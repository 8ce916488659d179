"""Images of other channels than RGB, and of more than 8 bits, on their way from the shard to the network."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from lightning_rcnn import DetectionDataModule, pack_samples
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.transforms import (
    JPEG,
    Affine,
    Blur,
    Colors,
    CopyPaste,
    Cutout,
    Grayscale,
    HorizontalFlip,
    Mosaic,
    Noise,
    PhotometricDistortion,
    QuarterTurns,
    Random,
    RandomIoUCrop,
    RandomSizeCrop,
    TrainingImage,
    VerticalFlip,
    ZoomOut,
)
from lightning_rcnn.data.transforms.base import color_of
from lightning_rcnn.data.transforms.torchvision import apply_to_pair
from lightning_rcnn.errors import InputError
from tests.data.rendering import render_alone

BANDS = PixelFormat(12, "float32", (0.0,), (1000.0,))
RULE = ResizeRule(48, 64)


def training_image(image):
    return TrainingImage(
        image=image,
        boxes=np.array([[4, 6, 30, 28], [10, 2, 44, 20]], np.float32),
        labels=np.array([1, 2]),
        is_crowd=np.zeros(2, bool),
        segmentations=[[[4, 6, 30, 6, 30, 28, 4, 28]], [[10, 2, 44, 2, 44, 20, 10, 20]]],
    )


def smooth(seed=0, size=(40, 56)):
    coarse = torch.rand((1, 3, 5, 7), generator=torch.Generator().manual_seed(seed)) * 255
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")[0].round().to(torch.uint8)


def as_bands(image, channels=12):
    return image[[channel % 3 for channel in range(channels)]].float()


@pytest.mark.parametrize(
    "transform",
    [
        HorizontalFlip(p=1.0),
        VerticalFlip(p=1.0),
        QuarterTurns(p=1.0),
        Affine(p=1.0),
        ZoomOut(p=1.0),
        RandomSizeCrop(16, 30, p=1.0),
        RandomIoUCrop(),
        Blur(p=1.0, sigma=(1.0, 1.0)),
        Cutout(p=1.0),
        Colors(brightness=0.5),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_bands_are_transformed_as_colors_are(transform):
    """Bands that repeat the colors of an image look like them after each transform, up to rounding."""
    image = smooth()
    rgb, _ = render_alone(transform(training_image(image), Random(0, 0, 0, 0)), RULE, (64, 96))
    bands, _ = render_alone(transform(training_image(as_bands(image)), Random(0, 0, 0, 0)), RULE, (64, 96))
    assert bands.dtype == torch.float32
    assert bands.shape == (12, *rgb.shape[1:])
    assert (bands - as_bands(rgb)).abs().max() <= 2


@pytest.mark.parametrize("transform", [CopyPaste(p=1.0), Mosaic(p=1.0)], ids=lambda each: type(each).__name__)
def test_bands_are_mixed_as_colors_are(transform):
    images = [smooth(seed) for seed in range(1 + transform.num_partners(Random(0, 0, 0, 0)))]
    rgb = transform.mix(*_first_and_rest(images), Random(0, 0, 0, 0))
    bands = transform.mix(*_first_and_rest([as_bands(image) for image in images]), Random(0, 0, 0, 0))
    assert (bands.image - as_bands(rgb.image)).abs().max() <= 1
    assert np.array_equal(bands.boxes, rgb.boxes)


def _first_and_rest(images):
    first, *rest = map(training_image, images)
    return first, rest


def test_noise_of_floats_has_the_stated_strength():
    image = torch.full((5, 100, 100), 100.0)
    noisy = Noise(p=1.0, sigma=(0.05, 0.05))(training_image(image), Random(0, 0, 0, 0)).image
    assert float((noisy - image).std()) == pytest.approx(0.05 * 255, rel=0.02)
    assert len(noisy.unique()) > 10000


def test_contrast_changes_each_channel_around_its_own_mean():
    image = as_bands(smooth(), 5)
    factor = 0.5
    changed = Colors(contrast=factor)(training_image(image), Random(3, 0, 0, 0)).image
    ratios = (changed - image.mean(dim=(1, 2), keepdim=True)) / (image - image.mean(dim=(1, 2), keepdim=True))
    inside = (changed > 1) & (changed < 254) & ((image - image.mean(dim=(1, 2), keepdim=True)).abs() > 5)
    assert float(ratios[inside].std()) < 0.01


@pytest.mark.parametrize("pair", [v2.RandomHorizontalFlip(p=1.0), v2.GaussianBlur(3), v2.RandomCrop(24)])
def test_torchvisions_transforms_get_floats_from_0_to_1(pair):
    seen = []

    def spying(image, target):
        seen.append(image)
        return pair(image, target)

    image = smooth()
    rgb = apply_to_pair(pair, training_image(image), Random(0, 0, 0, 0), needs_masks=False)
    bands = apply_to_pair(spying, training_image(as_bands(image)), Random(0, 0, 0, 0), needs_masks=False)
    assert float(seen[0].max()) <= 1
    assert (bands.image - as_bands(rgb.image)).abs().max() <= 1


def test_a_transform_that_changes_the_channels_is_refused():
    with pytest.raises(InputError, match=r"gives an image of torch.float32 \[3, 40, 56\]; keep it float32 \[12, "):
        apply_to_pair(
            lambda image, target: (image[:3], target), training_image(as_bands(smooth())), Random(0, 0, 0, 0), False
        )


@pytest.mark.parametrize(
    ("transform", "pixels", "message"),
    [
        (JPEG(), BANDS, "stores RGB of 8 bits only"),
        (JPEG(), PixelFormat(3, "uint16", (0.0,), (4095.0,)), "stores RGB of 8 bits only"),
        (Grayscale(), BANDS, "needs red, green and blue"),
        (PhotometricDistortion(), PixelFormat(1), "use Colors with brightness and contrast"),
        (Colors(hue=0.1), PixelFormat(4), "saturation and hue need red, green and blue"),
        (Colors(brightness=0.1, contrast=0.1), BANDS, ""),
        (Blur(), BANDS, ""),
        (JPEG(), PixelFormat(), ""),
    ],
)
def test_what_a_transform_cannot_do_it_says(transform, pixels, message):
    reason = transform.refusal(pixels)
    assert message in reason
    assert bool(message) == bool(reason)


@pytest.mark.parametrize("transform", [Grayscale(p=1.0), PhotometricDistortion(p=1.0), Colors(0.3, 0.3, 0.3, 0.1)])
def test_colors_of_sixteen_bits_change_as_those_of_eight(transform):
    image = smooth()
    eight = transform(training_image(image), Random(0, 0, 0, 0)).image
    sixteen = transform(training_image(image.float()), Random(0, 0, 0, 0)).image
    assert (sixteen - eight.float()).abs().max() <= 6


def test_colors_of_fills():
    fill = (124, 116, 104)
    assert color_of(fill, torch.zeros(3, 1, 1)).flatten().tolist() == [124, 116, 104]
    assert color_of(fill, torch.zeros(1, 1, 1)).flatten().tolist() == pytest.approx([344 / 3])
    assert color_of(fill, torch.zeros(5, 1, 1)).flatten().tolist() == [124, 116, 104, 124, 116]


@pytest.fixture(scope="module")
def bands_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bands")
    images = np.random.default_rng(0).uniform(0, 1000, (4, 40, 56, 12)).astype(np.float32)
    samples = [{"image": image, "boxes": [[4, 6, 30, 28]], "labels": ["thing"]} for image in images]
    pack_samples(samples, folder / "set", value_range="0,1000")
    return folder / "set", images


@pytest.mark.parametrize("method", ["antialiased", "pillow", "bilinear"])
def test_batches_have_the_channels_and_values_of_the_files(bands_set, method):
    folder, images = bands_set
    data = DetectionDataModule(val=str(folder), eval_batch_size=4, num_workers=0)
    data.resize_rule = ResizeRule(60, 100, method)
    data.setup("validate")
    (batch,) = data.val_dataloader()
    assert batch.images.dtype == torch.float32
    stored = torch.from_numpy(images).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(
        stored * 255 / 1000, size=(60, 84), mode="bilinear", align_corners=False, antialias=method != "bilinear"
    )
    order = [record.image_id - 1 for record in batch.records]
    assert torch.allclose(batch.images[:, :, :60, :84], expected[order], atol=1e-3)
    assert not batch.images[:, :, 60:].any()


def test_eight_bits_of_any_number_of_channels_stay_whole_numbers(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (40, 56, 5), np.uint8)
    pack_samples([{"image": image, "boxes": [[4, 6, 30, 28]], "labels": ["thing"]}], tmp_path / "set")
    data = DetectionDataModule(val=str(tmp_path / "set"), num_workers=0)
    data.resize_rule = ResizeRule(40, 56)
    data.setup("validate")
    (batch,) = data.val_dataloader()
    assert batch.images.dtype == torch.uint8
    assert np.array_equal(batch.images[0, :, :40, :56].permute(1, 2, 0), image)


def test_sets_of_other_channels_do_not_fit_together(tmp_path, bands_set):
    image = np.zeros((40, 56, 5), np.float32)
    pack_samples([{"image": image, "boxes": [[4, 6, 30, 28]], "labels": ["thing"]}], tmp_path / "five")
    data = DetectionDataModule(train=str(bands_set[0]), val=str(tmp_path / "five"), batch_size=1, num_workers=0)
    with pytest.raises(InputError, match=r"data.val: five has 5 channels of float32, and data.train takes 12 channels"):
        data.setup("fit")
    both = DetectionDataModule(train=[str(bands_set[0]), str(tmp_path / "five")], batch_size=1, num_workers=0)
    with pytest.raises(InputError, match=r"data.train: five and set cannot be one data set: set has 12 channels"):
        both.setup("fit")


def test_a_transform_that_cannot_be_applied_is_refused_at_the_start(bands_set):
    data = DetectionDataModule(train=str(bands_set[0]), batch_size=1, num_workers=0, train_transforms=[JPEG()])
    with pytest.raises(InputError, match=r"data.train_transforms: JPEG: stores RGB .* \(set has 12 channels"):
        data.setup("fit")


def test_joined_sets_have_a_range_that_holds_both(tmp_path, bands_set):
    image = np.random.default_rng(0).uniform(-5, 10, (40, 56, 12)).astype(np.float32)
    pack_samples(
        [{"image": image, "boxes": [[4, 6, 30, 28]], "labels": ["thing"]}], tmp_path / "own", value_range="-5,5"
    )
    data = DetectionDataModule(train=[str(bands_set[0]), str(tmp_path / "own")], batch_size=1, num_workers=0)
    data.setup("fit")
    assert data.indexes["train"].pixels == replace(BANDS, low=(-5.0,), high=(1000.0,))
