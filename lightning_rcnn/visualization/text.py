"""Words on pictures: class names in letters that a font of this machine has, and no two classes alike."""

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from lightning_rcnn.visualization.typefaces import BUILT_IN, Font, load_font, typeface_for

MIN_FONT_SIZE = 10
MAX_NAME_LENGTH = 24
_BEHIND_NAMES = "0123456789.()crowd"
"""What stands behind a class name in the same font."""
_UNSEEN = ("Cc", "Cf", "Cn", "Co", "Cs")
"""Unicode's categories of what is no letter: controls, joiners, unassigned and private characters."""


class Words(NamedTuple):
    """A text, and the typeface that has its letters."""

    text: str
    typeface: str = BUILT_IN

    def font(self, size: float) -> Font:
        """The font of `size` pixels."""
        return load_font(self.typeface, size)


def font_size(picture_size: tuple[int, int]) -> int:
    """Pixels, for a picture of (width, height): the mean side counts, so that a long strip gets no giant letters."""
    width, height = picture_size
    return max(MIN_FONT_SIZE, round(math.sqrt(width * height) / 36))


def class_words(label: int, class_names: Sequence[str]) -> Words:
    """The name of class `label`, 1..K, fit for a picture, and unlike that of any other class.

    "class 7" where there is no name, or where no font has all of its letters.
    """
    words = _all_class_words(tuple(class_names))
    return words[label - 1] if 1 <= label <= len(words) else Words(f"class {label}")


def caption_words(text: str) -> Words:
    """`text` in one line; of letters that no font has, accents are dropped and the others left out."""
    line = _one_line(text)
    typeface = typeface_for(line)
    if typeface is not None:
        return Words(line, typeface)
    letters = [letter for letter in unicodedata.normalize("NFD", line) if letter.isascii()]
    return Words(" ".join("".join(letters).split()))


def cut_to_width(text: str, font: Font, width: float) -> str:
    """`text` with its middle left out as far as needed to be at most `width` pixels wide."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        shorter = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(shorter) <= width:
            return shorter
    return ""


@lru_cache(maxsize=8)
def _all_class_words(class_names: tuple[str, ...]) -> list[Words]:
    words = [_words_of(label, name) for label, name in enumerate(class_names, start=1)]
    counts = Counter(text for text, _ in words)
    return [
        Words(f"{text} ({label})", typeface) if counts[text] > 1 else Words(text, typeface)
        for label, (text, typeface) in enumerate(words, start=1)
    ]


def _words_of(label: int, name: str) -> Words:
    line = _one_line(name)
    if len(line) > MAX_NAME_LENGTH:
        line = f"{line[: MAX_NAME_LENGTH - 1]}…"
    typeface = typeface_for(line + _BEHIND_NAMES)
    return Words(line, typeface) if line and typeface is not None else Words(f"class {label}")


def _one_line(text: str) -> str:
    """Letters in their composed forms, in one line."""
    composed = unicodedata.normalize("NFC", "".join(" " if letter.isspace() else letter for letter in text))
    seen = (letter for letter in composed if unicodedata.category(letter) not in _UNSEEN and not _is_selector(letter))
    return " ".join("".join(seen).split())


def _is_selector(letter: str) -> bool:
    """Whether it only chooses a form of the letter before, such as an emoji's color."""
    return "\ufe00" <= letter <= "\ufe0f"
