"""Fonts for any language: Pillow's built-in font, or else one of matplotlib or of the system that has all letters."""

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

BUILT_IN = ""
"""Pillow's own typeface, which is always there: ASCII, the middle dot and the ellipsis."""
_BUILT_IN_BEYOND_ASCII = "·…"
_SPECIAL_STYLE = re.compile("bold|italic|oblique|light|thin|black|mono|serif|condensed", re.IGNORECASE)


@lru_cache(maxsize=64)
def load_font(typeface: str, size: float) -> Font:
    """Load a font.

    Args:
        typeface: `BUILT_IN`, or the path of a font file.
        size: height of the letters, pixels.
    """
    return ImageFont.truetype(typeface, size) if typeface != BUILT_IN else ImageFont.load_default(size)


@cache
def typeface_for(text: str) -> str | None:
    """Find a typeface that has every letter of `text`; None if this machine has none."""
    letters = frozenset(text) - {" "}
    if all(_is_built_in(letter) for letter in letters):
        return BUILT_IN
    return next((path for path in _font_files() if letters <= _letters_of(path) and _draws(path, letters)), None)


def _is_built_in(letter: str) -> bool:
    return (letter.isascii() and letter.isprintable()) or letter in _BUILT_IN_BEYOND_ASCII


def _font_files() -> Iterator[str]:
    """List matplotlib's sans serif, which has most alphabets, and then the system's fonts, plain styles first."""
    from matplotlib import font_manager, get_data_path  # slow to import, and most class names need no other font

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
    """Tell whether a font draws the letters visibly: emoji fonts draw some not at all, or in one size only."""
    try:
        font = load_font(path, 20)
        return all(font.getmask(letter).getbbox() is not None for letter in letters)
    except OSError:
        return False
