"""The interface between a data set and the packer."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lightning_rcnn.data.defects import DefectLog, Finding
from lightning_rcnn.data.index import Category
from lightning_rcnn.skeleton import Skeleton


class Sample(NamedTuple):
    """One image with its annotations, ready to be written.

    Attributes:
        image: bytes of the image file, unchanged.
        extension: extension by content, without a dot.
        record: JSON of the sample (see `data/index.Annotation`).
    """

    image: bytes
    extension: str
    record: dict[str, Any]


class Outcome(NamedTuple):
    """The result of reading one item.

    Attributes:
        sample: sample; None if the item is skipped.
        findings: defects of the item.
        num_objects: number of objects before the rules.
    """

    sample: Sample | None
    findings: list[Finding]
    num_objects: int


class Contents(NamedTuple):
    """Numbers of images and objects."""

    images: int = 0
    objects: int = 0


NOTHING = Contents()


def _unknown(_: Any) -> Collection[int]:
    return ()


def _ungrouped(_: Any) -> str:
    return ""


@dataclass(frozen=True)
class Source:
    """A data set that can be packed.

    Attributes:
        name: name for messages, such as "VOC2007/trainval".
        categories: classes with the labels 1..K.
        items: items, one per image, in the order of the packed set.
        read: function that reads an item into a sample. Several threads call it at a time, or other processes, so it
            and the items are picklable.
        log: defects found while listing the items.
        left_out: numbers of annotated images and objects without an item.
        name_of: function from an item to its name for messages.
        labels_of: function from an item to the labels of its single objects, without reading the image.
        group_of: function from an item to the group that the annotations state for it; "" if they state none.
        is_federated: see `ShardIndex`.
        skeleton: keypoints of the objects; None if they have none.
        writes_images: whether the images are written; false for those that stay in shards of others.
        needs_python: whether most of the reading is work in Python, such as checks of masks: processes do it side by
            side, threads only read and decode files.
    """

    name: str
    categories: list[Category]
    items: Sequence[Any]
    read: Callable[[Any], Outcome]
    log: DefectLog = field(default_factory=DefectLog)
    left_out: Contents = NOTHING
    name_of: Callable[[Any], str] = str
    labels_of: Callable[[Any], Collection[int]] = _unknown
    group_of: Callable[[Any], str] = _ungrouped
    is_federated: bool = False
    skeleton: Skeleton | None = None
    writes_images: bool = True
    needs_python: bool = False
