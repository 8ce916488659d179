import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes

from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.transforms import Augmentation, View, clip_and_keep, render
from lightning_rcnn.errors import InputError

RULE = ResizeRule(96, 160)


def picture(height: int = 60, width: int = 80) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", ["antialiased", "bilinear"])
@pytest.mark.parametrize(("horizontally", "vertically"), [(False, False), (True, False), (False, True), (True, True)])
def test_boxes_follow_the_image_as_in_torchvision(method: str, horizontally: bool, vertically: bool):
    rule = ResizeRule(96, 160, method)
    boxes = torch.tensor([[3.0, 5.0, 20.0, 25.5], [0.0, 0.0, 80.0, 60.0]])
    image, to_resized = render(picture(), rule, View(horizontally, vertically))
    expected_image, expected = rule(picture()), BoundingBoxes(boxes, format="XYXY", canvas_size=(60, 80))
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
    _, to_resized = render(picture(), RULE, View(flip_x, flip_y))
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    box = to_resized.boxes(np.array([[x, y, x + width, y + height]]))[0]
    mapped = to_resized.points(corners)
    assert np.allclose(box, [*mapped.min(axis=0), *mapped.max(axis=0)])


def test_flipped_pixels_stay_in_their_box():
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    image[:, 10:20, 30:50] = 255
    image, to_resized = render(image, ResizeRule(60, 80), View(flip_horizontally=True, flip_vertically=True))
    x1, y1, x2, y2 = to_resized.boxes(np.array([[30.0, 10.0, 50.0, 20.0]]))[0].astype(int)
    assert (image[:, y1:y2, x1:x2] == 255).all()
    assert image.sum() == 3 * 255 * 10 * 20


def test_boxes_are_clipped_and_those_without_an_area_go():
    boxes = np.array([[-5.0, -5, 10, 10], [90, 5, 130, 8], [100, 0, 120, 5], [5, 5, 5.005, 9], [5, 5, 5.02, 9]])
    clipped, keep = clip_and_keep(boxes, height=60, width=100)
    assert keep.tolist() == [True, True, False, False, True]
    assert clipped[keep].tolist() == [[0, 0, 10, 10], [90, 5, 100, 8], [5, 5, 5.02, 9]]


def test_chance_depends_on_seed_epoch_and_sample_alone():
    strong = Augmentation(0.5, 0.5, 0.4, 0.4, 0.4, 0.1, seed=1)
    assert strong.draw(3, 7) == strong.draw(3, 7)
    others = [Augmentation(0.5, 0.5, 0.4, 0.4, 0.4, 0.1, seed=2).draw(3, 7), strong.draw(4, 7), strong.draw(3, 8)]
    assert strong.draw(3, 7) not in others


def test_one_strength_does_not_change_what_another_draws():
    plain, colourful = Augmentation(0.5, 0.5), Augmentation(0.5, 0.5, 0.4, 0.4, 0.4, 0.1)
    for sample in range(100):
        first, second = plain.draw(0, sample), colourful.draw(0, sample)
        assert (first.flip_horizontally, first.flip_vertically) == (second.flip_horizontally, second.flip_vertically)
        assert (first.brightness, first.contrast, first.saturation, first.hue) == (1.0, 1.0, 1.0, 0.0)


def test_draws_cover_their_ranges():
    augmentation = Augmentation(0.3, 0.0, brightness=0.5, contrast=2.0, hue=0.1)
    views = [augmentation.draw(0, sample) for sample in range(4000)]
    assert sum(view.flip_horizontally for view in views) / 4000 == pytest.approx(0.3, abs=0.03)
    assert not any(view.flip_vertically for view in views)
    for name, low, high in [("brightness", 0.5, 1.5), ("contrast", 0.0, 3.0), ("hue", -0.1, 0.1), ("saturation", 1, 1)]:
        values = [getattr(view, name) for view in views]
        assert low <= min(values) <= low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) <= max(values) <= high


def test_colours_are_those_of_torchvision():
    view = View(brightness=1.3, contrast=0.7, saturation=1.5, hue=0.05)
    expected = picture()
    expected = v2.functional.adjust_brightness(expected, 1.3)
    expected = v2.functional.adjust_contrast(expected, 0.7)
    expected = v2.functional.adjust_saturation(expected, 1.5)
    expected = v2.functional.adjust_hue(expected, 0.05)
    assert (view.recolour(picture()) == expected).all()
    assert View().recolour(picture()) is not None
    assert (View().recolour(picture()) == picture()).all()


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ({"horizontal_flip": 1.5}, "data.horizontal_flip is 1.5"),
        ({"hue": 0.6}, "hue"),
        ({"contrast": -1.0}, "contrast"),
    ],
)
def test_impossible_strengths_are_refused(strengths: dict[str, float], message: str):
    with pytest.raises(InputError, match=message):
        Augmentation(**strengths)
