"""Recognize whether boxes are two corners, a corner and a size, or a center and a size, by where they would lie."""

from collections.abc import Iterable, Sequence

from lightning_rcnn.data.formats.coco.relative import are_relative
from lightning_rcnn.data.formats.json_fields import BoxForm, edges_of_box
from lightning_rcnn.errors import InputError

FORMS: tuple[BoxForm, ...] = ("xyxy", "xywh", "cxcywh")
_FITS, _MAY_FIT = 0.98, 0.9
"""Shares of the boxes that lie in their images in the right form, and in a form that is not excluded."""
_TOLERANCE = 0.01
"""Share of the image's size by which a box may exceed it."""


def choose_form(
    sizes_and_boxes: Iterable[tuple[tuple[int, int], list[list[float]]]],
    where: str,
    usual: BoxForm | None = None,
    forms: Sequence[BoxForm] = FORMS,
) -> BoxForm:
    """Return the only form in which the boxes lie in their images, or the usual one if they do in that.

    Args:
        sizes_and_boxes: (width, height) and boxes of some images.
        where: what holds the boxes, for messages.
        usual: form that the format prescribes; None if it prescribes none.
        forms: forms that may be.

    Raises:
        InputError: several forms fit, or none.
    """
    images = list(sizes_and_boxes)
    if not images:
        return usual or "xyxy"
    if are_relative(box for _, boxes in images for box in boxes):
        images = [((1, 1), boxes) for _, boxes in images]
    shares = {form: _share_inside(images, form) for form in forms}
    fitting = [form for form in forms if shares[form] >= _FITS]
    possible = [form for form in forms if shares[form] >= _MAY_FIT]
    if usual is not None and usual in fitting:
        return usual
    if len(fitting) == 1 and possible == fitting:
        return fitting[0]
    found = f"may be {' or '.join(possible)}" if possible else "fit their images in no form"
    raise InputError(f"{where}: its boxes {found}; say which with --boxes xyxy, --boxes xywh or --boxes cxcywh")


def _share_inside(images: list[tuple[tuple[int, int], list[list[float]]]], form: BoxForm) -> float:
    inside = [_is_inside(box, size, form) for size, boxes in images for box in boxes]
    return sum(inside) / len(inside)


def _is_inside(box: list[float], size: tuple[int, int], form: BoxForm) -> bool:
    edges = edges_of_box(box, form)
    if edges is None:
        return False
    (x1, y1, x2, y2), (width, height) = edges, size
    x, y = _TOLERANCE * width, _TOLERANCE * height
    return -x <= x1 <= x2 <= width + x and -y <= y1 <= y2 <= height + y
