"""Merging of detections of overlapping tiles: each object of the image once, whole where a tile shows it whole.

Two tiles show the same pixels in the zone that they share, so one object leaves the same box there. The rule:

1. Two detections of one group from two tiles are one object if their boxes, cut to the shared zone, have an IoU of at
   least `SAME_IOU`. A detection that the border of its tile cuts is also that of which `INSIDE` of the part in the zone
   lies in the other's box, if it has no such partner. An object has at most one detection of a tile.
2. If a detection shows the object whole (no border inside the image cuts the box), the best such one is the object.
   Otherwise its box is the smallest around all parts, its mask their union, its score the best one; parts with less
   than `WEAK` of the best score are noise and do not count.
3. What only cut detections show, although its box lies whole in a tile, is no object: that tile saw more, and not it.
4. A detection that is cut, and falls in the zone on a whole one of another group, is a glimpse of that object and is
   dropped, unless its score is more than 1 / `WEAK` times as high.
5. Of objects of one group whose boxes have an IoU above `NMS_IOU` only the best stays, as inside a tile.

A group is a class, or all of them where an object has one class: that of the detection with its score.

Shape letters: D detections of all tiles, T tiles.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torchvision.ops import batched_nms

from lightning_rcnn.functional.tiles import Tile

SAME_IOU = 0.5
INSIDE = 0.7
WEAK = 0.5
NMS_IOU = 0.5
_BORDER = 0.02
"""Distance to the border of a tile, as a share of its longer side, up to which a box counts as cut; at least 2 pixels:
predicted boxes end on either side of a border."""
_MIN_BORDER = 2.0


class MergedObject(NamedTuple):
    """An object and the detections that it is made of.

    Attributes:
        box: xyxy in pixels of the image.
        score: score.
        label: label, 1..K.
        parts: indices of the detections whose masks are its mask.
    """

    box: tuple[float, float, float, float]
    score: float
    label: int
    parts: tuple[int, ...]


class _Match(NamedTuple):
    strength: float
    first: int
    second: int


def merge(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    tile_of: np.ndarray,
    tiles: Sequence[Tile],
    height: int,
    width: int,
) -> list[MergedObject]:
    """Merge the detections of all tiles of an image.

    Args:
        boxes: float [D, 4], in pixels of the image.
        scores: float [D].
        labels: int [D].
        groups: int [D]; only detections of one group can be one object. The labels themselves, or all the same for
            objects across classes.
        tile_of: int [D], index of the tile of each detection.
        tiles: the tiles.
        height, width: size of the image, pixels.

    Returns:
        The objects, best first.
    """
    frames = _frames(tiles)
    is_cut = _is_cut(boxes, frames[tile_of], height, width)
    matches: list[_Match] = []
    overruled = np.zeros(len(boxes), dtype=bool)
    members = {tile: np.flatnonzero(tile_of == tile) for tile in np.unique(tile_of).tolist()}
    for first, second, zone in _shared_zones(list(members), frames):
        found, dropped = _match(boxes, scores, groups, is_cut, members[first], members[second], zone)
        matches += found
        overruled[dropped] = True
    found_objects = _join(matches, tile_of)
    objects = [
        merged for parts in found_objects if (merged := _merge_parts(parts, boxes, scores, labels, is_cut, overruled))
    ]
    return _suppress([one for one in objects if not _is_missed(one, frames, is_cut, height, width)], groups)


def _is_cut(boxes: np.ndarray, frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Mark the boxes that a border inside the image cuts of their frames [D, 4], the edges of tiles; bool [D]."""
    distance = np.maximum(_MIN_BORDER, _BORDER * (frames[:, 2:] - frames[:, :2]).max(axis=1, initial=0))[:, None]
    is_inner = np.concatenate([frames[:, :2] > 0, frames[:, 2:] < np.array([width, height])], axis=1)
    return (is_inner & (np.abs(boxes - frames) <= distance)).any(axis=1)


def _is_missed(merged: MergedObject, frames: np.ndarray, is_cut: np.ndarray, height: int, width: int) -> bool:
    """Tell whether a tile shows the object whole, and none of its detections is of such a tile: rule 3."""
    if not is_cut[list(merged.parts)].all():
        return False
    box = np.array(merged.box)
    around = frames[(frames[:, :2] <= box[:2]).all(axis=1) & (frames[:, 2:] >= box[2:]).all(axis=1)]
    return not _is_cut(np.broadcast_to(box, around.shape), around, height, width).all()


def _shared_zones(numbers: Sequence[int], frames: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield two of the numbered tiles and the zone that they share, xyxy, for all that share one."""
    for position, first in enumerate(numbers):
        others = np.array(numbers[position + 1 :], dtype=np.int64)
        corner = np.maximum(frames[first, :2], frames[others, :2])
        end = np.minimum(frames[first, 2:], frames[others, 2:])
        for index in np.flatnonzero((end > corner).all(axis=1)).tolist():
            yield first, int(others[index]), np.concatenate([corner[index], end[index]])


def _frames(tiles: Sequence[Tile]) -> np.ndarray:
    """Return the edges of tiles, xyxy, float [T, 4]."""
    edges = [(tile.left, tile.top, tile.left + tile.width, tile.top + tile.height) for tile in tiles]
    return np.array(edges, dtype=float).reshape(-1, 4)


def _match(
    boxes: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    is_cut: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    zone: np.ndarray,
) -> tuple[list[_Match], list[int]]:
    """Match the detections of two tiles in their zone; return the matches, and the detections that rule 4 drops."""
    parts, others = (np.clip(boxes[some], np.tile(zone[:2], 2), np.tile(zone[2:], 2)) for some in (first, second))
    areas, other_areas = (np.prod(some[:, 2:] - some[:, :2], axis=1) for some in (parts, others))
    corner = np.maximum(parts[:, None, :2], others[None, :, :2])
    shared = np.prod(np.maximum(np.minimum(parts[:, None, 2:], others[None, :, 2:]) - corner, 0), axis=2)
    if not shared.any():
        return [], []
    tiny = np.finfo(float).tiny
    iou = shared / np.maximum(areas[:, None] + other_areas[None] - shared, tiny)
    is_one_group = groups[first][:, None] == groups[second][None]
    is_same = (iou >= SAME_IOU) & is_one_group
    cut, other_cut = is_cut[first], is_cut[second]
    inside = shared / np.maximum(areas[:, None], tiny) * (cut & ~is_same.any(1))[:, None]
    other_inside = shared / np.maximum(other_areas[None], tiny) * (other_cut & ~is_same.any(0))[None]
    is_inside = (np.maximum(inside, other_inside) >= INSIDE) & is_one_group
    best = np.maximum(np.where(is_inside, inside, 0).max(1)[:, None], np.where(is_inside, other_inside, 0).max(0)[None])
    is_inside &= np.maximum(inside, other_inside) >= best
    lower = np.minimum(scores[first][:, None], scores[second][None])
    matches = [
        _Match(float(lower[i, j]), int(first[i]), int(second[j])) for i, j in np.argwhere(is_same | is_inside).tolist()
    ]
    is_glimpse = (iou >= SAME_IOU) & ~is_one_group
    weaker = scores[first][:, None] * WEAK <= scores[second][None]
    other_weaker = scores[second][None] * WEAK <= scores[first][:, None]
    dropped = first[(is_glimpse & weaker & cut[:, None] & ~other_cut[None]).any(1)].tolist()
    dropped += second[(is_glimpse & other_weaker & other_cut[None] & ~cut[:, None]).any(0)].tolist()
    return matches, dropped


def _join(matches: list[_Match], tile_of: np.ndarray) -> list[list[int]]:
    """Join matched detections to objects, the surest pairs first, with at most one detection of a tile in each."""
    object_of = list(range(len(tile_of)))
    objects = {index: [index] for index in object_of}
    tiles = {index: {int(tile)} for index, tile in enumerate(tile_of)}
    for match in sorted(matches, reverse=True):
        first, second = object_of[match.first], object_of[match.second]
        if first == second or tiles[first] & tiles[second]:
            continue
        for index in objects[second]:
            object_of[index] = first
        objects[first] += objects.pop(second)
        tiles[first] |= tiles.pop(second)
    return list(objects.values())


def _merge_parts(
    members: list[int],
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    is_cut: np.ndarray,
    overruled: np.ndarray,
) -> MergedObject | None:
    """Make one object of its detections by rule 2; None if rule 4 drops it."""
    whole = [index for index in members if not is_cut[index]]
    best = max(whole or members, key=lambda index: scores[index])
    if not whole and overruled[best]:
        return None
    parts = [best] if whole else [index for index in members if scores[index] >= WEAK * scores[best]]
    x1, y1 = boxes[parts, :2].min(axis=0).tolist()
    x2, y2 = boxes[parts, 2:].max(axis=0).tolist()
    return MergedObject((x1, y1, x2, y2), float(scores[best]), int(labels[best]), tuple(parts))


def _suppress(objects: list[MergedObject], groups: np.ndarray) -> list[MergedObject]:
    """Apply non-maximum suppression in each group; return the rest, best first."""
    boxes = torch.tensor([merged.box for merged in objects]).reshape(-1, 4)
    scores = torch.tensor([merged.score for merged in objects])
    group_of = torch.tensor([int(groups[merged.parts[0]]) for merged in objects], dtype=torch.int64)
    return [objects[index] for index in batched_nms(boxes, scores, group_of, NMS_IOU).tolist()]
