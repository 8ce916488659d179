"""The table of rules for bad input: possible defects of a data set, and what is done about them.

An error that makes the whole data set unusable (a missing folder, JSON that does not parse, category ids that
contradict each other, no class, no image left) is not in this table: it stops the packing with an `InputError`. So does
the loss of too large a share of images or objects (see `completeness.py`).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import NamedTuple

from lightning_rcnn.errors import shorten_words


class Action(StrEnum):
    """The action of a rule; `--strict` refuses all except the first."""

    NOTED = "noted"  # harmless: reported for information
    KEPT = "kept"  # suspicious, but unchanged
    REPAIRED = "repaired"
    SKIPPED = "skipped"  # left out: an image, an object, an object's mask, or a polygon of the mask


class Defect(Enum):
    """The kinds of defects, in the order in which a report shows them.

    Attributes:
        action: what is done about it.
        rule: what is wrong and what is done, for reports.
    """

    MISSING_IMAGE = Action.SKIPPED, "an annotated image has no file"
    AMBIGUOUS_FILE_NAME = Action.SKIPPED, "several files, or several names and one file, fit: not guessed"
    FILE_OUTSIDE_FOLDER = (
        Action.SKIPPED,
        "the name leads out of the image folder; give the folder that contains all files",
    )
    INEXACT_FILE_NAME = (
        Action.REPAIRED,
        "no file has exactly this name, and one file has it in another spelling: that file is read",
    )
    ABSOLUTE_FILE_NAME = Action.NOTED, "an absolute path that leads out of the image folder: the file is read there"
    UNREADABLE_IMAGE = Action.SKIPPED, "not an image, or its header is damaged"
    UNSUPPORTED_IMAGE = (
        Action.SKIPPED,
        "an image of a kind that is not supported, such as a camera's raw image, or too many pixels",
    )
    TRUNCATED_IMAGE = Action.SKIPPED, "the header is readable, but not all of the pixels: the file is cut off"
    DAMAGED_IMAGE = Action.SKIPPED, "the header is readable, but the pixels are damaged"
    CORRUPT_JPEG = Action.KEPT, "the JPEG decoder reports damage, but no missing pixels"
    IMAGE_WITHOUT_ANNOTATION = Action.SKIPPED, "the split names an image that has no annotation file"
    TWO_ANNOTATION_FILES = Action.SKIPPED, "two annotation files describe one image: not guessed"
    SEVERAL_ANNOTATIONS = Action.KEPT, "an image was annotated several times, as by several people: the first is used"
    MALFORMED_LABELS = Action.SKIPPED, "an annotation file is not in its format; its image is left out"
    MALFORMED_XML = Action.SKIPPED, "the XML file does not parse, or is not in VOC's format; its image is left out"
    INVALID_IMAGE_ENTRY = Action.SKIPPED, "an image in the JSON has no file name, or no id of at least 0"
    DUPLICATE_IMAGE = Action.SKIPPED, "an image is listed again under the same id or name; the first one stays"
    DUPLICATE_FILE_NAME = Action.KEPT, "two image ids share one file"
    NAME_FROM_URL = Action.NOTED, "an image has a coco_url and no file_name, as in LVIS: the last part of the URL"
    TEXT_IDS = Action.NOTED, "ids that are not integers from 0 to 2^62: replaced by the next numbers in list order"
    UNLISTED_FILE = Action.NOTED, "an image in the folder is in no entry of the annotations; left out"
    EMBEDDED_IMAGE = Action.NOTED, "no file has the image's name: the image in the annotation file is used"
    EMPTY_IMAGE = Action.NOTED, "no objects: a negative example"
    EMPTIED_IMAGE = Action.KEPT, "all objects were skipped: now a negative example"

    WRONG_EXTENSION = Action.REPAIRED, "the file is not what its name says, such as a PNG named .jpg: goes by content"
    UNUSUAL_NAME = Action.NOTED, "dots or white space in the name: the sample's key is a number, the name is kept"
    GRAY_IMAGE = Action.NOTED, "one channel: decoded to three equal channels"
    ALPHA_CHANNEL = Action.NOTED, "transparency is dropped, the colors stay as stored"
    EXTRA_CHANNEL = Action.KEPT, "a fourth channel, such as near infrared: dropped"
    PALETTE_IMAGE = Action.NOTED, "decoded to the palette's colors"
    SIXTEEN_BIT_IMAGE = Action.NOTED, "decoded to the upper 8 bits"
    DARK_SIXTEEN_BIT_IMAGE = (
        Action.KEPT,
        "16 bits, but no value above 4095: decoded to nearly black; pack images of one type, whose range is kept",
    )
    NON_FINITE_PIXELS = Action.NOTED, "values that are not a number, or infinite: count as the lowest of the range"
    CMYK_IMAGE = Action.NOTED, "decoded to RGB"
    SEVERAL_FRAMES = Action.NOTED, "only the first frame is used"
    EXIF_APPLIED = Action.NOTED, "EXIF orientation 2-8: the boxes refer to the image as displayed"
    EXIF_IGNORED = Action.NOTED, "EXIF orientation 5-8, but only the stored image has the annotated size: not rotated"
    SIZE_MISSING = Action.REPAIRED, "no image size or 0 x 0 in the annotation: the file's size is used"
    SIZE_SCALED = (
        Action.REPAIRED,
        "annotated at another size of the image: boxes and masks are scaled to the file's size",
    )
    MADE_SMALLER = Action.NOTED, "larger than --max_edge or --max_short_edge: packed smaller, boxes and masks with it"
    SIZE_MISMATCH = (
        Action.SKIPPED,
        "the annotated size has another aspect ratio than the file, or is smaller than its boxes: left out",
    )

    ONE_BASED_BOX = Action.NOTED, "VOC counts pixels from 1, both ends included: x1 and y1 become one less"
    ZERO_COORDINATE = Action.REPAIRED, "a 0 among coordinates that count from 1: becomes the edge 0 (see --coordinates)"
    RELATIVE_COORDINATES = (
        Action.REPAIRED,
        "all boxes, or all polygons, of the file are relative to the image size, 0 to 1: converted to pixels",
    )
    BOX_FROM_MASK = Action.REPAIRED, "no box, but a mask: the box around the mask is used"
    MALFORMED_OBJECT = Action.SKIPPED, "a line or an entry is not in the format: the object is left out"
    BEYOND_RELATIVE = (
        Action.SKIPPED,
        "coordinates far outside of 0..1, where shares of the image's size are due: perhaps pixels",
    )
    UNSUPPORTED_SHAPE = Action.SKIPPED, "a point, a line or another shape without an area: left out"
    ROTATED_BOX = Action.REPAIRED, "a rotated rectangle: the upright box around it"
    KEYPOINTS = Action.NOTED, "keypoints beside the box are left out"
    MISSING_BOX = Action.SKIPPED, "no box, or not four numbers, and no mask to take a box from"
    NON_FINITE_BOX = Action.SKIPPED, "a coordinate is NaN or infinite"
    INVERTED_BOX = Action.SKIPPED, "x2 < x1 or y2 < y1: the wrong number is unknown"
    ZERO_AREA_BOX = Action.SKIPPED, "no width or no height, as after a click without a drag"
    BOX_OUTSIDE = Action.SKIPPED, "the box is entirely outside the image"
    BOX_PARTLY_OUTSIDE = Action.REPAIRED, "the box is partly outside the image: clipped"
    UNKNOWN_CLASS = Action.SKIPPED, "an object of a class that is not in the list of classes"
    OTHER_CLASS = Action.NOTED, "an object of a class that --classes leaves out"
    NO_CLASS = (
        Action.NOTED,
        "marked as no object, such as LabelMe's __ignore__, KITTI's DontCare, regions to ignore and stuff: left out",
    )
    UNKNOWN_IMAGE = Action.SKIPPED, "an annotation of an image that is not in the list of images"
    DUPLICATE_ANNOTATION = Action.SKIPPED, "the same annotation again, under the same id"
    ANNOTATION_ID = Action.REPAIRED, "an annotation's id is missing or already used: it gets a new id"

    CROWD = Action.NOTED, "iscrowd 1: a group of objects; detections in it count neither for nor against"

    BAD_POLYGON = Action.SKIPPED, "a polygon of fewer than 3 points, or with a number missing or not finite: left out"
    POLYGON_OUTSIDE = (
        Action.SKIPPED,
        "a polygon is outside the image, or exceeds it by more than its size: left out",
    )
    POLYGON_PARTLY_OUTSIDE = Action.KEPT, "a polygon is partly outside the image: the part inside counts"
    CROSSED_POLYGON = (
        Action.NOTED,
        "a polygon crosses or touches itself: stored as an RLE of the pixels that the COCO API gives it",
    )
    MANY_CORNERS = (
        Action.NOTED,
        "a polygon of more than 2000 corners, not checked for crossings: stored as an RLE of the COCO API's pixels",
    )
    BAD_MASK = (
        Action.SKIPPED,
        "neither polygons nor an RLE, or an RLE whose counts are corrupt or do not add up: the object loses its mask",
    )
    SWAPPED_MASK_SIZE = (
        Action.REPAIRED,
        "the RLE's size is [width, height]: its pixels are read in the order that fits the object's box",
    )
    MASK_SIZE_MISMATCH = Action.SKIPPED, "the RLE's size is not the image's: the object loses its mask"
    EMPTY_MASK = Action.SKIPPED, "an RLE or polygons without pixels: the object loses its mask"
    MASK_OUTSIDE_BOX = Action.SKIPPED, "the mask is entirely outside the object's box: the object loses its mask"
    MASK_BOX_MISMATCH = (
        Action.KEPT,
        "the box around the mask differs from the object's: IoU below 0.5, and more than a pixel off",
    )
    THIN_MASK = Action.NOTED, "a mask one pixel wide or high"
    UNUSED_MASKS = (
        Action.NOTED,
        "VOC has masks for a part of these images: none is used; pack the images in ImageSets/Segmentation, with "
        "--split Segmentation/train, to get masks",
    )
    BAD_KEYPOINTS = (
        Action.SKIPPED,
        "keypoints that are not x, y and 0, 1 or 2 for each of the skeleton's: the object loses its keypoints",
    )
    KEYPOINT_OUTSIDE = Action.REPAIRED, "a labeled keypoint is outside the image: counts as not labeled"
    MISSING_MASK = Action.KEPT, "an object without a mask in a set with masks: only its box is used"

    CATEGORY_IDS = Action.NOTED, "the category ids are not 1..K: labels 1..K in the order of the ids"
    DUPLICATE_CATEGORY_NAME = Action.REPAIRED, "two categories share a name: the id is added to the later one's"
    GROUP_CATEGORY = (
        Action.REPAIRED,
        "a category without objects that groups the others, as Roboflow adds one: left out",
    )
    ABSENT_CLASS = Action.KEPT, "--classes names a class that the file does not have"

    def __init__(self, action: Action, rule: str) -> None:
        self.action = action
        self.rule = rule

    @property
    def label(self) -> str:
        """The name in reports and in the index."""
        return self.name.lower()


CONVERSIONS = (
    Defect.GRAY_IMAGE,
    Defect.EXTRA_CHANNEL,
    Defect.SIXTEEN_BIT_IMAGE,
    Defect.DARK_SIXTEEN_BIT_IMAGE,
)
"""What is lost when images become RGB of 8 bits, but not where a set keeps their channels and range."""


class Finding(NamedTuple):
    """One occurrence of a defect, and its location for messages."""

    defect: Defect
    location: str


@dataclass
class DefectLog:
    """Counts and first locations of defects."""

    counts: Counter[Defect] = field(default_factory=Counter)
    first_locations: dict[Defect, str] = field(default_factory=dict)

    def add(self, findings: Iterable[Finding]) -> None:
        """Count findings, in the order of the data set."""
        for finding in findings:
            self.counts[finding.defect] += 1
            self.first_locations.setdefault(finding.defect, _in_one_line(finding.location))

    def drop(self, defects: Iterable[Defect]) -> None:
        """Forget findings that turned out to be none."""
        for defect in defects:
            self.counts.pop(defect, None)

    def rows(self) -> list[tuple[Defect, int, str]]:
        """Return (defect, count, first location) in the order of the table of rules."""
        return [(defect, self.counts[defect], self.first_locations[defect]) for defect in Defect if self.counts[defect]]

    def refused_by_strict(self) -> list[tuple[Defect, int, str]]:
        """Return the rows whose action is not `NOTED`."""
        return [row for row in self.rows() if row[0].action is not Action.NOTED]

    def report(self) -> dict[str, int]:
        """Return the counts by label, for the index."""
        return {defect.label: count for defect, count, _ in self.rows()}


def _in_one_line(text: str) -> str:
    """Escape unprintable characters as Python does: file names may contain anything."""
    return shorten_words("".join(character if character.isprintable() else repr(character)[1:-1] for character in text))
