"""Detecting from Python: every form of an image, one or many, alone or together."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import box_iou

from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.errors import InputError

LOW = {"threshold": 0.2}
SIZES = [(50, 70), (64, 64), (120, 90), (50, 70), (33, 90), (50, 70), (90, 120)]


@pytest.fixture(scope="module")
def pixels():
    """An image of noise, [h, w, 4]; the last channel is how opaque it is."""
    return np.random.default_rng(0).integers(0, 256, (50, 70, 4), dtype=np.uint8)


@pytest.fixture(scope="module")
def images():
    """Images of several sizes, among which some are alike."""
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in SIZES]


def assert_same(found, expected, **tolerance):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, values in other.items():
            torch.testing.assert_close(one[name], values, msg=name, **tolerance)


COLORS = {
    "a path": lambda image, folder: folder / "color.png",
    "a string": lambda image, folder: str(folder / "color.png"),
    "a PIL image": lambda image, folder: Image.fromarray(image[..., :3]),
    "a PIL image with alpha": lambda image, folder: Image.fromarray(image),
    "an array": lambda image, folder: image[..., :3],
    "an array with alpha": lambda image, folder: image,
    "an array that is not contiguous": lambda image, folder: np.asfortranarray(image)[..., :3],
    "a list": lambda image, folder: [image[..., :3]],
    "a tuple": lambda image, folder: (folder / "color.png",),
    "a batch": lambda image, folder: torch.from_numpy(image[None, ..., :3].copy()).permute(0, 3, 1, 2),
}
GRAYS = {
    "a gray file": lambda gray, folder: folder / "gray.png",
    "a gray PIL image": lambda gray, folder: Image.fromarray(gray),
    "a PIL image of 16 bits": lambda gray, folder: Image.fromarray(gray.astype(np.uint16) * 257),
    "an array without channels": lambda gray, folder: gray,
    "an array with one channel": lambda gray, folder: gray[..., None],
    "a PIL image with a palette": lambda gray, folder: Image.fromarray(gray).convert("P"),
}


def test_every_form_of_an_image_gives_the_same(make_detector, pixels, tmp_path):
    detector = make_detector()
    Image.fromarray(pixels[..., :3]).save(tmp_path / "color.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "gray.png")
    color = torch.from_numpy(pixels[..., :3].copy()).permute(2, 0, 1)
    gray = color[:1].repeat(3, 1, 1)
    for forms, tensor, given in ((COLORS, color, pixels), (GRAYS, gray, pixels[..., 0])):
        expected = detector.detect(tensor, threshold=0.0)
        assert len(expected[0]["boxes"]) > 5
        for name, form in forms.items():
            found = detector.detect(form(given, tmp_path), threshold=0.0)
            assert len(found) == 1, name
            assert_same(found, expected, rtol=0, atol=0)
    # Gray is another image than color, so that the comparisons can fail.
    differing = [detector.detect(image, threshold=0.0)[0]["scores"] for image in (color, gray)]
    assert differing[0].shape != differing[1].shape or not differing[0].equal(differing[1])
    assert detector.detect([]) == []
    mixed = [tmp_path / "color.png", pixels[..., 0], color]
    assert_same(detector.detect(mixed, threshold=0.0), [detector.detect(one, threshold=0.0)[0] for one in mixed])


@pytest.mark.parametrize("batch_size", [2, 3, 100])
@pytest.mark.parametrize("kind", ["boxes", "masks", "searched proposals"])
@pytest.mark.end_to_end
def test_images_together_give_what_each_gives_alone(make_detector, make_mask_rcnn, images, kind, batch_size):
    if kind == "searched proposals":
        torch.manual_seed(0)
        detector = FastRCNN(
            ["a", "b"],
            backbone=PlainBackbone("alexnet"),
            box={"head": {"width": 16}},
            proposals={"limit": 40, "width": 64},
            preprocessing={"min_size": 64, "max_size": 96},
        )
    else:
        detector = make_detector() if kind == "boxes" else make_mask_rcnn()
    alone = [detector.detect(image, threshold=0.2)[0] for image in images]
    assert all(len(found["boxes"]) > 0 for found in alone)
    together = detector.detect(images, threshold=0.2, batch_size=batch_size)
    for found, size in zip(together, SIZES, strict=True):
        assert ("masks" in found) == (kind == "masks")
        assert "masks" not in found or found["masks"].shape == (len(found["boxes"]), *size)
        height, width = size
        assert (found["boxes"] <= torch.tensor([width, height, width, height])).all()
        assert (found["scores"] >= 0.2).all()
        assert (found["scores"].diff() <= 0).all()
    for found, expected in zip(together, alone, strict=True):
        masks = found.pop("masks", None), expected.pop("masks", None)
        assert masks[0] is None or (masks[0] == masks[1]).float().mean() > 0.999  # a pixel may lie on the line
    assert_same(together, alone, rtol=1e-4, atol=1e-3)


def test_a_threshold_for_each_class(make_detector, images):
    """What is found with a list is of each class what its threshold alone finds."""
    detector = make_detector()
    [everything] = detector.detect(images[0], threshold=0.0)
    thresholds = [everything["scores"][everything["labels"] == label].median().item() for label in (1, 2, 3)]
    [found] = detector.detect(images[0], threshold=thresholds)
    for label, threshold in enumerate(thresholds, start=1):
        [expected] = detector.detect(images[0], threshold=threshold)
        scores = found["scores"][found["labels"] == label]
        assert 0 < len(scores) < (everything["labels"] == label).sum()
        assert scores.tolist() == expected["scores"][expected["labels"] == label].tolist()


def test_across_classes_only_the_best_of_a_place_stays(make_mask_rcnn, images):
    detector = make_mask_rcnn()
    for image, found in zip(images[:3], detector.detect(images[:3], nms_across_classes=True, **LOW), strict=True):
        [everything] = detector.detect(image, **LOW)
        overlaps = box_iou(everything["boxes"], everything["boxes"])
        kept: list[int] = []
        for index in range(len(overlaps)):
            if not any(overlaps[index, other] > detector.suppression.iou for other in kept):
                kept.append(index)
        assert 0 < len(kept) < len(overlaps)
        for name, values in everything.items():
            torch.testing.assert_close(found[name], values[kept], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"tile": 64, "overlap": 0.4}, {"tta": "flip"}])
def test_across_classes_nothing_below_its_threshold_suppresses(make_detector, images, options):
    """Every box is a circle of .5, below the threshold of circles, and a square of .4, above that of squares."""
    detector = make_detector(box={"score_threshold": 0.0})
    with torch.no_grad():
        for parameter in detector.box.predictor.parameters():
            parameter.zero_()
            if parameter.shape == (4,):
                parameter.copy_(torch.tensor([0.05, 0.5, 0.4, 0.05]).log())
    [found] = detector.detect(images[2], threshold=[0.6, 0.1, 0.9], nms_across_classes=True, **options)
    assert len(found["labels"]) > 2
    assert (found["labels"] == 2).all()


@pytest.mark.parametrize("options", [{"tile": 64, "overlap": 0.4}, {"tta": "flip"}])
def test_tiles_and_views_have_one_object_in_a_place_if_asked_or_if_the_model_is_so(make_detector, images, options):
    def most_overlap(detector, **further):
        [found] = detector.detect(images[2], **LOW, **options, **further)
        assert len(found["boxes"]) > 2
        return box_iou(found["boxes"], found["boxes"]).fill_diagonal_(0).max()

    detector, across = make_detector(), make_detector(box={"nms_across_classes": True})
    assert most_overlap(detector) > 0.55
    assert most_overlap(detector, nms_across_classes=True) <= 0.5
    assert most_overlap(across) <= 0.5


def test_no_more_images_go_together_than_wanted_and_only_of_one_padded_size(make_detector, images, monkeypatch):
    detector, seen = make_detector(), []
    predict = detector.predict
    monkeypatch.setattr(detector, "predict", lambda inputs: seen.append(tuple(inputs.images.shape)) or predict(inputs))
    detector.detect(images, batch_size=2)
    assert sum(shape[0] for shape in seen) == len(images)
    assert max(shape[0] for shape in seen) == 2
    assert len(seen) < len(images)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"threshold": -0.1}, "threshold -0.1: a score is from 0 to 1"),
        ({"threshold": 50}, "threshold 50: a score is from 0 to 1"),
        ({"threshold": math.nan}, "threshold nan: a score is from 0 to 1"),
        ({"threshold": [0.5, 2.0]}, "threshold 2.0: a score is from 0 to 1"),
        ({"threshold": [0.5] * 2}, "2 thresholds for 3 classes: give one, or one for each class"),
        ({"threshold": "0.5"}, "threshold '0.5': a score is from 0 to 1"),
        ({"batch_size": 0}, "batch_size 0: a whole number, at least 1"),
        ({"batch_size": 1.5}, "batch_size 1.5: a whole number, at least 1"),
        ({"batch_size": -1}, "batch_size -1: a whole number, at least 1"),
    ],
)
def test_options_that_cannot_be_are_refused(make_detector, options, line):
    with pytest.raises(InputError) as caught:
        make_detector().detect(torch.zeros(3, 64, 64, dtype=torch.uint8), **options)
    assert str(caught.value) == line


def not_an_image(kind, folder):
    (folder / "text.jpg").write_text("no image")
    return {
        "a file that is not there": folder / "nowhere.jpg",
        "a folder": folder,
        "a file of text": str(folder / "text.jpg"),
        "an array of floats": np.zeros((8, 8, 3)),
        "an array of another shape": np.zeros((3, 8, 8), np.uint8),
        "a tensor of floats": torch.zeros(3, 8, 8),
        "a tensor of another shape": torch.zeros(8, 8, 3, dtype=torch.uint8),
        "an image without pixels": torch.zeros(3, 0, 8, dtype=torch.uint8),
        "a number": 3,
        "nothing": None,
        "a list with nothing": [torch.zeros(3, 8, 8, dtype=torch.uint8), None],
        "a list of lists": [[1, 2, 3]],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("a file that is not there", "nowhere.jpg: cannot be read as an image"),
        ("a folder", ": a folder; give its files"),
        ("a file of text", "text.jpg: cannot be read as an image"),
        ("an array of floats", "image 0: array of float64 (8, 8, 3)"),
        ("an array of another shape", "image 0: array of uint8 (3, 8, 8)"),
        ("a tensor of floats", "image 0: torch.float32 (3, 8, 8)"),
        ("a tensor of another shape", "image 0: torch.uint8 (8, 8, 3)"),
        ("an image without pixels", "image 0: (3, 0, 8) has no pixels"),
        ("a number", "image 0: int"),
        ("nothing", "image 0: NoneType"),
        ("a list with nothing", "image 1: NoneType"),
        ("a list of lists", "image 0: list"),
    ],
)
def test_what_is_no_image_is_named_in_one_line(make_detector, tmp_path, kind, line):
    detector = make_detector().train()
    with pytest.raises(InputError) as caught:
        detector.detect(not_an_image(kind, tmp_path))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert detector.training


def test_a_detector_is_left_as_it_was(make_detector, images):
    detector = make_detector().train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    (found,) = detector.detect(images[0], threshold=0.0)
    assert detector.training
    assert not found["boxes"].requires_grad
    assert all(value.equal(before[name]) for name, value in detector.state_dict().items())  # norms too
