"""Items of map-style data sets in torchvision's form, converted to samples as shards have them.

`torch_dataset.py` says what an item is.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision import tv_tensors

from lightning_rcnn.data.decode import rgb_pixels
from lightning_rcnn.data.geometry import ROUNDING
from lightning_rcnn.data.torch_keypoints import with_keypoints
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural


def read_item(dataset: Any, number: int) -> tuple[Tensor, dict[str, Any]]:
    """Read an item: pixels uint8 [3, h, w], and the content.

    Raises:
        ValueError: the data set raises an error, or the item has another form.
    """
    try:
        item = dataset[number]
    except InputError:
        raise
    except Exception as error:  # the data set may raise anything
        words = " ".join(str(error).split())
        raise ValueError(f"{type(error).__name__}: {words}" if words else type(error).__name__) from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise ValueError(f"it is {_kind(item)}, not (image, target)")
    current = "image"
    try:
        pixels = _pixels(item[0])
        current = "target"
        content = _content(item[1], number, pixels, len(dataset.classes))
        current = "keypoints"
        return pixels, with_keypoints(content, item[1], getattr(dataset, "skeleton", None))
    except (TypeError, RuntimeError) as error:  # torch's, about values that are not numbers
        raise ValueError(f"its {current} cannot be read ({' '.join(str(error).split())})") from error


def all_have_masks(content: Mapping[str, Any]) -> bool:
    """Tell whether all objects of a sample have masks."""
    return all("segmentation" in annotation for annotation in content["annotations"])


def _pixels(image: Any) -> Tensor:
    """Convert an image to uint8 [3, h, w]."""
    if isinstance(image, Image.Image):
        image = rgb_pixels(image)
    if isinstance(image, np.ndarray) and image.ndim == 3:
        image = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[0] != 3 or min(image.shape) < 1:
        raise ValueError(f"its image is {_kind(image)}; give a PIL image, an array [h, w, 3] or a tensor [3, h, w]")
    image = image.as_subclass(Tensor)
    if image.is_floating_point():
        if not (image.min() >= 0 and image.max() <= 1):
            raise ValueError("its image has floats beyond 0 and 1; leave the normalization to the model")
        return (image * 255).round().to(torch.uint8)
    if image.dtype != torch.uint8:
        raise ValueError(f"its image is {_kind(image)}; give uint8, or floats from 0 to 1")
    return image


def _content(target: Any, number: int, pixels: Tensor, num_classes: int) -> dict[str, Any]:
    """Convert a target to the JSON of a sample in a shard; see `index.Annotation`."""
    if isinstance(target, Mapping) and target.keys() == {"image_id"}:
        target = {**target, "boxes": [], "labels": []}
    if not isinstance(target, Mapping) or "boxes" not in target or "labels" not in target:
        raise ValueError("its target is not a dictionary with boxes and labels")
    height, width = pixels.shape[1:]
    boxes = _boxes(target["boxes"])
    labels = _labels(target["labels"], num_classes)
    crowd = _crowd(target.get("iscrowd", [0] * len(boxes)))
    masks = None if target.get("masks") is None else _masks(target["masks"])
    if not len(boxes) == len(labels) == len(crowd) == (len(boxes) if masks is None else len(masks)):
        numbers = f"{plural(len(boxes), 'box')}, {plural(len(labels), 'label')}" + (
            "" if masks is None else f", {plural(len(masks), 'mask')}"
        )
        raise ValueError(f"its target has {numbers}; give as many of each")
    annotations, left_out, clipped = [], [], []
    for position, (box, label, is_crowd) in enumerate(zip(boxes, labels, crowd, strict=True)):
        if min(box[2], width) <= max(box[0], 0) or min(box[3], height) <= max(box[1], 0):
            left_out.append(box)
            continue
        if max(-box[0], -box[1], box[2] - width, box[3] - height) > ROUNDING:
            clipped.append(box)
        box = [max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height))]
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
        "image_id": _image_id(target.get("image_id", number)),
        "file_name": str(target.get("file_name", f"item {number}")),
        "height": height,
        "width": width,
        "annotations": annotations,
        "left_out": _counted(left_out, len(boxes), "have no area inside the image"),
        "clipped": _counted(clipped, len(boxes), "reach beyond the image"),
    }


def _tensor(values: Any, key: str) -> Tensor:
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of other lengths, no numbers
        raise ValueError(f"its {key} cannot be read ({' '.join(str(error).split())})") from error


def _image_id(image_id: Any) -> int:
    try:
        return int(image_id)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"its image_id {image_id!r} is no number; leave it out, or give one (`file_name` takes text)"
        ) from error


def _crowd(crowd: Any) -> list[int]:
    crowd = _tensor(crowd, "iscrowd")
    if crowd.ndim != 1 or not ((crowd == 0) | (crowd == 1)).all():
        raise ValueError(f"its iscrowd is {_kind(crowd)}, not 0 or 1 for each box")
    return crowd.long().tolist()


def _masks(masks: Any) -> np.ndarray:
    try:
        return np.asarray(masks)
    except ValueError as error:  # of other sizes
        raise ValueError(f"its masks cannot be read ({error}); give [m, height, width]") from error


def _boxes(boxes: Any) -> list[list[float]]:
    if isinstance(boxes, tv_tensors.BoundingBoxes) and boxes.format != tv_tensors.BoundingBoxFormat.XYXY:
        raise ValueError(f"its boxes are {boxes.format.value}; give them as xyxy")
    boxes = _tensor(boxes, "boxes").as_subclass(Tensor)
    if boxes.numel() and (boxes.ndim != 2 or boxes.shape[1] != 4):
        raise ValueError(f"its boxes are {list(boxes.shape)}, not [m, 4]")
    boxes = boxes.reshape(-1, 4).double()
    if len(boxes) and boxes.min() >= 0 and boxes.max() <= 1 and (boxes != boxes.round()).any():
        first = [round(edge, 2) for edge in boxes[0].tolist()]
        raise ValueError(f"its box {first} is a share of the image; give pixels")
    is_wrong = ~(boxes.isfinite().all(dim=1) & (boxes[:, 2:] >= boxes[:, :2]).all(dim=1))
    if is_wrong.any():
        raise ValueError(f"its box {[round(edge, 2) for edge in boxes[is_wrong][0].tolist()]} is not xyxy")
    return boxes.tolist()


def _labels(labels: Any, num_classes: int) -> list[int]:
    if isinstance(labels, tuple | list | np.ndarray) and (names := [each for each in labels if isinstance(each, str)]):
        raise ValueError(f"its label {str(names[0])!r} is a name; give its place in `classes`, from 1")
    labels = _tensor(labels, "labels")
    if labels.numel() and (labels.is_floating_point() or labels.ndim != 1):
        raise ValueError(f"its labels are {_kind(labels)}, not integers [m]")
    if wrong := [label for label in labels.tolist() if not 1 <= label <= num_classes]:
        raise ValueError(f"it has the label {wrong[0]}; labels are 1 to {num_classes}, 0 is background")
    return labels.tolist()


def _counted(boxes: list[list[float]], number: int, what: str) -> str:
    """Say how many of a number of boxes are or do something; "" if none."""
    if not boxes:
        return ""
    first = [round(edge, 2) for edge in boxes[0]]
    return f"{len(boxes)} of {number} boxes {what}, the first: {first}"


def _kind(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, tuple | list) else type(value).__name__
