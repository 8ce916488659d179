"""Map-style data sets in torchvision's form, for the same plan, transforms and collate as shards, without packing.

An item is (image, target). The image is a PIL image, an array [h, w, 3], or a tensor [3, h, w]; uint8, or floats from 0
to 1. The target is a dictionary: `boxes` [m, 4] xyxy in pixels, `labels` [m], 1..K; optionally `masks` [m, h, w],
`keypoints` [m, J, 3] (x, y in pixels, visibility), `iscrowd` [m], `image_id` (all or none) and `file_name`. A target
with an `image_id` alone is an image without objects; torchvision's `wrap_dataset_for_transforms_v2` returns it.

A box without area inside its image is left out and counted, one that reaches beyond it is clipped and counted. If masks
are needed, an item with objects but without masks is left out and counted as unreadable.

The plan needs the size of every image before training. If the data set has `get_height_and_width(number)`, the method
of torchvision's reference scripts, it is used; else every item is read once, as well as if `data.sampling` needs the
labels. Class names are those of the list `classes`, as in torchvision's data sets. A data set with keypoints has a
`skeleton`, too; the center of a pixel lies at .5, so indices of pixels, as in COCO's files, need .5 more.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import rich
from torch.utils.data import Dataset, IterableDataset

from lightning_rcnn.class_paths import class_path
from lightning_rcnn.data.class_names import require_different
from lightning_rcnn.data.index import Category, Shard, ShardIndex, distinct_labels
from lightning_rcnn.data.reader import RawSample, UnreadableRecordError
from lightning_rcnn.data.shards import ShardSet
from lightning_rcnn.data.torch_items import all_have_masks, read_item
from lightning_rcnn.data.torch_keypoints import skeleton_of
from lightning_rcnn.errors import InputError
from lightning_rcnn.progress import track
from lightning_rcnn.structures import MaskForm


@dataclass(frozen=True)
class TorchDataset(ShardSet):
    """Data set in the form that the planner needs: a single shard without a file.

    Attributes:
        dataset: data set of the user.
    """

    dataset: Any


class TorchDatasetReader:
    """Reader of the samples of a data set by number.

    Args:
        dataset: map-style data set; see the head of this file.
        mask_form: form of the masks that training needs; "none" if items may have no masks.
    """

    def __init__(self, dataset: Dataset[Any], mask_form: MaskForm = "none") -> None:
        self._dataset: Any = dataset
        self._mask_form = mask_form

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, number: int) -> RawSample:
        """Read one item.

        Raises:
            UnreadableRecordError: the data set raises an error, or the item has another form.
        """
        location = self.location(number)
        try:
            pixels, content = read_item(self._dataset, number)
        except ValueError as error:
            raise UnreadableRecordError(f"{location}: {error}") from error
        if self._mask_form != "none" and not all_have_masks(content):
            raise UnreadableRecordError(f"{location}: its objects have no masks, and those of other items do")
        return RawSample(b"", content, location, pixels=pixels)

    def location(self, number: int) -> str:
        """Return number and class, for messages."""
        return f"item {number} of {type(self._dataset).__name__}"


def categories_of(dataset: Dataset[Any], split: str) -> list[Category]:
    """Return the classes of a data set.

    Raises:
        InputError: it has no class names, the background among them, or one twice.
    """
    classes = getattr(dataset, "classes", None)
    if not classes or isinstance(classes, str):
        raise InputError(
            f"data.{split}: {type(dataset).__name__} has no `classes`; give it a list of the names of labels 1..K"
        )
    names = [str(class_name) for class_name in classes]
    if names[0].strip("_ ").lower() == "background":
        raise InputError(
            f"data.{split}: the classes of {type(dataset).__name__} begin with {names[0]!r}; leave the background out: "
            "they are the names of labels 1..K"
        )
    require_different(names, f"data.{split}: the classes of {type(dataset).__name__}")
    return [Category(label, name, label) for label, name in enumerate(names, start=1)]


def read_torch_dataset(dataset: Dataset[Any], split: str, *, needs_labels: bool = False) -> TorchDataset:
    """Read sizes, numbers of objects and classes of a data set for the planner.

    Args:
        dataset: map-style data set; see the head of this file.
        split: name of the split, for messages.
        needs_labels: whether the plan needs the labels of each item, which only reading it shows.

    Raises:
        InputError: it has no length or no class names, or an item has another form.
    """
    name = type(dataset).__name__
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise InputError(f"data.{split}: {name} is not map-style; give it __len__ and __getitem__")
    categories = categories_of(dataset, split)
    number = len(dataset)
    owner = f"data.{split}: {name}"
    survey = _read_items(dataset, range(number), owner) if needs_labels else _survey(dataset, number, owner)
    heights, widths = [height for height, _ in survey.sizes], [width for _, width in survey.sizes]
    identity = json.dumps([class_path(type(dataset)), heights, widths, [category.name for category in categories]])
    digest = hashlib.sha256(identity.encode()).hexdigest()
    offsets, image_ids = [0] * (number + 1), list(range(number))
    skeleton = skeleton_of(dataset, split)
    shard = Shard(name, digest, 0, offsets, image_ids, widths, heights, survey.objects, survey.classes)
    index = ShardIndex(name, categories, survey.has_masks, [shard] if number else [], report={}, skeleton=skeleton)
    return TorchDataset(
        index,
        addresses=(name,),
        lacking_masks=() if survey.has_masks else (name,),
        lacking_keypoints=() if skeleton is not None else (name,),
        lacking_proposals=(name,),
        exhaustive=(name,),
        shard_sources=(0,),
        dataset=dataset,
    )


class _Survey(NamedTuple):
    """What is known of every image: (height, width), number of objects, and distinct labels.

    Attributes:
        classes: empty as a whole if not every item was read.
        has_masks: whether all objects have masks.
    """

    sizes: list[tuple[int, int]]
    objects: list[int]
    classes: list[list[int]]
    has_masks: bool


def _survey(dataset: Any, number: int, owner: str) -> _Survey:
    """Survey the images from their sizes and a few of them if the data set states sizes, else from all of them."""
    measure = getattr(dataset, "get_height_and_width", None)
    everything = range(number)
    if measure is None:
        return _read_items(dataset, everything, owner)
    try:
        measured = [(int(height), int(width)) for height, width in map(measure, everything)]
    except Exception as error:  # the data set may raise anything
        words = " ".join(str(error).split())
        raise InputError(f"{owner}: get_height_and_width: {type(error).__name__}: {words}") from error
    # Read a few items from the whole data set anyway: a systematic error shows in them.
    some = everything[:: max(1, math.ceil(number / 8))]
    survey = _read_items(dataset, some, owner)
    for item, (height, width) in zip(some, survey.sizes, strict=True):
        if measured[item] != (height, width):
            raise InputError(
                f"{owner}: item {item} is {height} pixels high and {width} wide, and get_height_and_width gives "
                f"{measured[item]}"
            )
    if any(survey.objects):
        return _Survey(measured, [max(survey.objects)] * number, [], survey.has_masks)
    return _read_items(dataset, everything, owner)  # few items have objects, or none


def _read_items(dataset: Any, items: range, owner: str) -> _Survey:
    sizes, objects, classes, has_masks = [], [], [], True
    image_ids: dict[int, int] = {}
    for item in track(items, f"Reading {owner}", rich.get_console()):
        try:
            pixels, content = read_item(dataset, item)
        except ValueError as error:
            raise InputError(f"{owner}: item {item}: {error}") from error
        if (first := image_ids.setdefault(content["image_id"], item)) != item:
            raise InputError(f"{owner}: items {first} and {item} have the same image_id, {content['image_id']}")
        has_masks = has_masks and all_have_masks(content)
        sizes.append((pixels.shape[1], pixels.shape[2]))
        objects.append(len(content["annotations"]))
        classes.append(distinct_labels(content["annotations"]))
    return _Survey(sizes, objects, classes, has_masks and any(objects))
