"""Bad input: what may be odd about a data set, and what is done about it. The one table of rules.

What makes a data set unusable as a whole (no such folder, JSON that does not parse, category ids that contradict each
other, no class, no image left) is no row here: it stops the packing with an `InputError`. So does the loss of too large
a share of images or objects (see `completeness.py`).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import NamedTuple

from lightning_rcnn.errors import shorten_words


class Action(StrEnum):
    """What a rule does; the first is harmless, the others are what `--strict` refuses."""

    NOTED = "noted"  # nothing is wrong: said, so that one knows
    KEPT = "kept"  # suspicious, but left as it is
    REPAIRED = "repaired"
    SKIPPED = "skipped"  # left out: an image, an object, or of an object its mask or a polygon of it


class Rule(NamedTuple):
    """What is done, and the rule in words."""

    action: Action
    text: str


class Defect(Enum):
    """Every oddity by name, in the order in which a report shows them."""

    MISSING_IMAGE = Rule(Action.SKIPPED, "an annotated image has no file")
    AMBIGUOUS_FILE_NAME = Rule(Action.SKIPPED, "several files, or several names and one file, fit: not guessed")
    FILE_OUTSIDE_FOLDER = Rule(
        Action.SKIPPED, "the name leads out of the image folder; give the folder that all names begin in"
    )
    INEXACT_FILE_NAME = Rule(
        Action.REPAIRED, "no file is called exactly so, but one that is spelled in another way: that one is meant"
    )
    ABSOLUTE_FILE_NAME = Rule(
        Action.NOTED, "an absolute path that leads out of the image folder: the file is read there"
    )
    UNREADABLE_IMAGE = Rule(Action.SKIPPED, "no image, or one whose header is damaged")
    UNSUPPORTED_IMAGE = Rule(
        Action.SKIPPED, "an image of a kind that is not read, such as HEIC, floating-point pixels, or too many of them"
    )
    TRUNCATED_IMAGE = Rule(Action.SKIPPED, "the header is readable, but not all of the pixels: the file is cut off")
    DAMAGED_IMAGE = Rule(Action.SKIPPED, "the header is readable, but the pixels are damaged")
    CORRUPT_JPEG = Rule(Action.KEPT, "the JPEG decoder reports damage, but no missing pixels")
    IMAGE_WITHOUT_ANNOTATION = Rule(Action.SKIPPED, "the split names an image that has no XML file")
    MALFORMED_XML = Rule(Action.SKIPPED, "the XML file does not parse, or is none of VOC's; its image is left out")
    INVALID_IMAGE_ENTRY = Rule(Action.SKIPPED, "an image in the JSON lacks a file name or an id from 0 up")
    DUPLICATE_IMAGE = Rule(Action.SKIPPED, "an image is listed again under the same id or name; the first one stays")
    DUPLICATE_FILE_NAME = Rule(Action.KEPT, "two image ids share one file")
    NAME_FROM_URL = Rule(Action.NOTED, "an image has a coco_url and no file_name, as in LVIS: the last part of the URL")
    TEXT_IDS = Rule(
        Action.NOTED, "ids that are no whole numbers from 0 to 2^62: the next numbers, in the order of the list"
    )
    UNLISTED_FILE = Rule(Action.NOTED, "a file in the image folder is in no entry of the JSON; left out")
    EMPTY_IMAGE = Rule(Action.NOTED, "no object: a negative example")
    EMPTIED_IMAGE = Rule(Action.KEPT, "all of the objects were skipped: now a negative example")

    WRONG_EXTENSION = Rule(
        Action.REPAIRED, "the file is not what its name says, such as a PNG named .jpg: goes by content"
    )
    UNUSUAL_NAME = Rule(Action.NOTED, "dots or white space in the name: the sample's key is a number, the name is kept")
    GREY_IMAGE = Rule(Action.NOTED, "one channel: decoded to three equal ones")
    ALPHA_CHANNEL = Rule(Action.NOTED, "transparency is dropped, the colours stay as stored")
    EXTRA_CHANNEL = Rule(Action.KEPT, "a channel beside red, green and blue, such as near infrared: dropped")
    PALETTE_IMAGE = Rule(Action.NOTED, "decoded to the palette's colours")
    SIXTEEN_BIT_IMAGE = Rule(Action.NOTED, "decoded to the upper 8 bits")
    DARK_SIXTEEN_BIT_IMAGE = Rule(
        Action.KEPT,
        "16 bits, but no value above 4095: decoded to almost black; scale the values up and pack again",
    )
    CMYK_IMAGE = Rule(Action.NOTED, "decoded to RGB")
    SEVERAL_FRAMES = Rule(Action.NOTED, "only the first frame is used")
    EXIF_APPLIED = Rule(Action.NOTED, "EXIF orientation 2-8: the boxes refer to the turned image, as it is shown")
    EXIF_IGNORED = Rule(
        Action.NOTED, "EXIF orientation 5-8, but the annotated size fits only the unturned image: not turned"
    )
    SIZE_MISSING = Rule(Action.REPAIRED, "no image size or 0 x 0 in the annotation: the file's size")
    SIZE_SCALED = Rule(
        Action.REPAIRED, "annotated at another size of the image: boxes and masks are scaled to the file's size"
    )
    SIZE_MISMATCH = Rule(
        Action.SKIPPED, "the annotated size is of another shape than the file, or smaller than its boxes: left out"
    )

    ONE_BASED_BOX = Rule(Action.NOTED, "VOC counts pixels from 1, both ends included: x1 and y1 become one less")
    ZERO_COORDINATE = Rule(Action.REPAIRED, "a 0 among coordinates that count from 1: the edge 0 (see --coordinates)")
    RELATIVE_COORDINATES = Rule(
        Action.REPAIRED, "all boxes, or all polygons, of the file are shares of the image, 0 to 1: they become pixels"
    )
    BOX_FROM_MASK = Rule(Action.REPAIRED, "no box, but a mask: the box around the mask")
    MISSING_BOX = Rule(Action.SKIPPED, "no box, or not four numbers, and no mask that has one")
    NON_FINITE_BOX = Rule(Action.SKIPPED, "a coordinate is NaN or infinite")
    INVERTED_BOX = Rule(Action.SKIPPED, "x2 < x1 or y2 < y1: which number is wrong cannot be known")
    ZERO_AREA_BOX = Rule(Action.SKIPPED, "no width or no height, as a click without a drag leaves it")
    BOX_OUTSIDE = Rule(Action.SKIPPED, "the box lies wholly outside the image")
    BOX_PARTLY_OUTSIDE = Rule(Action.REPAIRED, "the box reaches out of the image: clipped")
    UNKNOWN_CLASS = Rule(Action.SKIPPED, "an object of a class that is not in the list of classes")
    OTHER_CLASS = Rule(Action.NOTED, "an object of a class that --classes leaves out")
    UNKNOWN_IMAGE = Rule(Action.SKIPPED, "an annotation of an image that is not in the list of images")
    DUPLICATE_ANNOTATION = Rule(Action.SKIPPED, "the same annotation under the same id once more")
    ANNOTATION_ID = Rule(Action.REPAIRED, "an annotation's id is missing or taken: it gets a new one")

    CROWD = Rule(Action.NOTED, "iscrowd 1: a group of objects; detections in it count neither for nor against")

    BAD_POLYGON = Rule(
        Action.SKIPPED, "a polygon of fewer than 3 points, or with a number missing or not finite: left out"
    )
    POLYGON_OUTSIDE = Rule(
        Action.SKIPPED, "a polygon lies wholly outside the image, or leaves it by more than its size: left out"
    )
    POLYGON_PARTLY_OUTSIDE = Rule(Action.KEPT, "a polygon reaches out of the image: what is inside counts")
    CROSSED_POLYGON = Rule(
        Action.NOTED, "a polygon crosses or touches itself: stored as RLE of the pixels that the COCO API gives it"
    )
    MANY_CORNERS = Rule(
        Action.NOTED,
        "a polygon of more than 2000 corners, not looked at for crossings: stored as RLE of the COCO API's pixels",
    )
    BAD_MASK = Rule(
        Action.SKIPPED,
        "neither polygons nor an RLE, or an RLE whose counts are corrupt or do not add up: the object loses its mask",
    )
    SWAPPED_MASK_SIZE = Rule(
        Action.REPAIRED, "the RLE's size is [width, height]: its pixels are read as they fit the object's box"
    )
    MASK_SIZE_MISMATCH = Rule(Action.SKIPPED, "the RLE's size is not the image's: the object loses its mask")
    EMPTY_MASK = Rule(Action.SKIPPED, "an RLE of no pixel, or polygons that cover none: the object loses its mask")
    MASK_OUTSIDE_BOX = Rule(Action.SKIPPED, "the mask lies wholly outside the object's box: the object loses its mask")
    MASK_BOX_MISMATCH = Rule(
        Action.KEPT, "the box around the mask is not the object's: IoU below 0.5, and more than a pixel off"
    )
    THIN_MASK = Rule(Action.NOTED, "a mask one pixel wide or high")
    MISSING_MASK = Rule(Action.KEPT, "an object without a mask in a set with masks: counts for its box alone")

    CATEGORY_IDS = Rule(Action.NOTED, "the category ids are not 1..K: labels 1..K in the order of the ids")
    DUPLICATE_CATEGORY_NAME = Rule(Action.REPAIRED, "two categories share a name: the id is added to the later one's")
    GROUP_CATEGORY = Rule(
        Action.REPAIRED, "a category without objects that groups the others, as Roboflow adds one: left out"
    )
    ABSENT_CLASS = Rule(Action.KEPT, "--classes names a class that the file does not have")

    @property
    def label(self) -> str:
        """The name in reports and in the index."""
        return self.name.lower()


class Finding(NamedTuple):
    """One occurrence: what, and where in words."""

    defect: Defect
    place: str


@dataclass
class DefectLog:
    """How often each defect occurred, and where first."""

    counts: Counter[Defect] = field(default_factory=Counter)
    first_places: dict[Defect, str] = field(default_factory=dict)

    def add(self, findings: Iterable[Finding]) -> None:
        """Count findings, in the order of the data set."""
        for finding in findings:
            self.counts[finding.defect] += 1
            self.first_places.setdefault(finding.defect, _in_one_line(finding.place))

    def rows(self) -> list[tuple[Defect, int, str]]:
        """(defect, count, first place) in the order of the table of rules."""
        return [(defect, self.counts[defect], self.first_places[defect]) for defect in Defect if self.counts[defect]]

    def refused_by_strict(self) -> list[tuple[Defect, int, str]]:
        """The rows that are more than a note."""
        return [row for row in self.rows() if row[0].value.action is not Action.NOTED]

    def report(self) -> dict[str, int]:
        """Defect -> count, as the index keeps it."""
        return {defect.label: count for defect, count, _ in self.rows()}


def _in_one_line(text: str) -> str:
    """Names may hold anything; what cannot be printed on a line is shown as Python writes it."""
    return shorten_words("".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text))
