"""A colour for every class, the same in every picture."""

import colorsys

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
_HUE_SPREAD, _LIGHTNESS_SPREAD = 0.16, 0.3
"""Of the objects of a class, about its own colour; of 1, a full turn, and of 1, from black to white."""


def class_colour(label: int) -> Colour:
    """RGB of the class `label`, 1..K. 24 differ, the first 8 also to the colour-blind; then they recur."""
    towards, share = _SHADES[(label - 1) // len(_HUES) % len(_SHADES)]
    red, green, blue = (round(channel + share * (towards - channel)) for channel in _HUES[(label - 1) % len(_HUES)])
    return red, green, blue


def instance_colour(label: int, number: int) -> Colour:
    """RGB of the object `number` of an image, around the colour of its class: hue and lightness are its own.

    Numbers that follow each other differ most.
    """
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in class_colour(label)))
    # The sequence R2 (M. Roberts, 2018): these multiples fill a square evenly, however many there are.
    turn, rise = (number * 0.7548776662) % 1 - 0.5, (number * 0.5698402909) % 1 - 0.5
    channels = colorsys.hls_to_rgb(
        (hue + turn * _HUE_SPREAD) % 1, min(max(lightness + rise * _LIGHTNESS_SPREAD, 0.25), 0.75), max(saturation, 0.6)
    )
    red, green, blue = (round(255 * channel) for channel in channels)
    return red, green, blue


def readable_on(colour: Colour) -> Colour:
    """Black or white, whichever contrasts more with `colour` (relative luminance as in WCAG 2, without its gamma)."""
    red, green, blue = colour
    return (0, 0, 0) if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 120 else (255, 255, 255)
