import pytest
from PIL import ImageFont

from lightning_rcnn.pictures.text import class_name, cut_to_width, font_size, printable


@pytest.mark.parametrize(
    ("given", "shown"),
    [("caf\u00e9", "cafe"), ("two\n lines\t ", "two lines"), ("\u732b", ""), ("a · b…", "a · b…"), ("x\u0000y", "xy")],
)
def test_only_letters_that_the_font_has_are_kept(given, shown):
    assert printable(given) == shown


def test_a_class_without_a_showable_name_is_shown_by_its_label():
    names = ["cat", "\u732b", "a" * 100]
    assert [class_name(label, names) for label in (1, 2, 7)] == ["cat", "class 2", "class 7"]
    assert class_name(3, names) == "a" * 23 + "…"


def test_long_texts_lose_their_middle():
    font = ImageFont.load_default(20)
    text = "0123456789" * 10 + ".png"
    short = cut_to_width(text, font, 200)
    assert font.getlength(short) <= 200
    assert short.startswith("0123")
    assert short.endswith(".png")
    assert cut_to_width("abc", font, 200) == "abc"
    assert cut_to_width(text, font, 5) == ""


def test_letters_grow_with_the_picture():
    assert [font_size(size) for size in ((640, 480), (1280, 960), (2560, 1920))] == [15, 31, 62]
    assert font_size((4000, 10)) == 10
