"""Transforms of (image, target) in our list: against one run of torchvision's by hand, and what is refused."""

import random as python_random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.dataset import BatchRequest, DetectionDataset
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.torch_dataset import TorchDatasetReader
from lightning_rcnn.data.transforms import Colors, HorizontalFlip, Random, Resize, TrainingImage, VerticalFlip
from lightning_rcnn.data.transforms.torchvision import apply_to_pair
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.crops import decode_masks

HEIGHT, WIDTH = 72, 96
AFFINE = v2.RandomAffine(25, translate=(0.2, 0.2), scale=(0.7, 1.3))


def ellipses(number: int, objects: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [h, w, 3] and masks uint8 [m, h, w]."""
    chance = np.random.default_rng(number)
    image = Image.fromarray(chance.integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    masks = []
    for _ in range(objects):
        x, y = chance.integers(0, WIDTH - 25), chance.integers(0, HEIGHT - 25)
        ends = [int(x), int(y), int(x + chance.integers(8, 24)), int(y + chance.integers(8, 24))]
        mask = Image.new("L", (WIDTH, HEIGHT))
        ImageDraw.Draw(mask).ellipse(ends, fill=1)
        ImageDraw.Draw(image).ellipse(ends, fill=(255, 255, 255))
        masks.append(np.array(mask))
    return np.array(image), np.array(masks, np.uint8).reshape(-1, HEIGHT, WIDTH)


def box_of(mask: np.ndarray) -> list[float]:
    """Edges of the pixels that are set."""
    (ys,), (xs,) = np.nonzero(mask.any(axis=1)), np.nonzero(mask.any(axis=0))
    return [float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)]


class Ellipses(Dataset):
    classes = ("a", "b", "c", "d", "e")

    def __len__(self) -> int:
        return 12

    def __getitem__(self, number: int) -> tuple[Any, dict[str, Any]]:
        image, masks = ellipses(number)
        boxes = [box_of(mask) for mask in masks]
        return image, {"boxes": torch.tensor(boxes), "labels": torch.arange(1, 6), "masks": torch.from_numpy(masks)}


def training_image(number: int = 0, proposals: int | None = None) -> TrainingImage:
    """The third object is a crowd; the labels tell the objects apart."""
    image, masks = ellipses(number)
    encoded = coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0)))
    boxes = np.array([box_of(mask) for mask in masks], np.float32)
    given = None
    if proposals is not None:
        given = np.concatenate([np.tile(boxes, (2, 1)), np.linspace(1, 0, 10)[:, None]], axis=1)[:proposals]
    return TrainingImage(
        torch.from_numpy(image).permute(2, 0, 1).contiguous(),
        boxes,
        np.arange(1, 6),
        np.arange(5) == 2,
        [{"size": rle["size"], "counts": rle["counts"].decode()} for rle in encoded],
        None if given is None else given.astype(np.float32),
    )


def by_hand(transform: Any, sample: TrainingImage, random: Random) -> tuple[Tensor, dict[str, Any]]:
    """One run, with boxes, labels and masks at once."""
    size = tuple(sample.image.shape[-2:])
    masks = np.stack([coco_mask.decode(mask) for mask in sample.segmentations])
    target = {
        "boxes": tv_tensors.BoundingBoxes(torch.from_numpy(sample.boxes), format="XYXY", canvas_size=size),
        "labels": torch.from_numpy(sample.labels),
        "masks": tv_tensors.Mask(torch.from_numpy(masks)),
    }
    with torch.random.fork_rng():
        torch.manual_seed(random.integer() % 2**63)
        return transform(tv_tensors.Image(sample.image), target)


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomHorizontalFlip(1.0),
        v2.ColorJitter(0.5, 0.5, 0.5, 0.1),
        AFFINE,
        v2.Compose([AFFINE, v2.SanitizeBoundingBoxes(min_size=8)]),
        v2.Compose([v2.RandomCrop((40, 50)), v2.SanitizeBoundingBoxes(min_size=6)]),
        v2.Compose([v2.RandomIoUCrop(), v2.SanitizeBoundingBoxes()]),
        v2.RandomZoomOut(p=1.0),
        v2.ScaleJitter((50, 50)),
        v2.Resize((31, 47)),
    ],
    ids=lambda transform: type(transform).__name__,
)
@pytest.mark.parametrize("number", range(3))
def test_the_result_is_that_of_one_run_by_hand(transform, number: int):
    sample = training_image(number)
    image, target = by_hand(transform, sample, Random(0, 0, number, 0))
    result = apply_to_pair(transform, sample, Random(0, 0, number, 0), needs_masks=True)
    assert torch.equal(result.image, image.as_subclass(Tensor))
    assert np.array_equal(result.boxes, target["boxes"].numpy())
    assert np.array_equal(result.labels, target["labels"].numpy())
    assert result.is_crowd.tolist() == (result.labels == 3).tolist()
    assert len(result.segmentations) == len(target["masks"])
    for segmentation, mask in zip(result.segmentations, target["masks"], strict=True):
        assert np.array_equal(coco_mask.decode(segmentation), mask.numpy())


def decoded(sample: TrainingImage) -> list[Any]:
    """Pixels and place of each mask, in whatever form it is held."""
    crops = decode_masks(sample.segmentations, *sample.image.shape[-2:])
    return [(crop.pixels.tolist(), crop.top, crop.left) for crop in crops]


@pytest.mark.parametrize("ours", [[HorizontalFlip(1.0)], [VerticalFlip(1.0)], [HorizontalFlip(1.0), VerticalFlip(1.0)]])
def test_our_flips_before_it_are_those_of_torchvision(ours):
    flips = {HorizontalFlip: v2.RandomHorizontalFlip, VerticalFlip: v2.RandomVerticalFlip}
    theirs = v2.Compose([flips[type(flip)](1.0) for flip in ours])
    result = training_image(1, proposals=7)
    for flip in ours:
        result = flip(result, Random(0, 0, 0, 0))
    result = apply_to_pair(v2.Identity(), result, Random(0, 0, 0, 0), needs_masks=True)
    expected = apply_to_pair(theirs, training_image(1, proposals=7), Random(0, 0, 0, 0), needs_masks=True)
    assert torch.equal(result.image, expected.image)
    assert np.array_equal(result.boxes, expected.boxes)
    assert np.array_equal(result.proposals, expected.proposals)
    assert decoded(result) == decoded(expected)


@pytest.mark.parametrize("proposals", [0, 3, 5, 10])
def test_proposals_move_along_and_none_is_dropped_with_the_boxes(proposals: int):
    """Five are as many as there are boxes, of which one goes."""
    sample = training_image(0, proposals)
    transform = v2.Compose([v2.Pad((10, 20, 0, 0)), v2.RandomCrop((50, 60)), v2.SanitizeBoundingBoxes(min_size=9)])
    result = apply_to_pair(transform, sample, Random(0, 0, 0, 0), needs_masks=False)
    assert 0 < len(result.boxes) < 5
    assert result.proposals.shape == (proposals, 5)
    assert np.array_equal(result.proposals[:, 4], sample.proposals[:, 4])
    for box, label in zip(result.boxes, result.labels, strict=True):
        if label <= proposals:
            assert np.array_equal(result.proposals[label - 1, :4], box)


def read(transforms: list[Any], form: str, numbers: range = range(12), epoch: int = 0) -> Any:
    rule = ResizeRule(2 * HEIGHT, 2 * WIDTH)
    data = DetectionDataset(TorchDatasetReader(Ellipses()), [rule], "training", transforms, mask_form=form)
    batch = data[BatchRequest(epoch, 0, (160, 192), tuple(numbers))]
    if isinstance(batch, InputError):
        raise batch
    return batch


@pytest.mark.parametrize("sanitize", [[], [v2.SanitizeBoundingBoxes()]])
def test_the_mask_of_an_object_lies_in_its_box_to_a_pixel(sanitize):
    """Two pixels of the network's frame are one of the image's."""
    targets = read([HorizontalFlip(), VerticalFlip(), AFFINE, *sanitize, HorizontalFlip()], "bitmaps").targets
    masks, compared = targets.masks, 0
    for slot, number in targets.is_object.nonzero().tolist():
        height, width = masks.sizes[slot, number].tolist()
        first = masks.first_byte[slot, number]
        bits = np.unpackbits(masks.bits[first : first + -(-height * width // 8)].numpy())[: height * width]
        if not bits.any():
            continue
        x1, y1, x2, y2 = box_of(bits.reshape(height, width))
        crop = masks.boxes[slot, number].numpy()
        scale = (crop[2:] - crop[:2]) / (width, height)
        low, high = crop[:2] + scale * (x1, y1), crop[:2] + scale * (x2, y2)
        box = targets.boxes[slot, number].numpy()
        assert (low >= box[:2] - 2).all()
        assert (high <= box[2:] + 2).all()
        compared += 1
    assert compared >= 45


def test_outlines_lie_in_their_boxes_to_a_pixel():
    targets = read([HorizontalFlip(), AFFINE], "polygons").targets
    for slot, number in targets.is_object.nonzero().tolist():
        edges = targets.masks.edges[slot, number]
        points = edges[edges.abs().sum(dim=1) > 0].reshape(-1, 2)
        if len(points):
            box = targets.boxes[slot, number]
            assert (points.amin(dim=0) >= box[:2] - 2).all()
            assert (points.amax(dim=0) <= box[2:] + 2).all()


def test_workers_do_not_change_what_is_drawn_and_another_epoch_does():
    transforms = [HorizontalFlip(), Colors(brightness=0.4), AFFINE, v2.SanitizeBoundingBoxes(), Resize([40, 72])]
    seen = {}
    for num_workers in (0, 2):
        module = DetectionDataModule(
            Ellipses(), batch_size=3, num_workers=num_workers, train_transforms=transforms, shapes=[[96, 96], [96, 160]]
        )
        module.resize_rule = ResizeRule(HEIGHT, WIDTH)
        module.setup("fit")
        loader = module.train_dataloader()
        for epoch in (0, 1):
            loader.sampler.set_epoch(epoch)
            seen[num_workers, epoch] = list(loader)
    for epoch in (0, 1):
        for first, second in zip(seen[0, epoch], seen[2, epoch], strict=True):
            assert torch.equal(first.image_ids, second.image_ids)
            assert torch.equal(first.images, second.images)
            assert torch.equal(first.targets.boxes, second.targets.boxes)
    first, again, other = (read(transforms, "none", epoch=epoch) for epoch in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert all(not torch.equal(*both) for both in zip(first.images, other.images, strict=True))


def test_every_global_generator_is_seeded_and_put_back():
    def jump(image: Tensor, target: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        drawn.append((torch.rand(()).item(), np.random.rand(), python_random.random()))
        return image, target

    drawn: list[tuple[float, float, float]] = []
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), python_random.getstate()
    for number in (0, 1, 0):
        apply_to_pair(jump, training_image(), Random(0, 0, number, 0), needs_masks=False)
    assert drawn[0] == drawn[2]
    assert all(first != second for first, second in zip(drawn[0], drawn[1], strict=True))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert python_random.getstate() == states[2]


def test_what_a_transform_writes_into_its_arguments_counts():
    def shift(image: Tensor, target: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        image[:] = image.roll(1, -1)
        target["boxes"][:, ::2] += 1
        target["labels"][:] = 4
        if "masks" in target:
            target["masks"][:] = target["masks"].roll(1, -1)
        return image, target

    sample = training_image()
    before = sample.image.clone(), sample.boxes.copy(), sample.labels.copy()
    result = apply_to_pair(shift, sample, Random(0, 0, 0, 0), needs_masks=True)
    assert torch.equal(sample.image, before[0])
    assert np.array_equal(sample.boxes, before[1])
    assert np.array_equal(sample.labels, before[2])
    assert torch.equal(result.image, before[0].roll(1, -1))
    assert np.array_equal(result.boxes, before[1] + np.array([1, 0, 1, 0], np.float32))
    assert result.labels.tolist() == [4] * 5
    assert [box_of(coco_mask.decode(mask)) for mask in result.segmentations] == result.boxes.tolist()


def test_labels_may_change_alone():
    result = apply_to_pair(
        lambda image, target: (image, {**target, "labels": target["labels"] % 2 + 1}),
        training_image(),
        Random(0, 0, 0, 0),
        needs_masks=True,
    )
    assert result.labels.tolist() == [2, 1, 2, 1, 2]
    assert result.segmentations == training_image().segmentations


def without_label(label: int, all_entries: bool) -> Any:
    def transform(image: Any, target: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        keep = target["labels"] != label
        dropped = target if all_entries else {key: target[key] for key in ("boxes", "labels", "masks") if key in target}
        return image, {**target, **{key: value[keep] for key, value in dropped.items()}}

    return transform


def test_what_drops_objects_by_their_labels_keeps_the_rest_of_the_others():
    sample = training_image()
    crowd = replace(sample, is_crowd=np.array([True, False, True, False, False]))
    result = apply_to_pair(without_label(1, all_entries=True), crowd, Random(0, 0, 0, 0), needs_masks=True)
    assert result.labels.tolist() == [2, 3, 4, 5]
    assert result.is_crowd.tolist() == [False, True, False, False]
    assert result.segmentations == sample.segmentations[1:]
    with pytest.raises(InputError, match="drops objects by their labels, but keeps them in other entries"):
        apply_to_pair(without_label(1, all_entries=False), crowd, Random(0, 0, 0, 0), needs_masks=True)


def changed(**changes: Any) -> Any:
    def transform(image: Any, target: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return image, {**target, **{key: change(target.get(key)) for key, change in changes.items()}}

    return transform


def unseeded(image: Any, target: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return image, {**target, "boxes": target["boxes"] + np.random.default_rng().random()}


def broken(image: Any, target: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    raise ValueError("two\nlines")


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda image, target: image, "<lambda> returns something else; return \\(image, target\\)"),
        (lambda image: image, r"<lambda> fails on \(image, target\): TypeError: .* takes 1 positional"),
        (broken, r"broken fails on .*: ValueError: two lines \(.*test_torchvision_transforms.py, line \d+\)"),
        (v2.Compose([HorizontalFlip()]), "Compose fails on"),
        (v2.ToDtype(torch.float32, scale=True), r"ToDtype gives an image of torch.float32 \[3, 72, 96\]; .* uint8"),
        (v2.ToPILImage(), "ToPILImage gives an image of Image; keep it uint8"),
        (v2.Grayscale(), r"Grayscale gives an image of torch.uint8 \[1, 72, 96\]"),
        (lambda image, target: (image[:, :0], target), r"an image of \[3, 0, 96\]; keep some pixels"),
        (lambda image, target: (image, {"boxes": target["boxes"]}), "a target without boxes or labels"),
        (lambda image, target: (image, None), "a target without boxes or labels"),
        (changed(boxes=lambda boxes: boxes[:2]), "gives 2 boxes and 5 labels; drop both or none"),
        (changed(labels=lambda labels: labels[:2]), "gives 5 boxes and 2 labels; drop both or none"),
        (changed(boxes=lambda boxes: boxes.tolist()), r"gives boxes of list; .* a tensor \[m, 4\]"),
        (changed(boxes=lambda boxes: boxes[:, :2]), r"gives boxes of torch.float32 \[5, 2\]"),
        (changed(boxes=lambda boxes: boxes[:, [2, 3, 0, 1]]), "gives boxes that are not xyxy"),
        (changed(boxes=lambda boxes: boxes * float("nan")), "gives boxes that are not xyxy"),
        (v2.ConvertBoundingBoxFormat("XYWH"), "gives boxes that are not xyxy"),
        (changed(labels=lambda labels: labels - 1), "invalid labels; give integers of at least 1"),
        (changed(labels=lambda labels: labels / 2), "invalid labels; give integers of at least 1"),
        (changed(boxes=lambda boxes: boxes + 1, masks=lambda masks: None), "gives 5 boxes and 0 masks"),
        (changed(boxes=lambda boxes: boxes + 1, masks=lambda masks: masks if masks is None else masks[1:]), "4 masks"),
        (
            lambda image, target: (v2.functional.hflip(image)[:, :50], target),
            r"masks of \[72, 96\] for an image of \[50, 96\]; transform masks like the image",
        ),
        (unseeded, "unseeded gives different boxes from the same seed"),
    ],
)  # fmt: skip
def test_a_transform_that_is_none_of_image_and_target_is_named_in_one_line(transform, message: str):
    with pytest.raises(InputError, match=f"^data.train_transforms: .*{message}") as caught:
        read([transform], "bitmaps", range(1))
    assert "\n" not in str(caught.value)


def test_dropped_proposals_are_an_error():
    with pytest.raises(InputError, match="transform drops proposals; keep all"):
        apply_to_pair(
            changed(boxes=lambda boxes: boxes + 1, proposals=lambda boxes: boxes[:2]),
            training_image(0, 7),
            Random(0, 0, 0, 0),
            needs_masks=False,
        )


def test_an_error_of_a_transform_stops_the_training_with_one_line(uneven_set: Path):
    module = DetectionDataModule(str(uneven_set), batch_size=4, num_workers=1, train_transforms=[broken])
    module.setup("fit")
    loader = module.train_dataloader()
    with pytest.raises(InputError, match=r"^data.train_transforms: broken fails on .*: two lines"):
        next(iter(loader))
