"""Keypoints in the target of a transform of (image, target).

They are `tv_tensors.KeyPoints`, which torchvision counts by the index of the pixel: `keypoints` [m, J, 2], and
`keypoint_corners` [3, 2], three corners of the image, which show whether a transform mirrors it.

Shape letters: m objects of an image, J keypoints of an object.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from lightning_rcnn.data.keypoints import PIXEL_CENTER, ObjectKeypoints
from lightning_rcnn.data.transforms.base import TrainingImage
from lightning_rcnn.errors import InputError


def keypoint_entries(keypoints: ObjectKeypoints, height: int, width: int) -> dict[str, Any]:
    """Return the entries of the target for keypoints of an image of this size in pixels."""
    positions = torch.from_numpy(keypoints.points[..., :2] - PIXEL_CENTER)
    return {
        "keypoints": tv_tensors.KeyPoints(positions, canvas_size=(height, width)),
        "keypoint_corners": tv_tensors.KeyPoints(_corners(height, width), canvas_size=(height, width)),
    }


def moved_keypoints(
    target: dict[str, Any], image: Tensor, boxes: Tensor, kept: Tensor, sample: TrainingImage, name: str
) -> ObjectKeypoints | None:
    """Return the keypoints of a transformed image; None if the sample has none.

    Args:
        target: what the transform returned, and its `image` [3, h, w] and `boxes` [m', 4].
        kept: int64 [m'], indices of the objects that are left.
        sample: image before the transform.
        name: name of the transform, for messages.

    Raises:
        InputError: the transform drops keypoints, or moves boxes without them.
    """
    if sample.keypoints is None:
        return None
    positions, corners = target.get("keypoints"), target.get("keypoint_corners")
    if positions is None or corners is None or len(positions) not in (len(sample.boxes), len(boxes)):
        raise InputError(
            f"data.train_transforms: {name} drops keypoints; keep those of all objects: what leaves the image no "
            "longer counts as labeled"
        )
    indices = kept.numpy()
    _require_moved(corners, image, boxes, indices, sample, name)
    is_of_all = len(positions) == len(sample.boxes)
    moved = positions.as_subclass(Tensor).numpy().astype(np.float32) + np.float32(PIXEL_CENTER)
    keypoints = sample.keypoints.of(indices).moved(moved[indices] if is_of_all else moved)
    if _is_mirrored(corners):
        keypoints = keypoints.flipped()
    height, width = image.shape[-2:]
    return keypoints.inside((0, 0, width, height))


def _corners(height: int, width: int) -> Tensor:
    return torch.tensor([[0.0, 0.0], [width - 1.0, 0.0], [0.0, height - 1.0]])


def _is_mirrored(corners: Tensor) -> bool:
    (ax, ay), (bx, by) = (corners[1:] - corners[0]).tolist()
    return ax * by - ay * bx < 0


def _require_moved(
    corners: Tensor, image: Tensor, boxes: Tensor, kept: np.ndarray, sample: TrainingImage, name: str
) -> None:
    """Refuse a transform that leaves keypoints where they were, but not the boxes."""
    height, width = image.shape[-2:]
    clipped = sample.boxes[kept].clip(0, np.array([width, height, width, height], np.float32))
    if torch.equal(corners, _corners(*sample.image.shape[-2:])) and not np.allclose(boxes.numpy(), clipped, atol=1e-3):
        raise InputError(
            f"data.train_transforms: {name} moves boxes and leaves keypoints; move the entries keypoints and "
            "keypoint_corners of the target, too, or use a transform of lightning_rcnn or torchvision.transforms.v2"
        )
