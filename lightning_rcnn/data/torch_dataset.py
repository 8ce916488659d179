"""Data sets of torch, in torchvision's form, through the same plan, transforms and collate as shards, without packing.

An item is (image, target). The image is a PIL image, an array [h, w, 3], or a tensor [3, h, w]; uint8, or floats from 0
to 1. The target is a dictionary: `boxes` [m, 4] xyxy in pixels, `labels` [m], 1..K; where there are any, `masks`
[m, h, w], `iscrowd` [m], `image_id` and `file_name`.

The plan needs the size of every image before training: `get_height_and_width(number)`, the method that torchvision's
reference scripts ask for, is used where the data set has it; else every item is read once. Class names are those of
`classes` (a list, as torchvision's data sets have it).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

from lightning_rcnn.data.index import Category, Shard, ShardIndex
from lightning_rcnn.data.reader import RawSample, UnreadableRecordError
from lightning_rcnn.data.shards import ShardSet
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import class_path


@dataclass(frozen=True)
class TorchDataset(ShardSet):
    """A data set of torch as what the planner works on: one shard, which lies nowhere.

    Attributes:
        dataset: as the user gave it.
    """

    dataset: Any


class TorchDatasetReader:
    """Reads samples of a torch data set by number.

    Args:
        dataset: map-style, see the head of this file.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset: Any = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, number: int) -> RawSample:
        """Read one item.

        Raises:
            UnreadableRecordError: the data set raises an error, or the item is not of the form.
        """
        place = self.place(number)
        try:
            image, target = self._dataset[number]
            pixels = _pixels(image)
            return RawSample(b"", _content(target, number, pixels), place, pixels=pixels)
        except InputError:
            raise
        except Exception as error:  # whatever the data set raises
            raise UnreadableRecordError(f"{place}: {error or type(error).__name__}") from error

    def place(self, number: int) -> str:
        """Number and class, for people."""
        return f"item {number} of {type(self._dataset).__name__}"


def categories_of(dataset: Dataset[Any], split: str) -> list[Category]:
    """Return the classes of a data set.

    Raises:
        InputError: it has no class names.
    """
    classes = getattr(dataset, "classes", None)
    if not classes or isinstance(classes, str):
        raise InputError(
            f"data.{split}: {type(dataset).__name__} has no `classes`: give it a list of the names of labels 1..K"
        )
    return [Category(label, str(class_name), label) for label, class_name in enumerate(classes, start=1)]


def read_torch_dataset(dataset: Dataset[Any], split: str) -> TorchDataset:
    """Learn what the planner has to know of a data set.

    Args:
        dataset: map-style, see the head of this file.
        split: for messages.

    Raises:
        InputError: it has no length or no class names, or an item is not of the form.
    """
    name = type(dataset).__name__
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise InputError(f"data.{split}: {name} is not map-style: it needs __len__ and __getitem__")
    categories = categories_of(dataset, split)
    number = len(dataset)
    sizes, objects, has_masks = _survey(dataset, number, len(categories), f"data.{split}: {name}")
    heights, widths = [height for height, _ in sizes], [width for _, width in sizes]
    identity = json.dumps([class_path(type(dataset)), heights, widths, [category.name for category in categories]])
    digest = hashlib.sha256(identity.encode()).hexdigest()
    shard = Shard(name, digest, 0, [0] * (number + 1), list(range(number)), widths, heights, objects)
    index = ShardIndex(name, categories, has_masks, [shard] if number else [], report={})
    return TorchDataset(
        index,
        addresses=(name,),
        lacking_masks=() if has_masks else (name,),
        lacking_proposals=(name,),
        dataset=dataset,
    )


def _survey(dataset: Any, number: int, num_classes: int, place: str) -> tuple[list[tuple[int, int]], list[int], bool]:
    """(height, width) and number of objects of every image, and whether there are masks."""
    measure = getattr(dataset, "get_height_and_width", None)
    sizes, objects, has_masks = [], [], True
    # Where sizes are known, a few items are read all the same: what is wrong with them is wrong with all.
    read = range(min(number, 8)) if measure is not None else track(range(number), f"Reading {place}", transient=True)
    for item in read:
        image, target = dataset[item]
        pixels = _pixels(image)
        annotations = _content(target, item, pixels)["annotations"]
        if wrong := [entry["label"] for entry in annotations if not 1 <= entry["label"] <= num_classes]:
            raise InputError(
                f"{place}: item {item} has the label {wrong[0]}; labels are 1 to {num_classes}, 0 is background"
            )
        has_masks = has_masks and all("segmentation" in entry for entry in annotations)
        sizes.append((pixels.shape[1], pixels.shape[2]))
        objects.append(len(annotations))
    if measure is not None:
        sizes = [(int(height), int(width)) for height, width in map(measure, range(number))]
        objects = [max(objects, default=0)] * number
    return sizes, objects, has_masks and any(objects)


def _pixels(image: Any) -> Tensor:
    """Uint8 [3, h, w]."""
    if isinstance(image, Image.Image):
        image = np.array(image.convert("RGB"))
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[0] != 3:
        kind = f"{image.dtype} {list(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise ValueError(f"its image is {kind}; give a PIL image, an array [h, w, 3] or a tensor [3, h, w]")
    image = image.as_subclass(Tensor)
    if image.is_floating_point():
        if image.min() < 0 or image.max() > 1:
            raise ValueError("its image has floats beyond 0 and 1; leave the normalization to the model")
        image = (image * 255).round()
    return image.to(torch.uint8)


def _content(target: Any, number: int, pixels: Tensor) -> dict[str, Any]:
    """What a shard has as the JSON of a sample; see `index.Annotation`."""
    if not isinstance(target, Mapping) or "boxes" not in target or "labels" not in target:
        raise ValueError("its target is no dictionary with boxes and labels")
    height, width = pixels.shape[1:]
    boxes = torch.as_tensor(target["boxes"]).reshape(-1, 4).double().tolist()
    labels = torch.as_tensor(target["labels"]).long().tolist()
    crowd = torch.as_tensor(target.get("iscrowd", [0] * len(boxes))).long().tolist()
    masks = None if target.get("masks") is None else np.asarray(target["masks"])
    if not len(boxes) == len(labels) == len(crowd) == (len(boxes) if masks is None else len(masks)):
        raise ValueError(f"its target has {len(boxes)} boxes, {len(labels)} labels, and other numbers of the rest")
    annotations = []
    for position, (box, label, is_crowd) in enumerate(zip(boxes, labels, crowd, strict=True)):
        annotation: dict[str, Any] = {
            "id": position + 1,
            "bbox": box,
            "label": label,
            "iscrowd": is_crowd,
            "difficult": 0,
            "area": (box[2] - box[0]) * (box[3] - box[1]),
        }
        if masks is not None:
            if masks[position].shape != (height, width):
                raise ValueError(f"a mask is {list(masks[position].shape)}, the image {[height, width]}")
            rle = coco_mask.encode(np.asfortranarray(masks[position] > 0, dtype=np.uint8))
            annotation["segmentation"] = {"size": [height, width], "counts": rle["counts"].decode("ascii")}
            annotation["area"] = float(coco_mask.area(rle))
        annotations.append(annotation)
    return {
        "image_id": int(target.get("image_id", number)),
        "file_name": str(target.get("file_name", f"item {number}")),
        "height": height,
        "width": width,
        "annotations": annotations,
    }
