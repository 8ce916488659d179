"""Read Labelbox's exports in NDJSON: boxes and polygons; masks are addresses there that need a key.

Source: https://docs.labelbox.com/reference/export-image-annotations
"""

from typing import Any

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.coco.scalars import listed
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.image_lines import Content, files_of, read_image_lines
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.shapes import (
    box_from_sizes,
    class_name_of,
    malformed,
    points_of,
    polygon_object,
    unsupported,
)


def labelbox_files(layout: Layout) -> list[str]:
    """Return the exports of Labelbox."""
    return files_of(layout, (".ndjson", ".jsonl"), lambda content: {"data_row", "projects"} <= content.keys())


def read_labelbox(layout: Layout) -> LabeledData:
    """List a data set of exports.

    Raises:
        InputError: there is none, or a line is malformed.
    """
    return read_image_lines(layout, labelbox_files(layout), _read_image, _split_in)


def _part(content: Any, key: str) -> dict[str, Any]:
    part = content.get(key) if isinstance(content, dict) else None
    return part if isinstance(part, dict) else {}


def _split_in(content: Content) -> str:
    return str(_part(_part(content, "data_row"), "details").get("split") or "")


def _read_image(names: ImageNames, content: Content) -> LabeledImage | None:
    row, media = _part(content, "data_row"), _part(content, "media_attributes")
    address = str(row.get("row_data") or "").partition("?")[0]
    stated = [str(row.get(key) or "") for key in ("external_id", "global_key")] + [address.rpartition("/")[2]]
    found = [name for written in stated if written and (name := names.find(written)) in names.images]
    labels = [
        label
        for project in _part(content, "projects").values()
        if isinstance(project, dict) and isinstance(project.get("labels"), list)
        for label in project["labels"]
    ]
    if not labels:
        return None
    several = [Finding(Defect.SEVERAL_ANNOTATIONS, f"{stated[0]}, {len(labels)} labels")] if len(labels) > 1 else []
    objects = _part(labels[0], "annotations").get("objects")
    numbered = enumerate(listed(objects), start=1)
    size = stated_size(media.get("width"), media.get("height"))
    read = Labels([_read_object(each, f"object {index}") for index, each in numbered], size, several)
    return LabeledImage((found or [name for name in stated if name] or [""])[0], read)


def _read_object(each: Any, place: str) -> LabeledObject:
    if not isinstance(each, dict):
        return malformed(f"{place}: not an object")
    name, box = class_name_of(each.get("name") or each.get("title")), each.get("bounding_box") or each.get("bbox")
    if isinstance(box, dict):
        return box_from_sizes(name, (box.get(key) for key in ("left", "top", "width", "height")), place)
    if each.get("polygon"):
        points = points_of(each["polygon"])
        return polygon_object(name, points, place) if points else malformed(f"{place}: no points")
    return unsupported(each.get("annotation_kind") or "nothing with an area", place)
