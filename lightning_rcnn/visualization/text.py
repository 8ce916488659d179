"""Text on images: class names in letters that a font of this machine has, with no two classes alike."""

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from lightning_rcnn.visualization.typefaces import BUILT_IN, Font, load_font, typeface_for

MIN_FONT_SIZE = 10
MAX_NAME_LENGTH = 24
_NAME_SUFFIX_LETTERS = "0123456789.()crowd"
"""Characters that may follow a class name, in the same font."""
_INVISIBLE = ("Cc", "Cf", "Cn", "Co", "Cs")
"""Unicode categories without a glyph: control, format, unassigned, private-use and surrogate characters."""


class Words(NamedTuple):
    """A text and a typeface that has its letters."""

    text: str
    typeface: str = BUILT_IN

    def font(self, size: float) -> Font:
        """Load the font at `size` pixels."""
        return load_font(self.typeface, size)


def font_size(image_size: tuple[int, int]) -> int:
    """Choose the font size, pixels, for an image of (width, height).

    The geometric mean of the sides counts, so that a long strip gets no giant letters.
    """
    width, height = image_size
    return max(MIN_FONT_SIZE, round(math.sqrt(width * height) / 36))


def class_words(label: int, class_names: Sequence[str]) -> Words:
    """Return the name of class `label`, 1..K, in one short line and unlike that of any other class.

    A class without a name, or with a name that no font can show, is "class 7".
    """
    words = _all_class_words(tuple(class_names))
    return words[label - 1] if 1 <= label <= len(words) else Words(f"class {label}")


def caption_words(text: str) -> Words:
    """Return `text` in one line; if no font has all letters, accents and letters beyond ASCII are dropped."""
    line = _one_line(text)
    typeface = typeface_for(line)
    if typeface is not None:
        return Words(line, typeface)
    letters = [letter for letter in unicodedata.normalize("NFD", line) if letter.isascii()]
    return Words(" ".join("".join(letters).split()))


def cut_to_width(text: str, font: Font, width: float) -> str:
    """Shorten `text` in its middle until it is at most `width` pixels wide."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        shorter = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(shorter) <= width:
            return shorter
    return ""


@lru_cache(maxsize=8)
def _all_class_words(class_names: tuple[str, ...]) -> list[Words]:
    words = [_class_words(label, name) for label, name in enumerate(class_names, start=1)]
    counts = Counter(text for text, _ in words)
    return [
        Words(f"{text} ({label})", typeface) if counts[text] > 1 else Words(text, typeface)
        for label, (text, typeface) in enumerate(words, start=1)
    ]


def _class_words(label: int, name: str) -> Words:
    line = _one_line(name)
    if len(line) > MAX_NAME_LENGTH:
        line = f"{line[: MAX_NAME_LENGTH - 1]}…"
    typeface = typeface_for(line + _NAME_SUFFIX_LETTERS)
    return Words(line, typeface) if line and typeface is not None else Words(f"class {label}")


def _one_line(text: str) -> str:
    """Put the visible letters of a text, in their composed forms, in one line."""
    composed = unicodedata.normalize("NFC", "".join(" " if letter.isspace() else letter for letter in text))
    visible = filter(_is_visible, composed)
    return " ".join("".join(visible).split())


def _is_visible(letter: str) -> bool:
    """Tell whether a character has a glyph; a variation selector only chooses the form of the letter before it."""
    is_variation_selector = "\ufe00" <= letter <= "\ufe0f"
    return unicodedata.category(letter) not in _INVISIBLE and not is_variation_selector
