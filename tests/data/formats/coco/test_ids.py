from hypothesis import given
from hypothesis import strategies as st

from lightning_rcnn.data.formats.coco.ids import MAX_ID, IdTable


def test_whole_numbers_are_themselves_and_others_get_the_next_ones():
    table = IdTable(["img_001", 7, "12", 3.0, -4, 2**63, "img_000"])
    expected = {"img_001": 13, 7: 7, "7": 7, "7.0": 7, 12: 12, "3": 3, -4: 14, "-4": 14, str(2**63): 15, "img_000": 16}
    assert {value: table.find(value) for value in expected} == expected
    assert table.numbered == ["img_001", "-4", str(2**63), "img_000"]


def test_the_numbers_that_texts_got_mean_them_too():
    table = IdTable(["b", "a"])
    assert [table.find(value) for value in ("b", "a", 1, "2", 2.0, 3)] == [1, 2, 1, 2, 2, None]


def test_names_that_spell_one_number_differently_stay_apart():
    table = IdTable(["1", "01", "001", "1"])
    assert [table.find(value) for value in ("1", "01", "001", 1)] == [1, 2, 3, 1]
    assert IdTable(["0017"]).find(17) == 17, "as tools write that take ids from file names"


def test_what_identifies_nothing():
    table = IdTable([1, None, True, 1.5, "", [1]])
    assert [table.find(value) for value in (None, True, 1.5, "", [1], float("nan"))] == [None] * 6


@given(st.lists(st.integers(-(2**65), 2**65) | st.text(max_size=3), unique=True))
def test_ids_stay_apart_and_fit_64_bits(values):
    table = IdTable(values)
    named = [value for value in values if not isinstance(value, str) or value.strip()]
    found = {value: table.find(value) for value in named}
    assert None not in found.values()
    assert all(0 <= value < 2**63 for value in found.values())
    assert all(found[value] == value for value in named if isinstance(value, int) and 0 <= value <= MAX_ID)
