"""What the weights of a keypoint branch tell of its settings, under our names, whoever trained them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lightning_rcnn.checkpoints.translation import part
from lightning_rcnn.skeleton import COCO_PERSON

DECONVOLUTION = "keypoint.head.deconvolution.weight"
_SKELETON = "lightning_rcnn.skeleton.Skeleton"


def keypoint_hyperparameters(weights: Mapping[str, Tensor], number: int) -> dict[str, Any]:
    """Return settings of a detector with keypoints; none for one without.

    As many keypoints as COCO's are COCO's, and one class with them is COCO's person.

    Args:
        weights: weights by our names.
        number: number of foreground classes.
    """
    if DECONVOLUTION not in weights:
        return {}
    width, num_keypoints = weights[DECONVOLUTION].shape[:2]
    layers = [name for name in weights if name.startswith("keypoint.head.convolutions.") and name.endswith(".weight")]
    settings: dict[str, Any] = {"keypoint": {"num_layers": len(layers), "width": width}}
    if num_keypoints != len(COCO_PERSON):
        names = [f"keypoint {position}" for position in range(1, num_keypoints + 1)]
        return settings | {"skeleton": part(_SKELETON, names=names)}
    return settings | ({"class_names": ["person"], "category_ids": [1]} if number == 1 else {})
