"""Read CrowdHuman's odgt files: JSON Lines with the boxes of an image's persons, here of their whole bodies.

Regions to ignore, such as crowds and reflections, are groups.

Source: https://www.crowdhuman.org/download.html
"""

from dataclasses import replace
from typing import Any

from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.coco.scalars import flag, listed, numbers
from lightning_rcnn.data.formats.image_lines import Content, files_of, read_image_lines
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.shapes import box_from_sizes, class_name_of, malformed

_PERSON, _IGNORED = "person", "mask"


def crowdhuman_files(layout: Layout) -> list[str]:
    """Return the files in CrowdHuman's form."""
    return files_of(layout, (".odgt",), lambda content: {"ID", "gtboxes"} <= content.keys())


def read_crowdhuman(layout: Layout) -> LabeledData:
    """List a data set in CrowdHuman's form.

    Raises:
        InputError: there is none, or a line is malformed.
    """
    data = read_image_lines(layout, crowdhuman_files(layout), _read_image)
    return replace(data, notes=("boxes of the whole body (fbox)", *data.notes))


def _read_image(names: ImageNames, content: Content) -> LabeledImage | None:
    if "gtboxes" not in content:
        return None
    numbered = enumerate(listed(content["gtboxes"]), start=1)
    return LabeledImage(
        names.find(f"{content.get('ID')}.jpg"), Labels([_read_box(each, f"box {index}") for index, each in numbered])
    )


def _read_box(each: Any, place: str) -> LabeledObject:
    if not isinstance(each, dict):
        return malformed(f"{place}: not an object")
    extra, tag = each.get("extra"), class_name_of(each.get("tag"))
    is_ignored = tag == _IGNORED or (isinstance(extra, dict) and flag(extra.get("ignore")))
    name = _PERSON if tag == _IGNORED else tag
    return box_from_sizes(name, numbers(each.get("fbox")) or (), place)._replace(iscrowd=int(is_ignored))
