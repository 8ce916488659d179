"""Fonts for the letters of any language: Pillow's own, else one of matplotlib's or of the system that has them all."""

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

BUILT_IN = ""
"""The typeface that Pillow brings along, which is always there: ASCII, the middle dot and the ellipsis."""
_BUILT_IN_BEYOND_ASCII = "·…"
_SPECIAL_STYLE = re.compile("bold|italic|oblique|light|thin|black|mono|serif|condensed", re.IGNORECASE)


@lru_cache(maxsize=64)
def load_font(typeface: str, size: float) -> Font:
    """A font of `size` pixels.

    Args:
        typeface: `BUILT_IN`, or the path of a font file.
    """
    return ImageFont.truetype(typeface, size) if typeface != BUILT_IN else ImageFont.load_default(size)


@cache
def typeface_for(text: str) -> str | None:
    """A typeface that has every letter of `text`; None where there is none on this machine."""
    letters = frozenset(text) - {" "}
    if all(_is_built_in(letter) for letter in letters):
        return BUILT_IN
    return next((path for path in _font_files() if letters <= _letters_of(path) and _draws(path, letters)), None)


def _is_built_in(letter: str) -> bool:
    return (letter.isascii() and letter.isprintable()) or letter in _BUILT_IN_BEYOND_ASCII


def _font_files() -> Iterator[str]:
    """Matplotlib's sans serif, which has most alphabets; then the system's fonts, plain styles first."""
    from matplotlib import font_manager, get_data_path  # takes its time, and most class names need no other font

    yield str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
    yield from sorted(
        font_manager.findSystemFonts(), key=lambda path: (bool(_SPECIAL_STYLE.search(Path(path).name)), path)
    )


@cache
def _letters_of(path: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):  # a damaged file
        return frozenset()


def _draws(path: str, letters: frozenset[str]) -> bool:
    """Whether the letters leave ink: in fonts of colored pictures some do not, or in one size only."""
    try:
        font = load_font(path, 20)
        return all(font.getmask(letter).getbbox() is not None for letter in letters)
    except OSError:
        return False
