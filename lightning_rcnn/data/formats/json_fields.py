"""Find boxes, classes and masks in JSON that describes one image, whose keys everybody names differently.

A field is a path such as `objects.bbox`: the key `bbox` of each entry of the list `objects`, or the list `bbox` in the
dictionary `objects`. Fields that are not given are recognized by their names.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from lightning_rcnn.data.formats.coco.scalars import flag, numbers
from lightning_rcnn.data.formats.coco.segmentations import read_segmentation
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.labeled import LabeledObject, Labels, LabelsError
from lightning_rcnn.data.formats.shapes import class_name_of
from lightning_rcnn.errors import InputError

BoxForm = Literal["xyxy", "xywh", "cxcywh"]
Edges = tuple[float, float, float, float]

_NAMES = {
    "boxes": "boxes bboxes bbox box bounding_box bounding_boxes",
    "labels": "labels label classes class category categories category_id category_ids class_id class_ids label_id "
    "class_name class_names category_name category_names label_name",
    "masks": "segmentation segmentations masks mask polygons polygon rle rles",
    "crowd": "iscrowd is_crowd crowd",
    "difficult": "difficult",
    "width": "width image_width img_width",
    "height": "height image_height img_height",
    "file_name": "file_name filename image_name",
    "image_id": "image_id",
}
FIELDS = tuple(_NAMES)
"""Fields of `--map`: paths in the JSON."""
_OF_OBJECTS = ("boxes", "labels", "masks", "crowd", "difficult")


class AmbiguousFieldsError(InputError):
    """Raised when several paths may be one field."""


def as_dictionary(content: Any) -> dict[str, Any]:
    """Return the JSON of a sample; a list of objects becomes the entry `objects`.

    Raises:
        LabelsError: it is neither a dictionary nor a list.
    """
    if isinstance(content, list):
        return {"objects": content}
    if not isinstance(content, dict):
        raise LabelsError(f"is {type(content).__name__}, not a dictionary")
    return content


def find_fields(contents: Iterable[dict[str, Any]], given: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the path of each field: as given, or recognized by its name.

    Args:
        contents: JSON of some samples.
        given: paths that the user gave.
        where: the data set, for messages.

    Raises:
        InputError: there are neither boxes nor masks or no classes.
        AmbiguousFieldsError: several paths may be a field.
    """
    paths = dict.fromkeys(path for content in contents for path in _paths(content))
    for field, path in given.items():
        if field in _NAMES and path not in paths:
            raise InputError(f"{where}: --map {field}={path}: no sample has it; they have {_listed(paths)}")
    fields = {field: path for field, path in given.items() if field in _NAMES}
    for field in ("boxes", "masks"):
        if not ({"boxes", "masks"} & fields.keys()):
            fields |= _recognized(field, paths, where, None)
    if not {"boxes", "masks"} & fields.keys():
        raise InputError(
            f"{where}: no key of the samples is known to hold boxes or masks; they have {_listed(paths)}; name them "
            "with --map boxes=KEY,labels=KEY"
        )
    folder = (fields.get("boxes") or fields["masks"]).rpartition(".")[0]
    for field in _NAMES:
        if field not in fields:
            fields |= _recognized(field, paths, where, folder if field in _OF_OBJECTS else "")
    if "labels" not in fields:
        beside = [path for path in paths if path.rpartition(".")[0] == folder]
        raise InputError(
            f"{where}: no key beside {fields.get('boxes') or fields['masks']!r} is known to hold classes; there are "
            f"{_listed(beside)}; name it with --map labels=KEY"
        )
    return fields


def read_objects(
    content: dict[str, Any], fields: Mapping[str, str], form: BoxForm, class_names: Mapping[str, str], is_relative: bool
) -> Labels:
    """Return what the JSON of a sample says of its image.

    Args:
        content: JSON of the sample.
        fields: path of each field; see `find_fields`.
        form: form of the boxes.
        class_names: class as written -> its name; empty to take classes as written.
        is_relative: whether boxes and polygons are shares of the image's size.

    Raises:
        LabelsError: a field is missing or has another length.
    """
    classes = column(content, fields["labels"])
    num = len(classes)
    columns = {field: _optional_column(content, fields.get(field), num) for field in ("masks", "crowd", "difficult")}
    boxes = boxes_of(content, fields["boxes"]) if "boxes" in fields else [None] * num
    columns["boxes"] = boxes
    for field, values in columns.items():
        if len(values) != num:
            raise LabelsError(f"has {num} {fields['labels']!r}, but {len(values)} {fields[field]!r}")
    objects = []
    for index, written in enumerate(classes):
        name = class_name_of(written)
        if class_names and name is not None:
            name = class_names.get(name, name if name in class_names.values() else None)
        box = edges_of_box(boxes[index], form)
        segmentation = read_segmentation(columns["masks"][index])
        objects.append(
            LabeledObject(
                name,
                box,
                segmentation,
                iscrowd=int(flag(columns["crowd"][index])),
                difficult=int(flag(columns["difficult"][index])),
                is_relative=is_relative,
                place=f"object {index + 1}, class {written!r}",
            )
        )
    return Labels(objects, size_of(content, fields))


def column(content: dict[str, Any], path: str) -> list[Any]:
    """Return the values of a field, one an object; a value alone is that of one object.

    Raises:
        LabelsError: the sample lacks it.
    """
    value: Any = content
    for part in path.split("."):
        if isinstance(value, list):
            value = [each.get(part) if isinstance(each, dict) else None for each in value]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            raise LabelsError(f"has no {path!r}")
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def boxes_of(content: dict[str, Any], path: str) -> list[Any]:
    """Return the boxes of a sample; four numbers alone are one box.

    Raises:
        LabelsError: the sample lacks them.
    """
    values = column(content, path)
    return [values] if len(values) == 4 and numbers(values) is not None else values


def size_of(content: dict[str, Any], fields: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the stated (width, height); None if the samples state none."""
    if not {"width", "height"} <= fields.keys():
        return None
    return stated_size(content.get(fields["width"]), content.get(fields["height"]))


def edges_of_box(box: Any, form: BoxForm) -> Edges | None:
    """Return the edges of a box in the stated form; None if it is not four numbers."""
    values = numbers(box)
    if values is None or len(values) != 4:
        return None
    a, b, c, d = values
    if form == "xyxy":
        return a, b, c, d
    return (a, b, a + c, b + d) if form == "xywh" else (a - c / 2, b - d / 2, a + c / 2, b + d / 2)


def _optional_column(content: dict[str, Any], path: str | None, num: int) -> list[Any]:
    if path is None:
        return [None] * num
    try:
        return column(content, path)
    except LabelsError:
        return [None] * num


def _paths(content: dict[str, Any]) -> Iterator[str]:
    for key, value in content.items():
        inner = next((each for each in value if isinstance(each, dict)), None) if isinstance(value, list) else value
        if isinstance(inner, dict) and "counts" not in inner:
            yield from (f"{key}.{path}" for path in _paths(inner))
        yield key


def _recognized(field: str, paths: Iterable[str], where: str, folder: str | None) -> dict[str, str]:
    """Return the path of a field by its name; in a folder of paths, or anywhere."""
    names = _NAMES[field].split()
    fitting = [
        path
        for path in paths
        if path.rpartition(".")[2].lower() in names and (folder is None or path.rpartition(".")[0] == folder)
    ]
    leaves = [path for path in fitting if not any(other.startswith(f"{path}.") for other in paths)]
    if len(leaves) > 1:
        raise AmbiguousFieldsError(
            f"{where}: {' and '.join(leaves)} may be the {field}; choose one with --map {field}={leaves[0]}"
        )
    return {field: leaves[0]} if leaves else {}


def _listed(paths: Iterable[str]) -> str:
    shown = list(paths)
    return ", ".join(shown[:12]) + (", ..." if len(shown) > 12 else "") if shown else "no keys"
