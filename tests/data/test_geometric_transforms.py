"""Crops, zoom, turns and affine maps: against torchvision for the same draw, and what holds for all of them."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms import v2

from lightning_rcnn.data.transforms import (
    Affine,
    HorizontalFlip,
    QuarterTurns,
    Random,
    RandomIoUCrop,
    RandomSizeCrop,
    ScaleJitter,
    TrainingImage,
    VerticalFlip,
    ZoomOut,
)
from lightning_rcnn.data.transforms.pipeline import checked_transforms
from lightning_rcnn.data.transforms.quarter_turns import turned
from lightning_rcnn.data.transforms.torchvision import apply_to_pair
from lightning_rcnn.data.transforms.view import displayed_size, upright
from lightning_rcnn.errors import InputError
from tests.data.geometric_scenes import HEIGHT, NUM_OBJECTS, WIDTH, as_pair, box_of, iou, outlines, rendered, scene

RLE_OR_POLYGONS = pytest.mark.parametrize("kind", ["rle", "polygons"])


@pytest.fixture
def same_draws(monkeypatch):
    """Let torchvision draw the numbers that ours draws."""

    def feed(random: Random) -> None:
        def rand(number: int) -> torch.Tensor:
            return torch.tensor([random.uniform() for _ in range(number)], dtype=torch.float64)

        monkeypatch.setattr(torch, "rand", rand)
        monkeypatch.setattr(torch, "randint", lambda low, high, size: torch.tensor([random.whole(low, high - 1)]))

    return feed


def assert_same(result: TrainingImage, image: torch.Tensor, target: dict[str, Any]) -> None:
    """Boxes with masks are compared with those around what torchvision leaves of the masks."""
    dense = rendered(result)
    assert torch.equal(dense.image, image)
    boxes = target["boxes"].as_subclass(torch.Tensor)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)  # torchvision makes boxes empty
    if len(target["masks"]):
        masks = target["masks"].numpy()
        kept &= torch.from_numpy(masks.any(axis=(1, 2)))
        boxes = torch.tensor([box_of(mask) for mask in masks])
        for ours, theirs in zip(dense.masks, masks[kept], strict=True):
            assert iou(ours, theirs) >= 0.999
    assert dense.labels.tolist() == target["labels"][kept].tolist()
    assert np.allclose(dense.boxes, boxes[kept], atol=1e-3)


@pytest.mark.parametrize("kind", ["rle", "polygons", "none"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (RandomIoUCrop(), v2.RandomIoUCrop()),
        (RandomIoUCrop(0.2, 0.7, 0.8, 1.4, [0.0, 0.2], 5), v2.RandomIoUCrop(0.2, 0.7, 0.8, 1.4, [0.0, 0.2], 5)),
        (ZoomOut(fill=[1, 2, 3], p=0.7), v2.RandomZoomOut({tv_tensors.Image: (1, 2, 3), tv_tensors.Mask: 0}, p=0.7)),
    ],
    ids=["iou", "small iou", "zoom out"],
)
def test_crop_and_zoom_are_those_of_torchvision_from_the_same_numbers(same_draws, ours, theirs, kind: str):
    sizes = set()
    for number in range(25):
        sample = scene(number, kind)
        result = ours(sample, Random(0, 0, number, 0))
        same_draws(Random(0, 0, number, 0))
        image, target = theirs(*as_pair(sample))
        assert_same(result, image, target)
        sizes.add(displayed_size(result))
    assert len(sizes) > 10


@RLE_OR_POLYGONS
@pytest.mark.parametrize(("mirror", "turn"), [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)])
def test_a_size_crop_is_a_resized_crop_of_torchvision_in_the_displayed_frame(kind: str, mirror: float, turn: float):
    """The crop is drawn after the flip and the turn, as if they had been applied."""
    crop, last = RandomSizeCrop(20, 60, p=1.0), ScaleJitter((64, 64), (0.3, 1.0))
    for number in range(12):
        sample, image = scene(number, kind), scene(number).image
        sample = HorizontalFlip(mirror)(sample, Random(0, 0, number, 0))
        image = image.flip(-1) if mirror else image
        if turn:
            sample, image = turned(sample), image.rot90(1, (-2, -1))
        result = crop(sample, Random(0, 0, number, 1))
        plain = crop(scene(0, "none", *image.shape[-2:]), Random(0, 0, number, 1))  # the same draw, nothing recorded
        left, top, right, bottom = plain.window
        assert 20 <= min(displayed_size(result)) <= max(displayed_size(result)) <= 60
        assert torch.equal(rendered(result).image, image[:, top:bottom, left:right])
        resized = last(result, Random(0, 0, number, 2))
        expected = v2.functional.resized_crop(image, top, left, bottom - top, right - left, list(resized.final_size))
        assert torch.equal(rendered(resized).image, expected)


def test_a_scale_jitter_that_shrinks_is_that_of_torchvision_and_one_that_enlarges_fills_the_target(same_draws):
    shrunk = enlarged = 0
    for number in range(40):
        sample = scene(number, "none")
        result = ScaleJitter((80, 80), (0.1, 2.0))(sample, Random(0, 0, number, 0))
        same_draws(Random(0, 0, number, 0))
        image, target = v2.ScaleJitter((80, 80), (0.1, 2.0))(*as_pair(sample))
        height, width = result.final_size
        if image.shape[-1] <= 80:
            assert torch.equal(rendered(result).image, image)
            assert np.allclose(rendered(result).boxes, target["boxes"], atol=1e-3)
            shrunk += 1
        else:
            x1, y1, x2, y2 = result.window
            assert width == 80
            assert (x2 - x1) * image.shape[-1] / WIDTH == pytest.approx(80, abs=1.5)
            assert height == min(80, image.shape[-2])
            assert 0 <= x1 < x2 <= WIDTH
            assert 0 <= y1 < y2 <= HEIGHT
            enlarged += 1
    assert min(shrunk, enlarged) > 10


def test_an_affine_map_is_that_of_torchvision():
    transform = Affine((-20, 20), (0.1, 0.2), (0.8, 1.2), (-10, 10), fill=[7, 8, 9], p=1.0)
    for number in range(10):
        random = Random(0, 0, number, 0)
        random.uniform()
        degrees, scale = random.uniform(-20, 20), random.uniform(0.8, 1.2)
        shift = [round(random.uniform(-0.1, 0.1) * WIDTH), round(random.uniform(-0.2, 0.2) * HEIGHT)]
        arguments = (degrees, shift, scale, [random.uniform(-10, 10), 0.0])
        image, target = as_pair(scene(number))
        image = v2.functional.affine(image, *arguments, v2.InterpolationMode.BILINEAR, fill=[7.0, 8.0, 9.0])
        masks = v2.functional.affine(target["masks"], *arguments).numpy()
        boxes = v2.functional.affine(target["boxes"], *arguments)
        plain = rendered(transform(scene(number, "none"), Random(0, 0, number, 0)))
        assert torch.equal(plain.image, image)
        assert np.allclose(plain.boxes, boxes[torch.from_numpy(plain.labels) - 1], atol=1e-3)
        dense = rendered(transform(scene(number), Random(0, 0, number, 0)))
        for label, mask, box in zip(dense.labels, dense.masks, dense.boxes, strict=True):
            assert iou(mask, masks[label - 1]) >= 0.999
            assert np.allclose(box, box_of(mask))
        polygons = transform(scene(number, "polygons"), Random(0, 0, number, 0))
        for label, mask in zip(polygons.labels, rendered(polygons).masks, strict=True):
            assert iou(mask, masks[label - 1]) > 0.85 or masks[label - 1].sum() < 60


@pytest.mark.parametrize("turns", range(4))
def test_a_quarter_turn_is_numpys(turns: int):
    for flips in range(4):
        sample, (image, target) = scene(flips), as_pair(scene(flips))
        masks = target["masks"].numpy()
        if flips % 2:
            sample, image, masks = HorizontalFlip(1.0)(sample, Random(0, 0, 0, 0)), image.flip(-1), masks[..., ::-1]
        if flips // 2:
            sample, image, masks = VerticalFlip(1.0)(sample, Random(0, 0, 0, 0)), image.flip(-2), masks[..., ::-1, :]
        for _ in range(turns):
            sample = turned(sample)
        for result in (sample, upright(sample)):
            dense = rendered(result)
            assert torch.equal(dense.image, image.rot90(turns, (-2, -1)))
            assert np.array_equal(dense.masks, np.rot90(masks, turns, (-2, -1)))
            assert np.allclose(dense.boxes, [box_of(mask) for mask in dense.masks])


def test_all_turns_are_drawn_equally_often():
    drawn = [QuarterTurns()(scene(0), Random(0, 0, number, 0)) for number in range(400)]
    states = [(sample.is_transposed, sample.is_mirrored, sample.is_upside_down) for sample in drawn]
    assert sorted(states.count(state) for state in set(states)) == pytest.approx([100] * 4, abs=30)


TRANSFORMS = {
    "mirror": HorizontalFlip(1.0),
    "upside down": VerticalFlip(1.0),
    "turn": QuarterTurns(1.0),
    "size crop": RandomSizeCrop(16, 70, p=1.0),
    "visible crop": RandomSizeCrop(16, 70, min_visible=0.5, p=1.0),
    "iou crop": RandomIoUCrop(),
    "zoom out": ZoomOut((1.0, 2.0), p=1.0),
    "rotation": Affine((-30, 30), (0.2, 0.2), p=1.0),
    "torchvision": v2.Identity(),
}


def run(names: list[str], sample: TrainingImage, number: int = 0, seed: int = 0, epoch: int = 0) -> TrainingImage:
    for position, name in enumerate(names):
        random, transform = Random(seed, epoch, number, position), TRANSFORMS[name]
        if name == "torchvision":
            sample = apply_to_pair(transform, sample, random, needs_masks=True)
        else:
            sample = transform(sample, random)
    return sample


names_of_transforms = st.lists(st.sampled_from(sorted(TRANSFORMS)), max_size=5)


@given(names_of_transforms, st.integers(0, 9), st.sampled_from(["rle", "polygons", "none"]))
@settings(max_examples=120, deadline=None)
def test_what_holds_for_any_list_of_transforms(names: list[str], number: int, kind: str):
    before = scene(number, kind)
    result = run(names, before, number)
    dense = rendered(result)
    height, width = dense.image.shape[-2:]
    assert (height, width) == displayed_size(result)
    assert dense.boxes.min(initial=0) >= -1e-3
    assert (dense.boxes[:, 2:] <= np.array([width, height]) + 1e-3).all()
    assert (dense.boxes[:, 2:] > dense.boxes[:, :2]).all()
    assert dense.is_crowd.tolist() == (dense.labels == 3).tolist()
    assert result.proposals.shape == (NUM_OBJECTS, 5)
    if kind == "none":
        return
    # A pixel is set by its center, an outline is exact; and each rotation may move a border by half a pixel.
    slack = 1.0 + 0.5 * names.count("rotation") if kind == "polygons" or "rotation" in names else 1e-3
    areas = rendered(before).masks.sum(axis=(1, 2))
    for label, mask, box in zip(dense.labels, dense.masks, dense.boxes, strict=True):
        around = np.array(box_of(mask))
        if mask.any():
            assert (around[:2] >= box[:2] - slack).all()
            assert (around[2:] <= box[2:] + slack).all()
        rim = slack * 2 * (around[2:] - around[:2]).sum() if slack >= 1 else 0
        assert mask.sum() <= areas[label - 1] + rim
    for box, edges in zip(dense.boxes, outlines(result), strict=True):
        points = edges.reshape(-1, 2)
        assert np.isfinite(points).all()
        assert (points >= -1e-3).all()
        assert (points <= np.array([width, height]) + 1e-3).all()
        if kind == "polygons":  # what is outside a window becomes lines along its sides, without an area
            points = edges[np.all(np.abs(edges[:, :2] - edges[:, 2:]) > 1e-4, axis=1)].reshape(-1, 2)
        if (box[2:] - box[:2]).min() < 3:  # few of the pixels that a sliver touches have their centers inside
            continue
        assert (points >= box[:2] - 1 - slack).all()
        assert (points <= box[2:] + 1 + slack).all()


@given(names_of_transforms, st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_the_image_shows_what_boxes_and_masks_say(names: list[str], number: int):
    """Objects are white and the rest is dark, so most pixels of a mask must be white."""
    dense = rendered(run(names, scene(number), number))
    for mask in dense.masks:
        if mask.sum() > 40:
            assert (dense.image[0].numpy()[mask > 0] > 128).mean() > 0.8


@given(names_of_transforms, st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_the_same_seed_epoch_and_sample_give_the_same_bits(names: list[str], number: int):
    def bits(epoch: int) -> list[bytes]:
        dense = rendered(run(names, scene(number), number, epoch=epoch))
        return [np.ascontiguousarray(array).tobytes() for array in (dense.image.numpy(), *dense[1:])]

    assert bits(3) == bits(3)


@pytest.mark.parametrize("names", [["mirror"] * 2, ["upside down"] * 2, ["turned"] * 4, ["mirror", "upside down"]])
def test_what_is_undone_is_as_before(names: list[str]):
    before = scene(1)
    result = before
    for name in names:
        result = turned(result) if name == "turned" else run([name], result)
    if "mirror" in names and "upside down" in names:  # half a turn
        result = turned(turned(result))
    first, second = rendered(before), rendered(result)
    assert torch.equal(first.image, second.image)
    assert np.array_equal(first.boxes, second.boxes)
    assert np.array_equal(first.masks, second.masks)


def test_a_crop_keeps_by_the_visible_share_of_the_mask_and_may_lose_all_objects():
    def kept(min_visible: float) -> list[list[int]]:
        crop = RandomSizeCrop(10, 40, min_visible, p=1.0)
        return [crop(scene(number), Random(0, 0, number, 0)).labels.tolist() for number in range(40)]

    for number, (some, half, whole) in enumerate(zip(kept(0.0), kept(0.5), kept(1.0), strict=True)):
        window = RandomSizeCrop(10, 40, p=1.0)(scene(number, "none"), Random(0, 0, number, 0)).window
        x1, y1, x2, y2 = window
        masks = rendered(scene(number)).masks
        shares = masks[:, y1:y2, x1:x2].sum(axis=(1, 2)) / masks.sum(axis=(1, 2))
        assert some == (np.flatnonzero(shares > 0) + 1).tolist()
        assert half == (np.flatnonzero(shares >= 0.5) + 1).tolist()
        assert whole == (np.flatnonzero(shares == 1) + 1).tolist()
    assert [] in kept(1.0)


def test_images_smaller_than_the_crop_and_images_without_objects_stay_whole():
    small = scene(0, height=30, width=50)
    assert displayed_size(RandomSizeCrop(40, 45, p=1.0)(small, Random(0, 0, 0, 0)))[0] == 30
    assert displayed_size(RandomSizeCrop(60, 60, p=1.0)(small, Random(0, 0, 0, 0))) == (30, 50)
    empty = scene(0).with_objects(np.zeros(NUM_OBJECTS, np.bool_))
    assert RandomIoUCrop(sampler_options=[0.5])(empty, Random(0, 0, 0, 0)) is empty


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RandomSizeCrop(0, 5), r"RandomSizeCrop: \[min_size, max_size\] \[0, 5\] is out of range"),
        (lambda: RandomSizeCrop(9, 5), r"RandomSizeCrop: \[min_size, max_size\] \[9, 5\] is out of range"),
        (lambda: RandomSizeCrop(5, 9, p=1.5), "RandomSizeCrop: p 1.5 is not a probability"),
        (lambda: RandomSizeCrop(5, 9, min_visible=2.0), "RandomSizeCrop: min_visible 2.0 is not a share"),
        (lambda: ZoomOut(p=-1.0), "ZoomOut: p -1.0 is not a probability"),
        (lambda: ZoomOut([0.5, 2.0]), r"ZoomOut: side_range \[0.5, 2.0\] is out of range; .* 1 to"),
        (lambda: ZoomOut(fill=[0, 0]), r"ZoomOut: fill is \[0, 0\]; give \[red, green, blue\]"),
        (lambda: QuarterTurns(float("nan")), "QuarterTurns: p nan is not a probability"),
        (lambda: ScaleJitter([0, 5]), r"ScaleJitter: target_size is \[0, 5\]; give"),
        (lambda: ScaleJitter([512]), r"ScaleJitter: target_size is \[512\]; give"),
        (lambda: ScaleJitter(scale_range=[2.0, 0.1]), r"ScaleJitter: scale_range \[2.0, 0.1\] is out of range"),
        (lambda: ScaleJitter(scale_range=[2.0]), r"ScaleJitter: scale_range is \[2.0\]; give \[smallest, largest\]"),
        (lambda: Affine([10, -10]), r"Affine: degrees \[10, -10\] is out of range"),
        (lambda: Affine(translate=[2.0, 0.0]), r"Affine: translate is \[2.0, 0.0\]; give"),
        (lambda: Affine(p=7.0), "Affine: p 7.0 is not a probability"),
        (lambda: RandomIoUCrop(sampler_options=[]), r"RandomIoUCrop: sampler_options is \[\]"),
        (lambda: RandomIoUCrop(trials=0), "RandomIoUCrop: trials is 0"),
        (lambda: RandomIoUCrop(0.5, 0.3), r"RandomIoUCrop: \[min_scale, max_scale\] \[0.5, 0.3\] is out of range"),
        (lambda: checked_transforms([ScaleJitter(), HorizontalFlip()]), "ScaleJitter is not last; put it last"),
    ],
)
def test_bad_settings_are_refused_in_one_line(build, message: str):
    with pytest.raises(InputError, match=f"^data.train_transforms: {message}") as caught:
        build()
    assert "\n" not in str(caught.value)
