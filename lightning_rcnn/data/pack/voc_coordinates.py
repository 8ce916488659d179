"""Tell from all XML files of a set whether their coordinates count from 1, as Pascal VOC's do, or from 0.

VOC's first pixel is 1, so 0 is no coordinate of VOC's; and it writes pixels, whole numbers (two of the 17125 files of
VOC2012 have a fraction). Tools that write the edges of what was drawn have both: CVAT and Datumaro `0.0` and `31.47`,
VoTT `0` and `13.32`. LabelImg writes whole numbers and 1 for what is less, "start from x = 1 and y = 1" in its author's
words: nothing tells its files from VOC's.

Sources: the development kit of VOC2012, section 5; `datumaro/plugins/voc_format/converter.py`; `libs/labelFile.py` and
issues 4 and 19 of LabelImg; issue 923 of VoTT.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from lightning_rcnn.data.pack.voc_xml import Coordinates, boxes_in

CoordinatesChoice = Literal["auto", "one_based", "zero_based"]
SLIPS = 10
"""Zeros are slips if there are so many times as many ones: where edges count from 0, a border gives zeros."""
_OTHERWISE = " (else `pack voc --coordinates one_based`)"
_LEAST_EXTENT = 2.0
"""Fractions of smaller boxes say nothing: whole pixels cannot state these (see `formats/write/voc.py`)."""


class _Survey(NamedTuple):
    """Numbers of left and upper edges that are 0 and 1, and of sides by how they are written.

    Attributes:
        zeros, ones: edges.
        fractions: sides with a fraction.
        points: sides with a decimal point and zeros behind it, as whole pixels that a program has had as floats.
        whole: other sides.
    """

    zeros: int
    ones: int
    fractions: int
    points: int
    whole: int


def coordinates_of(choice: CoordinatesChoice, paths: Iterable[Path]) -> tuple[Coordinates, tuple[str, ...]]:
    """Return from where the coordinates in XML files count, and a remark for the user if that is not VOC's way.

    Args:
        choice: what the user states; "auto" to find out.
        paths: all files of the set, of all splits.
    """
    if choice != "auto":
        return choice, ()
    found = _survey(paths)
    if found.zeros and found.ones < SLIPS * found.zeros:
        edges = "edge is" if found.zeros == 1 else "edges are"
        return "zero_based", (f"its coordinates count from 0: {found.zeros} {edges} 0{_OTHERWISE}",)
    # Whole pixels with a point count from 1 where a border gives ones.
    whole = found.whole + (found.points if found.ones else 0)
    if found.fractions + found.points + found.whole > 2 * whole:
        return "zero_based", (f"its coordinates count from 0: most have a decimal point{_OTHERWISE}",)
    return "one_based", ()


def _survey(paths: Iterable[Path]) -> _Survey:
    zeros = ones = fractions = points = whole = 0
    for path in paths:
        for written in boxes_in(path):
            try:
                x1, y1, x2, y2 = map(float, written)
            except ValueError:
                continue
            if not (x1 < x2 and y1 < y2):  # it is reported as it is written, such as four zeros for no object
                continue
            zeros, ones = zeros + (x1 == 0) + (y1 == 0), ones + (x1 == 1) + (y1 == 1)
            for low, high, texts in ((x1, x2, written[::2]), (y1, y2, written[1::2])):
                if high - low < _LEAST_EXTENT:
                    continue
                if low % 1 or high % 1:
                    fractions += 1
                elif any("." in text for text in texts):
                    points += 1
                else:
                    whole += 1
    return _Survey(zeros, ones, fractions, points, whole)
