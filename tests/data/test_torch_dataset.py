"""Data sets of torch instead of shards: the same batches, and refused data sets."""

import io
import math
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchvision import tv_tensors

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.dataset import BatchRequest, DetectionDataset
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.loader import PlannedLoader
from lightning_rcnn.data.loading import LoadingSettings
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.sampling import RepeatFactor
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.data.torch_dataset import TorchDatasetReader, read_torch_dataset
from lightning_rcnn.data.torch_items import read_item
from lightning_rcnn.data.transforms import HorizontalFlip
from lightning_rcnn.errors import InputError


class Listed(Dataset):
    """Items as given; an exception is raised."""

    classes = ("cat", "dog")

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Any:
        item = self.items[number]
        if isinstance(item, Exception):
            raise item
        return item


class Measured(Listed):
    def get_height_and_width(self, number: int) -> tuple[int, int]:
        width, height = 16, 12
        return height, width


PIXELS = np.full((12, 16, 3), 90, np.uint8)


def good(image: Any = PIXELS, **changes: Any) -> tuple[Any, dict[str, Any]]:
    target = {"boxes": torch.tensor([[1.0, 2.0, 9.0, 8.0]]), "labels": torch.tensor([2])} | changes
    return image, {key: value for key, value in target.items() if value is not None}


def from_shards(folder: Path) -> Listed:
    """The samples of a packed set of one shard as torchvision's detectors have them."""
    reader = ShardReader(read_shards(str(folder)), ShardCache(None, 1e9, FetchPolicy()))
    items = []
    for number in range(len(reader)):
        raw = reader.read(number)
        objects = raw.content["annotations"]
        target = {
            "boxes": torch.tensor([entry["bbox"] for entry in objects]).reshape(-1, 4),
            "labels": torch.tensor([entry["label"] for entry in objects], dtype=torch.int64),
            "iscrowd": torch.tensor([entry["iscrowd"] for entry in objects], dtype=torch.int64),
            "image_id": torch.tensor([raw.content["image_id"]]),
            "file_name": raw.content["file_name"],
        }
        items.append((Image.open(io.BytesIO(raw.image)), target))
    return Listed(*items)


def loader_of(source: Any, **options: Any) -> PlannedLoader:
    defaults = {"val": source, "num_workers": 0, "train_transforms": []}
    module = DetectionDataModule(source, batch_size=4, **defaults | options)
    module.resize_rule = ResizeRule(32, 64)
    module.setup("fit")
    return module.train_dataloader()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_training_reads_the_same_batches_as_from_shards(make_set, tmp_path: Path, num_workers: int):
    folder = make_set(tmp_path / "one", (23,))
    packed, listed = loader_of(str(folder)), loader_of(from_shards(folder), num_workers=num_workers)
    assert len(packed) == len(listed) == 5
    for epoch in range(2):
        packed.sampler.set_epoch(epoch)
        listed.sampler.set_epoch(epoch)
        for first, second in zip(packed, listed, strict=True):
            assert torch.equal(first.image_ids, second.image_ids)
            assert torch.equal(first.images, second.images)
            assert torch.equal(first.image_sizes, second.image_sizes)
            assert [record.file_name for record in first.records] == [record.file_name for record in second.records]
            assert first.targets.boxes.any()
            assert torch.equal(first.targets.boxes, second.targets.boxes)
            assert torch.equal(first.targets.labels, second.targets.labels)
            assert torch.equal(first.targets.is_crowd, second.targets.is_crowd)


def test_evaluation_brings_annotations_as_from_shards(make_set, tmp_path: Path):
    folder = make_set(tmp_path / "one", (9,))
    seen = []
    for source in (str(folder), from_shards(folder)):
        module = DetectionDataModule(val=source, batch_size=4, num_workers=0)
        module.setup("validate")
        records = [record for batch in module.val_dataloader() for record in batch.records]
        kept = ("bbox", "label", "iscrowd", "difficult")
        seen.append(
            [(record.image_id, [[entry[key] for key in kept] for entry in record.annotations]) for record in records]
        )
    assert seen[0] == seen[1]
    assert any(objects for _, objects in seen[0])


@pytest.mark.parametrize(
    "image",
    [
        PIXELS,
        Image.fromarray(PIXELS),
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        torch.from_numpy(PIXELS).permute(2, 0, 1) / 255,
        tv_tensors.Image(torch.from_numpy(PIXELS).permute(2, 0, 1)),
        PIXELS.astype(np.float64) / 255,
        Image.new("L", (16, 12), 90),
        Image.fromarray(np.full((12, 16), 90 * 257, np.uint16)),
    ],
    ids=lambda image: type(image).__name__,
)
def test_all_forms_of_images_are_the_same_pixels(image):
    pixels = TorchDatasetReader(Listed(good(image))).read(0).pixels
    assert type(pixels) is torch.Tensor
    assert torch.equal(pixels, torch.full((3, 12, 16), 90, dtype=torch.uint8))


def test_masks_and_areas_are_those_of_the_item():
    mask = torch.zeros(1, 12, 16, dtype=torch.bool)
    mask[0, 2:8, 1:5] = True
    (entry,) = TorchDatasetReader(Listed(good(masks=mask))).read(0).content["annotations"]
    assert entry["area"] == 24
    assert np.array_equal(coco_mask.decode(entry["segmentation"]), mask[0].numpy())
    assert not read_torch_dataset(
        Listed(good(masks=mask), good(masks=mask[:0], boxes=[], labels=[])), "train"
    ).lacking_masks
    assert read_torch_dataset(Listed(good(masks=mask), good()), "train").lacking_masks == ("Listed",)


def test_an_image_without_objects_needs_no_more_than_its_id():
    content = TorchDatasetReader(Listed((PIXELS, {"image_id": 7}))).read(0).content
    assert (content["image_id"], content["annotations"]) == (7, [])


def test_transforms_leave_the_pixels_of_the_data_set_alone():
    """A transform that writes into its arguments."""
    image = torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)

    def blacken(image: torch.Tensor, target: Any) -> Any:
        return image.mul_(0), target

    reader = TorchDatasetReader(Listed(good(image)))
    data = DetectionDataset(reader, [ResizeRule(12, 16)], "training", [HorizontalFlip(0.0), blacken])
    assert not data[BatchRequest(0, 0, (32, 32), (0,))].images.any()
    assert (image == 90).all()


MANY = good(boxes=torch.ones(4, 3), labels=torch.ones(3, dtype=torch.int64))
MISTAKES = [
    (good(boxes=None), "its target is not a dictionary with boxes and labels"),
    (good(labels=None), "its target is not a dictionary with boxes and labels"),
    ((PIXELS, [1]), "its target is not a dictionary with boxes and labels"),
    ((PIXELS, {}), "its target is not a dictionary with boxes and labels"),
    (PIXELS, r"it is uint8 \[12, 16, 3\], not \(image, target\)"),
    ((*good(), 7), r"it is tuple of 3, not \(image, target\)"),
    (good("a.jpg"), "its image is str; give a PIL image"),
    (good(np.full((12, 16, 3), "red")), "its image cannot be read"),
    (good(PIXELS[..., 0]), r"its image is uint8 \[12, 16\]; give a PIL image"),
    (good(torch.zeros(1, 12, 16)), r"its image is torch.float32 \[1, 12, 16\]; give"),
    (good(PIXELS[:0]), "give a PIL image"),
    (good(PIXELS.astype(np.int64) * 10), r"its image is torch.int64 \[3, 12, 16\]; give uint8, or floats"),
    (good(PIXELS * 1.0), "floats beyond 0 and 1; leave the normalization to the model"),
    (good(PIXELS * np.nan), "floats beyond 0 and 1"),
    (MANY, r"its boxes are \[4, 3\], not \[m, 4\]"),
    (good(boxes=torch.tensor([[5.0, 5.0, 4.0, 9.0]])), r"its box \[5.0, 5.0, 4.0, 9.0\] is not xyxy"),
    (good(boxes=torch.tensor([[1.0, 1.0, float("nan"), 9.0]])), "is not xyxy"),
    (good(boxes=torch.tensor([[1.0, 1.0, float("inf"), 9.0]])), "is not xyxy"),
    (good(boxes=tv_tensors.BoundingBoxes([[1, 2, 3, 4]], format="XYWH", canvas_size=(12, 16))), "its boxes are XYWH"),
    (good(boxes=torch.tensor([[0.0, 0.1, 0.5, 1.0]])), r"its box \[0.0, 0.1, 0.5, 1.0\] is a share of the image; give"),
    (good(boxes="none"), "its boxes cannot be read"),
    (good(boxes=[[1, 2, 9, 8], [1, 2, 9]]), r"its boxes cannot be read \(expected sequence of length 4"),
    (good(labels=["cat"]), "its label 'cat' is a name; give its place in `classes`, from 1"),
    (good(labels=np.array(["cat"])), "its label 'cat' is a name; give its place in `classes`, from 1"),
    (good(labels=[None]), "its labels cannot be read"),
    (good(iscrowd=["no"]), "its iscrowd cannot be read"),
    (good(iscrowd=[[0]]), r"its iscrowd is torch.int64 \[1, 1\], not 0 or 1 for each box"),
    (good(iscrowd=[-1]), r"its iscrowd is torch.int64 \[1\], not 0 or 1 for each box"),
    (
        good(masks=[np.zeros((12, 16)), np.zeros((12, 15))]),
        r"its masks cannot be read \(.*\); give ",
    ),
    (good(image_id="a.jpg"), "its image_id 'a.jpg' is no number; leave it out, or give one"),
    (good(image_id=[1, 2]), r"its image_id \[1, 2\] is no number; leave it out, or give one"),
    (good(image_id=math.nan), "its image_id nan is no number; leave it out, or give one"),
    (good(labels=torch.tensor([1, 2])), "its target has 1 box, 2 labels; give as many of each"),
    (good(masks=torch.zeros(2, 12, 16)), "its target has 1 box, 1 label, 2 masks"),
    (good(masks=torch.zeros(1, 16, 12)), r"a mask is \[16, 12\], the image \[12, 16\]"),
    (good(labels=torch.tensor([0])), "it has the label 0; labels are 1 to 2, 0 is background"),
    (good(labels=torch.tensor([3])), "it has the label 3; labels are 1 to 2"),
    (good(labels=torch.tensor([1.5])), r"its labels are torch.float32 \[1\], not integers"),
    (good(labels=torch.tensor([[0, 1]])), r"its labels are torch.int64 \[1, 2\], not integers"),
    (KeyError("a.jpg"), "KeyError: 'a.jpg'"),
    (OSError("two\nlines"), "OSError: two lines"),
    (NotImplementedError(), "NotImplementedError"),
]


@pytest.mark.parametrize(("item", "message"), MISTAKES)
def test_an_item_of_another_form_is_named_in_one_line_at_the_start(item, message: str):
    data = Listed(good(), item)
    with pytest.raises(InputError, match=f"^data.train: Listed: item 1: .*{message}") as caught:
        read_torch_dataset(data, "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("item", "message"), MISTAKES)
def test_later_it_is_left_out_and_named(item, message: str):
    data = DetectionDataset(TorchDatasetReader(Listed(good(), item)), [ResizeRule(12, 16)], "training")
    batch = data[BatchRequest(0, 0, (32, 32), (0, 1))]
    problem = batch.records[1].problem
    assert problem.startswith("item 1 of Listed: ")
    assert "\n" not in problem
    assert batch.targets.is_object.sum(dim=1).tolist() == [1, 0]


class Streamed(IterableDataset):
    classes = ("cat",)

    def __iter__(self) -> Any:
        yield good()

    def __len__(self) -> int:
        return 1


class Nameless(Listed):
    classes = None


class WithBackground(Listed):
    classes = ("__background__", "cat")


class Twice(Listed):
    classes = ("cat", "dog", "cat")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Streamed(), "Streamed is not map-style"),
        (Nameless(good()), "Nameless has no `classes`"),
        (WithBackground(good()), "classes of WithBackground begin with '__background__'; leave the background out"),
        (Twice(good()), "classes of Twice: 'cat' occurs twice"),
        (Listed(), "Listed has no images"),
        (Listed((PIXELS, {"image_id": 1})), "Listed has 1 image but no objects"),
        (Listed(good(image_id=3), good(), good(image_id=1)), "items 1 and 2 have the same image_id, 1"),
        (Measured(good(PIXELS.transpose(1, 0, 2))), r"item 0 is 16 pixels high and 12 wide, .* gives \(12, 16\)"),
    ],
)
def test_a_data_set_that_cannot_be_trained_on_is_refused_in_one_line(data, message: str):
    with pytest.raises(InputError, match=f"^data.train: .*{message}") as caught:
        loader_of(data)
    assert "\n" not in str(caught.value)


def test_what_is_not_a_data_set_is_refused_in_one_line():
    for source in (DataLoader(Listed(good())), [good()], 5, Listed):
        with pytest.raises(InputError, match=r"^data.train: .*torch.utils.data.Dataset") as caught:
            loader_of(source)
        assert "\n" not in str(caught.value)


def test_objects_may_be_rare_where_sizes_are_known():
    items = [(PIXELS, {"image_id": number}) for number in range(19)]
    shards = read_torch_dataset(Measured(*items, good(image_id=19)), "train")
    assert shards.index.shards[0].heights == [12] * 20
    assert any(shards.index.shards[0].objects)


def test_unknown_image_sizes_are_one_line():
    class Broken(Measured):
        def get_height_and_width(self, number: int) -> Any:
            raise KeyError(number)

    with pytest.raises(InputError, match=r"^data.train: Broken: get_height_and_width: KeyError: 0$"):
        loader_of(Broken(good()))


def test_where_sizes_are_known_a_few_items_from_everywhere_are_read_at_the_start():
    read = []

    class Watched(Measured):
        def __getitem__(self, number: int) -> Any:
            read.append(number)
            return super().__getitem__(number)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shards = read_torch_dataset(Watched(*[good()] * 20), "train")
    assert read == list(range(0, 20, 3))
    assert shards.index.shards[0].heights == [12] * 20
    assert shards.index.shards[0].widths == [16] * 20


def test_a_sampling_by_labels_reads_every_item_once():
    empty = good(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))
    source = Measured(*[good(labels=torch.tensor([1]))] * 6, good(), empty, *[good(labels=torch.tensor([1]))] * 4)
    loader = loader_of(source, val=None, sampling=RepeatFactor(0.4, epoch_size=24))
    seen = Counter(image_id for batch in loader for image_id in batch.image_ids.tolist())
    assert sum(seen.values()) == 24
    assert seen[6] in (3, 4)  # 24 x r(dog) / sum of all, with r(dog) = sqrt(0.4 x 11)


def test_balance_counts_the_objects_of_every_item():
    """Sizes are known, so without balance a few items would stand for all; batches of 4, crowded images in one."""
    crowded = good(boxes=torch.tensor([[1.0, 2.0, 9.0, 8.0]]).repeat(3, 1), labels=torch.tensor([1, 2, 2]))
    source = Measured(*[crowded if number % 3 == 0 else good() for number in range(12)])
    loader = loader_of(source, val=None, loading={"balance_window": 3})
    together = [sorted(number % 3 == 0 for number in batch.image_ids.tolist()) for batch in loader]
    assert sorted(together) == [[False] * 4, [False] * 4, [True] * 4]


MASK = np.zeros((1, 12, 16), np.uint8)
MASK[0, 2:8, 1:5] = 1


def test_later_items_without_masks_are_left_out_and_named_if_masks_are_needed():
    items = [good(masks=MASK) for _ in range(19)]
    items[1] = good()  # not among those that are read at the start
    module = DetectionDataModule(
        Measured(*items), val=Measured(*items), batch_size=19, num_workers=0, train_transforms=[]
    )
    module.resize_rule, module.mask_form = ResizeRule(12, 16), "bitmaps"
    module.loading = LoadingSettings(max_corrupt_share=1.0)
    module.setup("fit")
    for loader in (module.train_dataloader(), module.val_dataloader()):
        problems = [record.problem for batch in loader for record in batch.records if record.problem]
        assert problems == ["item 1 of Measured: its objects have no masks, and those of other items do"]
    module.mask_form = "none"
    assert not [record.problem for batch in module.train_dataloader() for record in batch.records if record.problem]


@pytest.mark.parametrize(
    "box", [[16.0, 2, 20, 8], [3, 12, 5, 14], [-5, 2, 0, 8], [3, -4, 5, -1], [3, 4, 3, 8], [3, 4, 5, 4]]
)
def test_boxes_without_area_inside_the_image_are_left_out_and_counted(box):
    mine = [1.0, 2.0, 9.0, 8.0]
    item = good(boxes=[box, mine], labels=[1, 2], masks=np.concatenate([MASK, MASK]), iscrowd=[1, 0])
    data = DetectionDataset(TorchDatasetReader(Listed(good(), item)), [ResizeRule(12, 16)], "training")
    batch = data[BatchRequest(0, 0, (32, 32), (0, 1))]
    assert batch.targets.is_object.sum(dim=1).tolist() == [1, 1]
    assert batch.targets.boxes[1, 0].tolist() == mine
    assert batch.targets.labels[1, 0] == 2
    assert not batch.targets.is_crowd[1].any()
    floats = [float(edge) for edge in box]
    line = f"item 1 of Listed: 1 of 2 boxes have no area inside the image, the first: {floats}"
    assert [record.left_out for record in batch.records] == ["", line]
    # At the start it is no reason to stop.
    assert read_torch_dataset(Listed(good(), item), "train").index.shards[0].objects == [1, 1]


@pytest.mark.parametrize(
    ("box", "clipped"), [([-1.0, 2, 9, 8], [0, 2, 9, 8]), ([3, 4, 20, 13], [3, 4, 16, 12]), ([3, 4, 16.01, 12], None)]
)
def test_boxes_beyond_the_image_are_clipped_and_counted(box, clipped):
    item = good(boxes=[box], labels=[1])
    _, content = read_item(Listed(item), 0)
    edges = [float(edge) for edge in box]
    line = f"1 of 1 boxes reach beyond the image, the first: {edges}"
    assert content["clipped"] == (line if clipped else "")
    assert content["annotations"][0]["bbox"] == (clipped or [3, 4, 16, 12])
    data = DetectionDataset(TorchDatasetReader(Listed(item)), [ResizeRule(12, 16)], "training")
    batch = data[BatchRequest(0, 0, (32, 32), (0,))]
    assert batch.records[0].clipped == (f"item 0 of Listed: {line}" if clipped else "")


def test_reading_is_shown_as_other_work_is(capsys):
    read_torch_dataset(Listed(good()), "train")
    assert "Reading data.train: Listed: 1 of 1" in capsys.readouterr().out
