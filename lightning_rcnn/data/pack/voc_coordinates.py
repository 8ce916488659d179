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
_LEAST_EXTENT = 2.0
"""Fractions of smaller boxes say nothing: whole pixels cannot state these (see `formats/write/voc.py`)."""


class _Survey(NamedTuple):
    """Numbers of left and upper edges that are 0 and 1, and of sides with and without a fraction or decimal point."""

    zeros: int
    ones: int
    fractions: int
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
        return "zero_based", (f"its coordinates count from 0: {found.zeros} {edges} 0",)
    if found.fractions > found.whole:
        return "zero_based", ("its coordinates count from 0: most have a decimal point",)
    return "one_based", ()


def _survey(paths: Iterable[Path]) -> _Survey:
    zeros = ones = fractions = whole = 0
    for path in paths:
        for x1, y1, x2, y2 in boxes_in(path):
            for low, high in ((x1, x2), (y1, y2)):
                try:
                    first, last = float(low), float(high)
                except ValueError:
                    continue
                zeros, ones = zeros + (first == 0), ones + (first == 1)
                if last - first >= _LEAST_EXTENT:
                    has_point = "." in low or "." in high
                    fractions, whole = fractions + has_point, whole + (not has_point)
    return _Survey(zeros, ones, fractions, whole)
