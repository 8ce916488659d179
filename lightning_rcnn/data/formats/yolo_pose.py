"""Keypoints of a YOLO data set (Ultralytics' pose task): keys of its YAML file, and numbers behind each box.

A line is `class x y width height x1 y1 v1 x2 y2 v2 ...`: shares of the image's size and COCO's visibility, which files
of two numbers a keypoint leave out. `kpt_shape` has the number of keypoints and of their numbers, `flip_idx` the
keypoint that each one becomes in a mirrored image, `kpt_names` their names for each class. Ultralytics has no place for
the lines of pictures; `skeleton`, pairs of positions from 0, is ours, and others leave such a key alone.

Source: https://docs.ultralytics.com/datasets/pose/

Shape letters: J keypoints of an object.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning_rcnn.data.formats.coco.keypoints import Keypoints, read_keypoints
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural
from lightning_rcnn.skeleton import COCO_PERSON, Pairs, Skeleton, pairs_by_name

YAML_NULLS = (None, "", "null", "~")
"""How YAML spells that a key has no value, where all values are text."""
_SEEN = 2


class Pose(NamedTuple):
    """The keypoints of a data set.

    Attributes:
        skeleton: keypoints of the objects.
        has_visibility: whether a keypoint is x, y and visibility, or x and y alone.
        notes: remarks for the user.
    """

    skeleton: Skeleton
    has_visibility: bool
    notes: tuple[str, ...] = ()

    @property
    def num_values(self) -> int:
        """Number of numbers behind a box."""
        return len(self.skeleton) * (3 if self.has_visibility else 2)


def read_pose(content: Mapping[str, Any], kpt_names: Any, path: Path) -> Pose | None:
    """Return the keypoints that a YAML file states; None if it states none.

    Without `kpt_names`, or with empty ones, keypoints are those of a person if they are 17 with the `flip_idx` of
    COCO's, and numbered otherwise. Without `flip_idx`, or with an empty one, the names tell: left_eye and right_eye.

    Args:
        content: content of the file.
        kpt_names: its `kpt_names` with all values as text: unquoted, the names y and no become booleans.
        path: path of the file, for messages.

    Raises:
        InputError: a key cannot be read, or the classes have different keypoints.
    """
    if "kpt_shape" not in content:
        return None
    number, has_visibility = _shape(content["kpt_shape"], path)
    pairs = None if content.get("flip_idx") in (None, []) else _flip_pairs(content["flip_idx"], number, path)
    names = _names(kpt_names, number, path)
    if names is None and pairs == COCO_PERSON.flip_pairs and number == len(COCO_PERSON):
        return Pose(COCO_PERSON, has_visibility, ("17 keypoints without names: taken for COCO's of a person",))
    names = names or tuple(f"keypoint_{position}" for position in range(1, number + 1))
    flip_pairs = pairs_by_name(names) if pairs is None else pairs
    is_known = pairs is not None or bool(flip_pairs)
    note = "no flip_idx: a mirrored image exchanges no keypoints; add it if some are left and right"
    try:
        skeleton = Skeleton(names, _edges(content.get("skeleton")), flip_pairs)
    except (InputError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: its keypoints cannot be read ({error}); correct kpt_names, flip_idx and skeleton"
        ) from error
    return Pose(skeleton, has_visibility, () if is_known else (note,))


def read_points(values: Sequence[float], pose: Pose) -> Keypoints | None:
    """Return x, y and visibility of the numbers behind a box, as shares of the image; None if they cannot be read.

    Of two numbers a keypoint, those that are not labeled are 0 0, or negative.
    """
    if pose.has_visibility:
        return read_keypoints(values)
    points = zip(values[0::2], values[1::2], strict=True)
    seen = [(x, y, _SEEN) if min(x, y) >= 0 and max(x, y) > 0 else (0.0, 0.0, 0) for x, y in points]
    return read_keypoints([value for point in seen for value in point])


def pose_keys(skeleton: Skeleton, num_classes: int) -> dict[str, Any]:
    """Return the keys of the YAML file for a skeleton, the inverse of `read_pose`."""
    return {
        "kpt_shape": [len(skeleton), 3],
        "flip_idx": skeleton.flip_order,
        "kpt_names": {number: list(skeleton.names) for number in range(num_classes)},
        "skeleton": [list(edge) for edge in skeleton.edges],
    }


def pose_values(keypoints: Sequence[float], skeleton: Skeleton, width: int, height: int) -> list[str]:
    """Return the numbers behind a box for packed keypoints, zeros if an object has none."""
    values = list(keypoints) or [0.0] * (3 * len(skeleton))
    points = zip(values[0::3], values[1::3], values[2::3], strict=True)
    return [text for x, y, v in points for text in (f"{x / width:.9f}", f"{y / height:.9f}", f"{int(v)}")]


def _shape(value: Any, path: Path) -> tuple[int, bool]:
    is_pair = isinstance(value, list) and len(value) == 2 and all(type(each) is int for each in value)
    if not is_pair or value[0] < 1 or value[1] not in (2, 3):
        raise InputError(
            f"{path}: kpt_shape is {value!r}; give the number of keypoints, and 2 for x and y or 3 with visibility, "
            "such as [17, 3]"
        )
    return value[0], value[1] == 3


def _flip_pairs(value: Any, number: int, path: Path) -> Pairs:
    order = value if isinstance(value, list) and all(type(each) is int for each in value) else []
    if sorted(order) != [*range(number)] or [order[each] for each in order] != [*range(number)]:
        raise InputError(
            f"{path}: flip_idx is {value!r}; give for each of the {number} keypoints, from 0, the one that it becomes "
            "in a mirrored image"
        )
    return tuple((first, second) for first, second in enumerate(order) if first < second)


def _names(value: Any, number: int, path: Path) -> tuple[str, ...] | None:
    if value in YAML_NULLS:
        return None
    listed = list(value.values()) if isinstance(value, dict) else value
    if isinstance(listed, list) and not any(each not in (*YAML_NULLS, []) for each in listed):
        return None
    if listed and _are_texts(listed):
        listed = [listed]
    if not isinstance(listed, list) or not all(map(_are_texts, listed)):
        raise InputError(f"{path}: kpt_names is no list of names for each class; correct it, or leave it out")
    first = listed[0]
    if any(names != first for names in listed):
        raise InputError(
            f"{path}: kpt_names of its classes differ, and a data set has one skeleton; give all classes the same"
        )
    if len(first) != number:
        raise InputError(
            f"{path}: kpt_names has {plural(len(first), 'name')}, kpt_shape {plural(number, 'keypoint')}; correct "
            "one of them"
        )
    return tuple(first)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _edges(value: Any) -> Pairs:
    edges = []
    for first, second in value or ():
        if type(first) is not int or type(second) is not int:
            raise ValueError(f"[{first}, {second}] are no two positions")
        edges.append((first, second))
    return tuple(edges)
