"""A colour for every class, the same in every picture."""

Colour = tuple[int, int, int]

# Okabe and Ito, "Color Universal Design" (2008), in another order, so that the first few differ most; their black is
# replaced by a violet, since boxes have dark edges.
_HUES: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
    (143, 107, 232),
)
_SHADES = ((0, 0.0), (255, 0.5), (0, 0.4))
"""Labels beyond the hues get them lighter, then darker: mixed with white or black to this share."""


def class_colour(label: int) -> Colour:
    """RGB of the class `label`, 1..K. 24 differ, the first 8 also to the colour-blind; then they recur."""
    towards, share = _SHADES[(label - 1) // len(_HUES) % len(_SHADES)]
    red, green, blue = (round(channel + share * (towards - channel)) for channel in _HUES[(label - 1) % len(_HUES)])
    return red, green, blue


def readable_on(colour: Colour) -> Colour:
    """Black or white, whichever contrasts more with `colour` (relative luminance as in WCAG 2, without its gamma)."""
    red, green, blue = colour
    return (0, 0, 0) if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 120 else (255, 255, 255)
