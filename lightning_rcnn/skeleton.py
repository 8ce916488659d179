"""The keypoints of a data set and of a detector: names, edges between them, and which ones a mirror exchanges.

Shape letters: J keypoints of an object.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural
from lightning_rcnn.settings import Settings

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Skeleton(Settings):
    """Names of J keypoints and how they belong together.

    Args:
        names: names of the keypoints in order, all different.
        edges: pairs of positions, from 0, between which pictures draw a line.
        flip_pairs: pairs of positions, from 0, that a mirrored image exchanges, such as left and right eye.

    Raises:
        InputError: there is no name, a name occurs twice, a position has no keypoint, or one is in two flip pairs.
    """

    names: tuple[str, ...]
    edges: Pairs = ()
    flip_pairs: Pairs = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.names or len(set(self.names)) < len(self.names):
            raise InputError(f"Skeleton: names is {list(self.names)}; give one or more, all different")
        for key in ("edges", "flip_pairs"):
            for pair in getattr(self, key):
                if not all(0 <= position < len(self.names) for position in pair) or pair[0] == pair[1]:
                    raise InputError(
                        f"Skeleton: {key} has {list(pair)}; give two positions from 0 to {len(self.names) - 1}"
                    )
        flipped = [position for pair in self.flip_pairs for position in pair]
        if len(set(flipped)) < len(flipped):
            raise InputError(f"Skeleton: flip_pairs is {self.flip_pairs}; a keypoint may be in one pair only")

    def __len__(self) -> int:
        """Return the number of keypoints J."""
        return len(self.names)

    @property
    def flip_order(self) -> list[int]:
        """Position of the keypoint that each one becomes in a mirrored image; J numbers."""
        order = list(range(len(self.names)))
        for first, second in self.flip_pairs:
            order[first], order[second] = second, first
        return order


def pairs_by_name(names: Sequence[str]) -> Pairs:
    """Return the pairs of keypoints whose names differ in left and right only, such as left_eye and right_eye."""
    positions = {name.lower(): position for position, name in enumerate(names)}
    sides = [(name.lower(), name.lower().replace("left", "right")) for name in names if "left" in name.lower()]
    return tuple((positions[left], positions[right]) for left, right in sides if right in positions)


def difference(first: Skeleton, second: Skeleton) -> str:
    """Describe the first difference between two skeletons, as "17 keypoints and 4"; empty if they are equal."""
    if len(first) != len(second):
        return f"{plural(len(first), 'keypoint')} and {len(second)}"
    for position, (ours, theirs) in enumerate(zip(first.names, second.names, strict=True)):
        if ours != theirs:
            return f"keypoint {position + 1} is {ours!r} and {theirs!r}"
    if sorted(map(sorted, first.flip_pairs)) != sorted(map(sorted, second.flip_pairs)):
        return "the same keypoints with other flip pairs"
    return ""


COCO_PERSON = Skeleton(
    names=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    edges=(
        (15, 13),
        (13, 11),
        (16, 14),
        (14, 12),
        (11, 12),
        (5, 11),
        (6, 12),
        (5, 6),
        (5, 7),
        (6, 8),
        (7, 9),
        (8, 10),
        (1, 2),
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 4),
        (3, 5),
        (4, 6),
    ),
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
)
"""COCO's keypoints of a person (cocodataset.org/#keypoints-2020)."""
