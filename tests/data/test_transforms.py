"""Our own transforms of training images, against torchvision's."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes

from lightning_rcnn.data.geometry import clip_and_keep
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.transforms import Colors, HorizontalFlip, Random, Resize, TrainingImage, VerticalFlip
from lightning_rcnn.data.transforms.pipeline import DEFAULT_TRANSFORMS, checked_transforms, min_sizes
from lightning_rcnn.errors import InputError
from tests.data.rendering import render_alone

RULE = ResizeRule(96, 160)


def make_image(height: int = 60, width: int = 80) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def sample(image: torch.Tensor, is_mirrored: bool = False, is_upside_down: bool = False) -> TrainingImage:
    none = np.zeros(0, np.int64)
    return TrainingImage(image, np.zeros((0, 4), np.float32), none, none > 0, [], None, is_mirrored, is_upside_down)


def draws(transform: Any, number: int, seed: int = 0, epoch: int = 0, position: int = 0) -> TrainingImage:
    return transform(sample(make_image()), Random(seed, epoch, number, position))


@pytest.mark.parametrize("method", ["antialiased", "bilinear"])
@pytest.mark.parametrize(("horizontally", "vertically"), [(False, False), (True, False), (False, True), (True, True)])
def test_boxes_follow_the_image_as_in_torchvision(method: str, horizontally: bool, vertically: bool):
    rule = ResizeRule(96, 160, method)
    boxes = torch.tensor([[3.0, 5.0, 20.0, 25.5], [0.0, 0.0, 80.0, 60.0]])
    image, to_resized = render_alone(sample(make_image(), horizontally, vertically), rule, (160, 160))
    expected_image, expected = rule(make_image()), BoundingBoxes(boxes, format="XYXY", canvas_size=(60, 80))
    expected = v2.functional.resize(expected, list(expected_image.shape[-2:]))
    if horizontally:
        expected_image, expected = expected_image.flip(-1), v2.functional.horizontal_flip(expected)
    if vertically:
        expected_image, expected = expected_image.flip(-2), v2.functional.vertical_flip(expected)
    assert (image == expected_image).all()
    assert np.allclose(to_resized.boxes(boxes.numpy()), expected.as_subclass(torch.Tensor), atol=1e-4)


@given(st.floats(0, 79), st.floats(0, 59), st.floats(0.1, 40), st.floats(0.1, 40), st.booleans(), st.booleans())
def test_a_box_is_that_of_its_mapped_corners(
    x: float, y: float, width: float, height: float, flip_x: bool, flip_y: bool
):
    """Boxes and points (of polygons) go through one map."""
    _, to_resized = render_alone(sample(make_image(), flip_x, flip_y), RULE, (160, 160))
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    box = to_resized.boxes(np.array([[x, y, x + width, y + height]]))[0]
    mapped = to_resized.points(corners)
    assert np.allclose(box, [*mapped.min(axis=0), *mapped.max(axis=0)])


def test_flipped_pixels_stay_in_their_box():
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    image[:, 10:20, 30:50] = 255
    image, to_resized = render_alone(sample(image, True, True), ResizeRule(60, 80), (96, 96))
    x1, y1, x2, y2 = to_resized.boxes(np.array([[30.0, 10.0, 50.0, 20.0]]))[0].astype(int)
    assert (image[:, y1:y2, x1:x2] == 255).all()
    assert image.sum() == 3 * 255 * 10 * 20


def test_boxes_are_clipped_and_those_without_an_area_go():
    boxes = np.array([[-5.0, -5, 10, 10], [90, 5, 130, 8], [100, 0, 120, 5], [5, 5, 5.005, 9], [5, 5, 5.02, 9]])
    clipped, keep = clip_and_keep(boxes, height=60, width=100)
    assert keep.tolist() == [True, True, False, False, True]
    assert clipped[keep].tolist() == [[0, 0, 10, 10], [90, 5, 100, 8], [5, 5, 5.02, 9]]


@pytest.mark.parametrize(
    ("height", "width", "shape", "expected"),
    [
        (60, 80, (96, 128), (96, 128)),  # the shorter edge to 96
        (60, 120, (96, 160), (80, 160)),  # the longer edge to 160
        (120, 60, (96, 160), (96, 48)),  # 160 x 80 by the rule, then made smaller by 96 / 160
        (120, 60, (160, 32), (64, 32)),
    ],
)
def test_sizes_are_those_of_the_rule_or_fit_into_the_batch(height, width, shape, expected):
    """A transform may have changed the size of an image, after the plan was made."""
    image, to_resized = render_alone(sample(make_image(height, width)), RULE, shape)
    assert image.shape == (3, *expected)
    corner = to_resized.points(np.array([float(width), float(height)]))
    assert corner.tolist() == pytest.approx([expected[1], expected[0]])


@pytest.mark.parametrize(
    "transform",
    [HorizontalFlip(), VerticalFlip(), Colors(brightness=0.5), Colors(hue=0.3)],
    ids=lambda t: type(t).__name__,
)
def test_chance_depends_on_seed_epoch_sample_and_position_alone(transform):
    def drawn(**key: int) -> list[Any]:
        """Of 20 samples, so that two do not agree by chance."""
        results = [draws(transform, **{"number": number, **key}) for number in range(20)]
        return [(result.is_mirrored, result.is_upside_down, result.image.sum().item()) for result in results]

    assert drawn(epoch=3) == drawn(epoch=3)
    assert len({str(drawn(**key)) for key in ({}, {"seed": 1}, {"epoch": 1}, {"position": 1}, {"number": 0})}) == 5


def test_one_strength_does_not_change_what_another_draws():
    for number in range(10):
        contrast, both = draws(Colors(contrast=0.3), number), draws(Colors(contrast=0.3, brightness=1e-9), number)
        assert torch.equal(contrast.image, both.image)


def test_draws_cover_their_ranges():
    flipped = [draws(HorizontalFlip(0.3), number).is_mirrored for number in range(4000)]
    assert sum(flipped) / 4000 == pytest.approx(0.3, abs=0.03)
    assert not any(draws(VerticalFlip(0.0), number).is_upside_down for number in range(100))
    assert all(draws(VerticalFlip(1.0), number).is_upside_down for number in range(100))
    numbers = [Random(0, 0, number, 0).uniform(-2.0, 3.0) for number in range(4000)]
    assert np.histogram(numbers, bins=5, range=(-2, 3))[0] == pytest.approx(800, abs=100)
    assert -2 <= min(numbers) <= -1.99
    assert 2.99 <= max(numbers) <= 3


def test_an_image_that_is_mirrored_twice_is_as_before():
    twice = draws(HorizontalFlip(1.0), 0)
    assert twice.is_mirrored
    assert not HorizontalFlip(1.0)(twice, Random(0, 0, 0, 1)).is_mirrored


def test_colors_are_those_of_torchvision():
    colors = Colors(brightness=0.3, contrast=0.7, saturation=2.0, hue=0.05)
    random = Random(3, 1, 4, 1)
    expected = v2.functional.adjust_brightness(make_image(), random.uniform(0.7, 1.3))
    expected = v2.functional.adjust_contrast(expected, random.uniform(0.3, 1.7))
    expected = v2.functional.adjust_saturation(expected, random.uniform(0.0, 3.0))
    expected = v2.functional.adjust_hue(expected, random.uniform(-0.05, 0.05))
    assert torch.equal(colors(sample(make_image()), Random(3, 1, 4, 1)).image, expected)
    assert torch.equal(draws(Colors(), 0).image, make_image())


def test_plain_data_become_transforms_and_the_default_is_a_flip():
    (flip,) = checked_transforms(DEFAULT_TRANSFORMS)
    assert isinstance(flip, HorizontalFlip)
    assert flip.p == 0.5
    plain = {"class_path": "lightning_rcnn.data.transforms.Resize", "init_args": {"min_sizes": [3, 5]}}
    built = checked_transforms([flip, plain])
    assert min_sizes(built) == [3, 5]
    assert min_sizes([flip]) == []


def test_a_number_for_a_list_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"^Resize\.min_sizes: 800 is not a list; give one, such as \[800\]$"):
        Resize(800)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: HorizontalFlip(1.5), "HorizontalFlip: p 1.5 is not a probability"),
        (lambda: VerticalFlip(float("nan")), "VerticalFlip: p nan is not a probability"),
        (lambda: Colors(hue=0.6), "Colors: hue 0.6 is out of range; give 0 to 0.5"),
        (lambda: Colors(contrast=-1.0), "Colors: contrast -1.0"),
        (lambda: Resize([]), r"Resize: min_sizes is \[\]"),
        (lambda: Resize([0, 5]), r"Resize: min_sizes is \[0, 5\]"),
        (lambda: checked_transforms([Resize([5]), HorizontalFlip()]), "Resize is not last; put it last"),
        (lambda: checked_transforms([HorizontalFlip]), r"HorizontalFlip is a class; write HorizontalFlip\(...\)"),
        (lambda: checked_transforms([v2.RandomAffine]), "RandomAffine is a class"),
        (lambda: checked_transforms([0.5]), "0.5 is not callable"),
        (lambda: checked_transforms(["HorizontalFlip"]), "'HorizontalFlip' is not callable"),
        (lambda: checked_transforms(HorizontalFlip()), " is HorizontalFlip; give a list"),
        (lambda: checked_transforms(None), " is NoneType; give a list"),
    ],
)
def test_what_is_no_transform_is_refused_in_one_line(build, message: str):
    with pytest.raises(InputError, match=f"^data.train_transforms.*{message}") as caught:
        build()
    assert "\n" not in str(caught.value)
