"""Colors of classes and objects, the same in every image."""

import colorsys

Color = tuple[int, int, int]

# Okabe and Ito, "Color Universal Design" (2008), reordered so that the first few differ most; violet replaces their
# black, since boxes have dark edges.
_HUES: tuple[Color, ...] = (
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
"""(channel value, fraction) to mix the hues with: the first labels get pure hues, later ones lighter, then darker."""
_HUE_SPREAD, _LIGHTNESS_SPREAD = 0.16, 0.3
"""Ranges of hue (1: a full turn) and lightness (0: black, 1: white) of the objects of a class, around its color."""


def class_color(label: int) -> Color:
    """Return the RGB color of the class `label`, 1..K.

    24 labels differ, the first 8 also to the color-blind; then the colors recur.
    """
    target, fraction = _SHADES[(label - 1) // len(_HUES) % len(_SHADES)]
    red, green, blue = (round(channel + fraction * (target - channel)) for channel in _HUES[(label - 1) % len(_HUES)])
    return red, green, blue


def instance_color(label: int, number: int) -> Color:
    """Return the RGB color of one object: that of its class with a hue and a lightness of its own.

    Args:
        label: class of the object, 1..K.
        number: index of the object in its image; consecutive numbers differ most.
    """
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in class_color(label)))
    # The sequence R2 (M. Roberts, 2018): these multiples fill a square evenly, however many there are.
    turn, rise = (number * 0.7548776662) % 1 - 0.5, (number * 0.5698402909) % 1 - 0.5
    channels = colorsys.hls_to_rgb(
        (hue + turn * _HUE_SPREAD) % 1, min(max(lightness + rise * _LIGHTNESS_SPREAD, 0.25), 0.75), max(saturation, 0.6)
    )
    red, green, blue = (round(255 * channel) for channel in channels)
    return red, green, blue


def readable_on(color: Color) -> Color:
    """Return black or white, whichever contrasts more with `color` (relative luminance of WCAG 2, without gamma)."""
    red, green, blue = color
    return (0, 0, 0) if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 120 else (255, 255, 255)
