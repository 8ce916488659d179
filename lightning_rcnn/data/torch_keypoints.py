"""Keypoints of map-style data sets in torchvision's form; see `torch_dataset.py`.

Shape letters: m objects of an item, J keypoints of an object.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_rcnn.errors import InputError
from lightning_rcnn.skeleton import Skeleton


def skeleton_of(dataset: Dataset[Any], split: str) -> Skeleton | None:
    """Return the skeleton of a data set with keypoints; None if it has none.

    Raises:
        InputError: its `skeleton` is something else.
    """
    skeleton = getattr(dataset, "skeleton", None)
    if skeleton is not None and not isinstance(skeleton, Skeleton):
        raise InputError(
            f"data.{split}: the skeleton of {type(dataset).__name__} is {type(skeleton).__name__}; give a "
            "lightning_rcnn.Skeleton"
        )
    return skeleton


def with_keypoints(content: dict[str, Any], target: Any, skeleton: Skeleton | None) -> dict[str, Any]:
    """Add the keypoints of a target [m, J, 3] to those of its objects that were not left out.

    Args:
        content: JSON of the sample, whose annotations have the numbers of the objects, from 1, as ids.
        target: target of the item.
        skeleton: keypoints of the data set; None to add none.

    Raises:
        ValueError: they have another shape, or are not finite.
    """
    if skeleton is None or target.get("keypoints") is None:
        return content
    keypoints = torch.as_tensor(target["keypoints"]).as_subclass(Tensor).double()
    if keypoints.shape != (len(target["labels"]), len(skeleton), 3):
        raise ValueError(
            f"its keypoints are {list(keypoints.shape)}, not {[len(target['labels']), len(skeleton), 3]}: x, y and "
            "visibility of each"
        )
    if not keypoints.isfinite().all():
        raise ValueError("its keypoints are not finite")
    for annotation in content["annotations"]:
        own = keypoints[annotation["id"] - 1]
        if (own[:, 2] > 0).any():
            annotation["keypoints"] = torch.where(own[:, 2:] > 0, own, 0).flatten().tolist()
    return content
