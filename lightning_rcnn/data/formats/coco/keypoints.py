"""Read the keypoints of a COCO file: the skeleton of its categories, and those of an object.

COCO's files give a keypoint as the index of its pixel; here a pixel's center lies at .5.

Source: https://cocodataset.org/#format-data, section 2.
"""

from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from lightning_rcnn.data.formats.coco.json_files import Entry
from lightning_rcnn.data.formats.coco.scalars import numbers, whole_number
from lightning_rcnn.data.keypoints import PIXEL_CENTER
from lightning_rcnn.errors import InputError
from lightning_rcnn.skeleton import Pairs, Skeleton, difference, pairs_by_name

Keypoints = list[float]
"""x, y and visibility of each keypoint in turn."""


def read_skeleton(categories: Sequence[Entry], is_used: Callable[[Any], bool], path: Path) -> Skeleton | None:
    """Return the one skeleton of the categories; None if no category has keypoints.

    `skeleton` and `flip_pairs` of a category are pairs of numbers from 1. Without `flip_pairs`, which COCO does not
    have, the names tell: left_eye and right_eye.

    Args:
        categories: entries of the file; those without `keypoints` have none.
        is_used: function that tells of a category id whether its class is packed.
        path: path of the file, for messages.

    Raises:
        InputError: a skeleton cannot be read, or two categories have different ones.
    """
    first: tuple[str, Skeleton] | None = None
    for entry in categories:
        if not entry.get("keypoints") or not is_used(entry.get("id")):
            continue
        name, skeleton = f"{entry.get('name')}", _skeleton(entry, path)
        if first is not None and (differs := difference(first[1], skeleton)):
            raise InputError(
                f"{path}: categories {first[0]!r} and {name!r} have different keypoints ({differs}), and a data set "
                f"has one skeleton; pack them apart, with --classes {first[0]} and with --classes {name}"
            )
        first = first or (name, skeleton)
    return None if first is None else first[1]


def read_keypoints(values: Any) -> Keypoints | None:
    """Return x, y and visibility of the keypoints as written; None if they cannot be read.

    A list of other length than three a keypoint, a number that is not finite, and another visibility than 0, 1 and 2
    cannot be read. An empty or missing list, and one of zeros, has no labeled keypoint.
    """
    parsed = numbers(values or [])
    if parsed is None or len(parsed) % 3 or not all(map(isfinite, parsed)) or not set(parsed[2::3]) <= {0, 1, 2}:
        return None
    return parsed


def keypoints_in_pixels(keypoints: Sequence[float], scale: tuple[int, int] | None) -> Keypoints:
    """Return keypoints in pixels, a pixel's center at .5; x and y of one that is not labeled are 0.

    Args:
        keypoints: as `read_keypoints` returns them.
        scale: (width, height) of the image if they are relative to it.
    """
    moved: Keypoints = []
    for x, y, visibility in zip(keypoints[0::3], keypoints[1::3], keypoints[2::3], strict=True):
        if not visibility:
            moved += [0.0, 0.0, 0.0]
        elif scale is not None:
            moved += [x * scale[0], y * scale[1], visibility]
        else:
            moved += [x + PIXEL_CENTER, y + PIXEL_CENTER, visibility]
    return moved


def result_keypoints(points: Sequence[Sequence[float]]) -> Keypoints:
    """Return keypoints (x, y, score), a pixel's center at .5, as COCO's results have them: x, y and score in turn."""
    return [
        value
        for x, y, score in points
        for value in (round(x - PIXEL_CENTER, 3), round(y - PIXEL_CENTER, 3), round(score, 6))
    ]


def points_of_result(values: Sequence[float]) -> list[list[float]]:
    """Return the keypoints of a result, the inverse of `result_keypoints`."""
    triples = zip(values[0::3], values[1::3], values[2::3], strict=True)
    return [[x + PIXEL_CENTER, y + PIXEL_CENTER, score] for x, y, score in triples]


def annotated_keypoints(keypoints: Sequence[float]) -> Entry:
    """Return the keys of an annotation for packed keypoints, the inverse of reading them."""
    points = list(zip(keypoints[0::3], keypoints[1::3], keypoints[2::3], strict=True))
    written = [
        value for x, y, v in points for value in ((x - PIXEL_CENTER, y - PIXEL_CENTER, int(v)) if v else (0, 0, 0))
    ]
    return {"keypoints": written, "num_keypoints": sum(v > 0 for _, _, v in points)}


def category_keypoints(skeleton: Skeleton) -> Entry:
    """Return the keys of a category for a skeleton."""
    entry = {"keypoints": list(skeleton.names), "skeleton": _from_one(skeleton.edges)}
    if sorted(map(sorted, skeleton.flip_pairs)) != sorted(map(sorted, pairs_by_name(skeleton.names))):
        entry["flip_pairs"] = _from_one(skeleton.flip_pairs)
    return entry


def _from_one(pairs: Pairs) -> list[list[int]]:
    return [[first + 1, second + 1] for first, second in pairs]


def _skeleton(entry: Entry, path: Path) -> Skeleton:
    names = entry["keypoints"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: keypoints of category {entry.get('name')!r} is no list of names; give one")
    try:
        flip_pairs = _pairs(entry["flip_pairs"]) if "flip_pairs" in entry else pairs_by_name(names)
        return Skeleton(tuple(names), _pairs(entry.get("skeleton") or []), flip_pairs)
    except (InputError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: the skeleton of category {entry.get('name')!r} cannot be read ({error}); correct keypoints, "
            "skeleton and flip_pairs: names, and pairs of their numbers from 1"
        ) from error


def _pairs(pairs: Any) -> Pairs:
    """Return pairs of positions from 0."""
    read = []
    for pair in pairs:
        first, second = map(whole_number, pair)
        if first is None or second is None:
            raise ValueError(f"{pair} are no two numbers")
        read.append((first - 1, second - 1))
    return tuple(read)
