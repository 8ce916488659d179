"""The form to which all formats are read: images with named objects, before the rules of `data/defects.py`.

A format's module lists the images of a data set, split by split, and what is said of each. `data/pack/labeled.py` finds
the image files, numbers the classes and applies the rules.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.skeleton import Skeleton


class LabelsError(ValueError):
    """Raised when the annotation file of one image cannot be read; the message continues a sentence after its name."""


class LabeledObject(NamedTuple):
    """One object as annotated.

    Attributes:
        class_name: name of the class; None if it is unknown.
        edges: x1, y1, x2, y2; None to take the box around the segmentation.
        segmentation: segmentation in COCO's form; None if there is none.
        iscrowd, difficult: 0 or 1.
        is_relative: whether edges and polygons are shares of the image's width and height instead of pixels.
        place: location in the annotation file, for messages.
        lost: defect for which the object is skipped; None if it is usable so far.
        defects: further defects that do not cost the object.
        keypoints: x, y and visibility of each keypoint in turn, in the frame of `edges` with a pixel's center at .5;
            empty if there are none, None if they cannot be read.
    """

    class_name: str | None
    edges: tuple[float, float, float, float] | None = None
    segmentation: Any = None
    iscrowd: int = 0
    difficult: int = 0
    is_relative: bool = False
    place: str = ""
    lost: Defect | None = None
    defects: tuple[Defect, ...] = ()
    keypoints: Sequence[float] | None = ()


class Labels(NamedTuple):
    """What a data set says of one image.

    Attributes:
        objects: objects of the image.
        size: stated (width, height) in pixels; (0, 0) if the format has a place for it that is empty, None if the
            format states no sizes.
        findings: defects of the annotation as a whole.
    """

    objects: Sequence[LabeledObject] = ()
    size: tuple[int, int] | None = None
    findings: Sequence[Finding] = ()


class LabeledImage(NamedTuple):
    """One image of a split.

    Attributes:
        file_name: name of the image as written, relative to the split's folder.
        labels: its labels, or a function that reads them; it may raise `LabelsError`.
        stated_in: annotation file that names the image, for messages.
        embedded: function that returns the bytes of an image that the annotation file holds; None if it holds none.
        group: group that the annotations state, such as a patient or a film; "" if they state none.
        content: function that returns the bytes of an image that is part of the data set's table, whatever file has its
            name; None for images in files.
    """

    file_name: str
    labels: Labels | Callable[[], Labels]
    stated_in: str = ""
    embedded: Callable[[], bytes] | None = None
    group: str = ""
    content: Callable[[], bytes] | None = None


@dataclass(frozen=True)
class LabeledSplit:
    """One split of a data set.

    Attributes:
        name: name such as "train"; empty for a set that is not split.
        folder: folder to which the file names are relative.
        images: images in the order of the packed set.
        log: defects found while listing.
        lists_all: whether every image in the folder should be an entry of this split or of another one, so that others
            are reported.
        num_lost: number of images that the log reports as lost, without an entry.
    """

    name: str
    folder: Path
    images: list[LabeledImage]
    log: DefectLog = field(default_factory=DefectLog)
    lists_all: bool = False
    num_lost: int = 0


@dataclass(frozen=True)
class LabeledData:
    """A data set in one of the formats.

    Attributes:
        evidence: files by which it was read, for messages.
        splits: splits; one without a name if the set is not split.
        class_names: names of the classes in the order of the file that lists them; None if no file does. The classes
            are then those that occur, sorted.
        notes: remarks for the user, such as a split whose folder is missing.
        skeleton: keypoints of the objects; None if they have none.
    """

    evidence: str
    splits: list[LabeledSplit]
    class_names: list[str] | None = None
    notes: tuple[str, ...] = ()
    skeleton: Skeleton | None = None
