"""What a data set looks like to the packer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lightning_rcnn.data.defects import DefectLog, Finding
from lightning_rcnn.data.index import Category


class Sample(NamedTuple):
    """One image with its annotations, ready to be written.

    Attributes:
        image: the bytes of the image file, unchanged.
        extension: by content, without a dot.
        record: the sample's JSON (see `data/index.Annotation`).
    """

    image: bytes
    extension: str
    record: dict[str, Any]


class Outcome(NamedTuple):
    """What reading one item gave.

    Attributes:
        sample: None if the item is skipped.
        num_objects: as annotated, before the rules.
    """

    sample: Sample | None
    findings: list[Finding]
    num_objects: int


class Contents(NamedTuple):
    """How much of a data set something is about."""

    images: int = 0
    objects: int = 0


NOTHING = Contents()


@dataclass(frozen=True)
class Source:
    """A data set that can be packed.

    Attributes:
        name: for people, such as "VOC2007/trainval".
        categories: labels 1..K.
        items: one for each image, in the order of the packed set.
        read: turns an item into a sample; called in other processes, so it and the items can be pickled.
        log: what the listing of the items found already.
        left_out: what is annotated, but in no item.
        name_of: an item, for people.
    """

    name: str
    categories: list[Category]
    items: Sequence[Any]
    read: Callable[[Any], Outcome]
    log: DefectLog = field(default_factory=DefectLog)
    left_out: Contents = NOTHING
    name_of: Callable[[Any], str] = str
