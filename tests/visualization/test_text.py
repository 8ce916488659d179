import itertools

import pytest
from PIL import Image, ImageDraw, ImageFont

from lightning_rcnn.visualization import typefaces
from lightning_rcnn.visualization.text import caption_words, class_words, cut_to_width, font_size
from lightning_rcnn.visualization.typefaces import BUILT_IN, load_font, typeface_for


@pytest.fixture
def only_matplotlibs_font(monkeypatch):
    """A machine without fonts of its own; `typeface_for` forgets what it found before and after."""
    from matplotlib import font_manager

    typeface_for.cache_clear()
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    yield
    typeface_for.cache_clear()


NAMES = [
    "cat",
    "고양이",
    "狗",
    "كلب",
    "🐕 pup",
    "Ünïcode ß",
    "ไทย",
    "кот",
    "café",
    "cafe",
    "γάτα",
    "🐕 dog",
    "ネコ",
    "",
]


@pytest.mark.usefixtures("only_matplotlibs_font")
def test_letters_that_no_font_has_make_no_two_classes_alike():
    words = [class_words(label, NAMES) for label in range(1, len(NAMES) + 1)]
    assert words[0] == ("cat", BUILT_IN)
    assert [words[number].text for number in (5, 7, 8, 9, 10)] == ["Ünïcode ß", "кот", "café", "cafe", "γάτα"]
    assert [words[number].text for number in (1, 2, 6, 12, 13)] == [
        "class 2",
        "class 3",
        "class 7",
        "class 13",
        "class 14",
    ]
    drawn = [drawn_pixels(name) for name in words]
    assert all(one != other for one, other in itertools.combinations(drawn, 2))


def drawn_pixels(words):
    image = Image.new("L", (300, 40))
    ImageDraw.Draw(image).text((5, 5), words.text, fill=255, font=words.font(20))
    return image.tobytes()


def test_a_font_of_the_system_is_taken_where_it_has_the_letters(monkeypatch):
    """A machine whose only other font is said to have the letters of Korean."""
    from matplotlib import font_manager

    letters_of = typefaces._letters_of
    font = font_manager.findfont("DejaVu Sans Mono")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: ["/broken/font.ttf", font])
    monkeypatch.setattr(
        typefaces, "_letters_of", lambda path: letters_of(path) | ({*"고양이"} if path == font else set())
    )
    typeface_for.cache_clear()
    assert typeface_for("고양이") == font
    typeface_for.cache_clear()


def test_a_font_whose_letters_leave_no_ink_is_not_taken():
    font = load_font(typeface_for("é"), 20)
    assert typefaces._draws(font.path, frozenset("é"))
    assert not typefaces._draws(font.path, frozenset("\u2003"))  # a blank


def test_classes_of_the_same_words_are_told_apart_by_their_labels():
    names = ["a" * 30 + "1", "a" * 30 + "2", "b\nb", "b b", "dog"]
    shown = [class_words(label, names).text for label in range(1, 6)]
    assert shown == ["a" * 23 + "… (1)", "a" * 23 + "… (2)", "b b (3)", "b b (4)", "dog"]


def test_a_class_without_a_name_is_shown_by_its_label():
    assert [class_words(label, ["cat", " \u200d"]).text for label in (1, 2, 7)] == ["cat", "class 2", "class 7"]


@pytest.mark.usefixtures("only_matplotlibs_font")
@pytest.mark.parametrize(
    ("given", "shown"),
    [("café", "café"), ("two\n lines\t ", "two lines"), ("猫é.png", "e.png"), ("a · b…", "a · b…"), ("x\0y", "xy")],
)
def test_captions_keep_the_letters_that_a_font_has(given, shown):
    assert caption_words(given).text == shown


def test_long_texts_lose_their_middle():
    font = ImageFont.load_default(20)
    text = "0123456789" * 10 + ".png"
    short = cut_to_width(text, font, 200)
    assert font.getlength(short) <= 200
    assert short.startswith("0123")
    assert short.endswith(".png")
    assert cut_to_width("abc", font, 200) == "abc"
    assert cut_to_width(text, font, 5) == ""


def test_letters_grow_with_the_image():
    assert [font_size(size) for size in ((640, 480), (1280, 960), (2560, 1920))] == [15, 31, 62]
    assert font_size((4000, 10)) == 10
