"""Letters on pictures: Pillow's own font, which is always there and holds ASCII, the middle dot and the ellipsis."""

import math
import unicodedata
from collections.abc import Sequence

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

MIN_FONT_SIZE = 10
MAX_NAME_LENGTH = 24
_BEYOND_ASCII = "·…"


def font_size(picture_size: tuple[int, int]) -> int:
    """Pixels, for a picture of (width, height): the mean side counts, so that a long strip gets no giant letters."""
    width, height = picture_size
    return max(MIN_FONT_SIZE, round(math.sqrt(width * height) / 36))


def class_name(label: int, class_names: Sequence[str]) -> str:
    """The name of class `label`, 1..K, fit for a picture; "class 7" where there is none that the font can show."""
    given = class_names[label - 1] if 1 <= label <= len(class_names) else ""
    name = printable(given) or f"class {label}"
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"


def printable(text: str) -> str:
    """`text` in one line of letters that the font has: accents are dropped, other letters left out."""
    decomposed = unicodedata.normalize("NFD", "".join(" " if letter.isspace() else letter for letter in text))
    known = [letter for letter in decomposed if (letter.isascii() and letter.isprintable()) or letter in _BEYOND_ASCII]
    return " ".join("".join(known).split())


def cut_to_width(text: str, font: Font, width: float) -> str:
    """`text` with its middle left out as far as needed to be at most `width` pixels wide."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        shorter = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(shorter) <= width:
            return shorter
    return ""
