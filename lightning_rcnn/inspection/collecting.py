"""The facts of a whole set as compact columns: about 400 bytes an image and 80 an object.

Shape letters: N images, M objects of all images, P pairs of objects that overlap.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from lightning_rcnn.data.index import Category, ShardIndex
from lightning_rcnn.data.reader import SampleReader
from lightning_rcnn.inspection.appearance import NUM_COLORS
from lightning_rcnn.inspection.facts import SampleFacts
from lightning_rcnn.inspection.fingerprints import THUMBNAIL


@dataclass(frozen=True)
class InspectedSet:
    """A set of images under its name.

    Attributes:
        name: name of the set, such as "train".
        index: its index.
        reader: reader of its samples by number.
        sizes: (height, width) of the images, int64 [N, 2], original frame.
        num_objects: objects of each image, crowds included, int64 [N].
        image_of: image of each object, int64 [M].
        boxes: float32 [M, 4], xyxy, original frame.
        labels: int32 [M], 1..K.
        is_crowd: bool [M].
        colors: uint8 [M, `NUM_COLORS`], see `appearance.py`.
        touches: bool [M], whether the box meets that of another single object.
        pairs: int64 [P, 2], objects of one image whose IoU is `LEAST_IOU` or more.
        iou: float32 [P].
        file_hashes, picture_hashes: uint64 [N].
        thumbnails: uint8 [N, `THUMBNAIL`^2].
        contrasts: uint8 [N].
        problems: number of an unreadable sample -> reason.
        damages: number of a damaged sample -> the decoder's report.
    """

    name: str
    index: ShardIndex
    reader: SampleReader
    sizes: np.ndarray
    num_objects: np.ndarray
    image_of: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    is_crowd: np.ndarray
    colors: np.ndarray
    touches: np.ndarray
    pairs: np.ndarray
    iou: np.ndarray
    file_hashes: np.ndarray
    picture_hashes: np.ndarray
    thumbnails: np.ndarray
    contrasts: np.ndarray
    problems: dict[int, str]
    damages: dict[int, str]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def categories(self) -> list[Category]:
        """Classes in the order of their labels."""
        return self.index.categories

    def objects_of(self, image: int) -> np.ndarray:
        """Return the numbers of the objects of an image, int64."""
        start, end = np.searchsorted(self.image_of, (image, image + 1))
        return np.arange(start, end)


@dataclass
class _Columns:
    """Bytes of the columns while they grow."""

    num_objects: list[int] = field(default_factory=list)
    file_hashes: list[int] = field(default_factory=list)
    picture_hashes: list[int] = field(default_factory=list)
    contrasts: bytearray = field(default_factory=bytearray)
    thumbnails: bytearray = field(default_factory=bytearray)
    boxes: bytearray = field(default_factory=bytearray)
    labels: bytearray = field(default_factory=bytearray)
    is_crowd: bytearray = field(default_factory=bytearray)
    colors: bytearray = field(default_factory=bytearray)
    touches: bytearray = field(default_factory=bytearray)
    pairs: bytearray = field(default_factory=bytearray)
    iou: bytearray = field(default_factory=bytearray)


def collect(name: str, index: ShardIndex, reader: SampleReader, facts: Iterable[SampleFacts]) -> InspectedSet:
    """Collect the facts of the samples of a set, in order.

    Args:
        name: name of the set.
        index: its index.
        reader: reader of its samples.
        facts: facts of each sample.
    """
    columns, total = _Columns(), 0
    problems: dict[int, str] = {}
    damages: dict[int, str] = {}
    for number, one in enumerate(facts):
        if one.problem:
            problems[number] = one.problem
        if one.damage:
            damages[number] = one.damage
        columns.num_objects.append(len(one.boxes))
        columns.file_hashes.append(one.file_hash)
        columns.picture_hashes.append(one.picture_hash)
        columns.contrasts.append(one.contrast)
        columns.thumbnails += one.thumbnail.tobytes()
        columns.boxes += one.boxes.tobytes()
        columns.labels += one.labels.tobytes()
        columns.is_crowd += one.is_crowd.tobytes()
        columns.colors += one.colors.tobytes()
        columns.touches += one.touches.tobytes()
        columns.pairs += (one.pairs.astype(np.int64) + total).tobytes()
        columns.iou += one.iou.tobytes()
        total += len(one.boxes)
    num_objects = np.array(columns.num_objects, np.int64)
    shards = index.shards
    sizes = [[height, width] for shard in shards for height, width in zip(shard.heights, shard.widths, strict=True)]
    return InspectedSet(
        name=name,
        index=index,
        reader=reader,
        sizes=np.array(sizes, np.int64).reshape(-1, 2),
        num_objects=num_objects,
        image_of=np.repeat(np.arange(len(num_objects)), num_objects),
        boxes=np.frombuffer(columns.boxes, np.float32).reshape(-1, 4),
        labels=np.frombuffer(columns.labels, np.int32),
        is_crowd=np.frombuffer(columns.is_crowd, np.bool_),
        colors=np.frombuffer(columns.colors, np.uint8).reshape(-1, NUM_COLORS),
        touches=np.frombuffer(columns.touches, np.bool_),
        pairs=np.frombuffer(columns.pairs, np.int64).reshape(-1, 2),
        iou=np.frombuffer(columns.iou, np.float32),
        file_hashes=np.array(columns.file_hashes, np.uint64),
        picture_hashes=np.array(columns.picture_hashes, np.uint64),
        thumbnails=np.frombuffer(columns.thumbnails, np.uint8).reshape(-1, THUMBNAIL**2),
        contrasts=np.frombuffer(columns.contrasts, np.uint8),
        problems=problems,
        damages=damages,
    )
