"""From where the coordinates of a set in VOC's format count, and that the set says it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_rcnn.data.formats.write.voc import _pixels
from lightning_rcnn.data.pack.any_format import find_data, found_voc
from lightning_rcnn.data.pack.voc_coordinates import coordinates_of

CVAT = [("10.0", "20.5", "31.47", "40.0"), ("3.1", "4.0", "9.0", "8.25")]
VOTT = [("0", "232.55614581592582", "13.322651161698396", "249.49733795329212")]
LABELIMG = [(1, 1, 20, 30), (5, 6, 64, 48)]
VOC_2012 = [(10, "45.70000076293945", 60, 80), *[(1, 5, 20, 30)] * 9]
TINY_BOXES_OF_OURS = [("5.5", 1, "6.7", 30), (2, 3, 9, 9)]
NO_OBJECT = [*LABELIMG, (0, 0, 0, 0), (0, 30, 20, 10)]
"""Boxes that are none: four zeros, as programs write them for no object, and one upside down."""
FLOATS_OF_VOC = [tuple(f"{edge}.0" for edge in box) for box in LABELIMG]
"""VOC's boxes that a program has had as floats; one at the border begins at 1."""
FLOATS = FLOATS_OF_VOC[1:]
ONE_SLIP = [(0, 5, 20, 30), *[(1, 5, 20, 30)] * 10]


def write(folder, voc_xml, boxes):
    paths = []
    for number, box in enumerate(boxes):
        paths.append(folder / f"{number}.xml")
        paths[-1].write_text(voc_xml(("cat", *box)))
    return paths


@pytest.mark.parametrize(
    ("boxes", "expected", "note"),
    [
        (CVAT, "zero_based", "most have a decimal point"),
        (VOTT, "zero_based", "1 edge is 0"),
        ([(0, 0, 64, 48), (1, 2, 3, 4)], "zero_based", "2 edges are 0"),
        (LABELIMG, "one_based", ""),
        (VOC_2012, "one_based", ""),
        (TINY_BOXES_OF_OURS, "one_based", ""),
        (ONE_SLIP, "one_based", ""),
        (NO_OBJECT, "one_based", ""),
        (FLOATS_OF_VOC, "one_based", ""),
        (FLOATS, "zero_based", "most have a decimal point"),
        ([*CVAT, ("1.0", "4.25", "9.0", "8.5")], "zero_based", "most have a decimal point"),
        ([("left", "", "nan", 3)], "one_based", ""),
        ([], "one_based", ""),
    ],
)
def test_the_whole_set_tells(tmp_path, voc_xml, boxes, expected, note):
    paths = write(tmp_path, voc_xml, boxes)
    (tmp_path / "broken.xml").write_text("<annotation")
    coordinates, notes = coordinates_of("auto", [*paths, tmp_path / "broken.xml"])
    assert coordinates == expected
    assert note in "".join(notes)
    assert bool(notes) == bool(note)
    for stated in ("one_based", "zero_based"):
        assert coordinates_of(stated, paths) == (stated, ())


def test_all_splits_are_one_set(tmp_path, voc_xml, encode_image):
    """The zero is in another split than the box that it moves."""
    for split, box in (("train", (0, 0, 20, 30)), ("valid", (5, 6, 20, 30))):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.jpg").write_bytes(encode_image())
        (tmp_path / split / "a.xml").write_text(voc_xml(("cat", *box)))
    for found, left in ((find_data(tmp_path), 5), (found_voc(tmp_path, choice="one_based"), 4)):
        source = found.sources["val"]
        [annotation] = source.read(source.items[0]).sample.record["annotations"]
        assert annotation["bbox"] == [left, left + 1, 20, 30]
        assert ("count from 0: 2 edges are 0" in found.title) == (left == 5)


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0.5, 60)), min_size=1, max_size=8))
def test_what_unpack_writes_counts_from_1(tmp_path_factory, sides):
    path = tmp_path_factory.getbasetemp() / "written.xml"
    boxes = []
    for first, extent in sides:
        low, high = _pixels(first, first + extent)
        edges = f"<xmin>{low}</xmin><ymin>{low}</ymin><xmax>{high}</xmax><ymax>{high}</ymax>"
        boxes.append(f"<object><bndbox>{edges}</bndbox></object>")
    path.write_text(f"<annotation>{''.join(boxes)}</annotation>")
    assert coordinates_of("auto", [path]) == ("one_based", ())
