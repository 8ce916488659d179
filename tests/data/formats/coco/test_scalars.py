"""Numbers in every spelling, beside Python's own reading of them."""

from math import inf, isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_rcnn.data.formats.coco.scalars import flag, number, numbers, unquoted, whole_number


@given(st.integers(-(2**70), 2**70))
def test_a_whole_number_is_itself_in_any_spelling(value):
    spellings = [value, str(value), f"{value}.0", f" {value} ", f"{value}."]
    if abs(value) <= 2**53:
        spellings += [float(value)]
    if abs(value) < 10**15:
        spellings += [repr(float(value)), f"{value:.14e}"]
    assert {whole_number(spelling) for spelling in spellings} == {value}


@given(st.floats())
def test_a_number_is_itself_as_text(value):
    assert repr(number(repr(value))) == repr(number(value)) == repr(value)


@pytest.mark.parametrize("value", [None, True, False, "", "one", "1_0", "0x1", "1,5", "٣", [1], {}, "1 2"])
def test_what_is_no_number(value):
    assert number(value) is None
    assert whole_number(value) is None


def test_numbers_beyond_a_float_are_infinite():
    assert number(10**400) == inf
    assert number(-(10**400)) == -inf
    assert whole_number(inf) is None
    assert isnan(number("NaN"))
    assert whole_number("1.5") is whole_number(1.5) is None


def test_lists_of_numbers():
    assert numbers([1, "2", 3.5]) == [1.0, 2.0, 3.5]
    assert numbers([1, None]) is numbers([1, True]) is numbers("1") is None


@pytest.mark.parametrize(("value", "expected"), [(1, 1), ("1", 1), (1.0, 1), (True, 1), ("True", 1), (None, 0)])
def test_flags_that_are_set_or_not(value, expected):
    assert flag(value) == expected


@pytest.mark.parametrize("value", [0, "0", "", False, 2, "yes", [1]])
def test_all_else_is_no_flag(value):
    assert not flag(value)


def test_lists_and_objects_as_text():
    assert unquoted("[1, 2]") == unquoted("(1, 2)") == [1, 2]
    assert unquoted("{'size': [4, 5], 'counts': b'x'}") == {"size": [4, 5], "counts": b"x"}
    assert unquoted("[1, 2") == "[1, 2"
    assert unquoted("a") == "a"
