"""Charts of a page, drawn by matplotlib as SVG in the text color of the page."""

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GRAY = "#4c8bd6", "#e8862e", "#3aa76d", "#8a93a1"
_INK = "#010203"
"""Placeholder for the text color of the page, which follows its theme."""
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, in the fonts of the page
    "text.parse_math": False,  # a dollar sign in a class name starts no formula
    "svg.hashsalt": "lightning-rcnn",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **{key: _INK for key in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")},
}
_NAME_LENGTH = 22


def shortened(name: str) -> str:
    """Cut a name to the room beside a chart."""
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"


def svg_chart(part: str, draw: Callable[[Axes], None], description: str, size: tuple[float, float]) -> str:
    """Return a chart as an `<svg>` element.

    Args:
        part: part of the page; with the description it makes the ids of the chart unique.
        draw: function that draws on the axes.
        description: text for those who do not see the chart.
        size: width and height, inches.
    """
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    # Ids must be unique in the page.
    prefix = re.sub(r"\W+", "-", f"{part} {description}".lower())
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{prefix}-", text)
    text = text.replace(
        "<svg ", f'<svg role="img" aria-label="{description}" style="max-width: {1.25 * size[0]:.1f}in" ', 1
    )
    return text.replace(_INK, "currentColor")
