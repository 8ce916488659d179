"""Read VoTT's JSON export: rectangles and polygons of all images in one file.

Source: https://github.com/microsoft/VoTT
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any
from urllib.parse import unquote

from lightning_rcnn.data.formats.annotation_files import ImageNames, splits_of_files
from lightning_rcnn.data.formats.coco.scalars import listed
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels
from lightning_rcnn.data.formats.layout import Layout, read_json
from lightning_rcnn.data.formats.shapes import box_from_sizes, class_name_of, malformed, points_of, polygon_object
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

_NOT_VISITED = 0
"""State of an image that nobody opened, in VoTT's numbers."""


def read_vott(layout: Layout) -> LabeledData:
    """List a data set of VoTT's JSON exports.

    Raises:
        InputError: there are none.
    """
    files = [file for file in layout.with_suffix(".json") if layout.json_kind(file) == "vott"]
    if not files:
        raise InputError(f"{layout.path}: no JSON export of VoTT, with `assets` and `tags`")
    contents = {file: read_json(layout.root / file) for file in files}
    entries = {file: _entries(content) for file, content in contents.items()}
    num_open = sum(map(_is_open, chain(*entries.values())))
    images = {file: _read_images(layout, file, entries[file]) for file in files}
    names = [
        class_name_of(tag.get("name") if isinstance(tag, dict) else None)
        for content in contents.values()
        for tag in (content["tags"] if isinstance(content["tags"], list) else [])
    ]
    class_names = list(dict.fromkeys(name for name in names if name))
    notes = (f"{plural(num_open, 'image')} that nobody opened, left out",) if num_open else ()
    return LabeledData(", ".join(files), splits_of_files(layout, images), class_names or None, notes)


def _entries(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of a file; those without an asset get one whose image is not there."""
    assets = content["assets"].values() if isinstance(content["assets"], dict) else listed(content["assets"])
    return [
        entry
        if isinstance(entry, dict) and isinstance(entry.get("asset"), dict)
        else {"asset": {"name": f"asset {number} (its image)"}}
        for number, entry in enumerate(assets, start=1)
    ]


def _is_open(entry: Mapping[str, Any]) -> bool:
    """Return whether an image is still to be annotated: VoTT exports all of a project if asked to."""
    return entry["asset"].get("state") == _NOT_VISITED and not entry.get("regions")


def _read_images(layout: Layout, file: str, entries: Sequence[dict[str, Any]]) -> list[LabeledImage]:
    names = ImageNames(layout, file)
    images = []
    for entry in entries:
        asset = entry["asset"]
        if _is_open(entry):
            continue
        stated = asset.get("size")
        size = stated if isinstance(stated, dict) else {}
        written = str(asset.get("name") or "")
        name = names.find(written)
        name = name if name in layout.image_set else names.find(unquote(written))
        regions = entry.get("regions")
        numbered = enumerate(listed(regions), start=1)
        objects = [_read_region(each, f"region {index}") for index, each in numbered]
        images.append(LabeledImage(name, Labels(objects, stated_size(size.get("width"), size.get("height"))), file))
    return images


def _read_region(each: Any, place: str) -> LabeledObject:
    tags = each.get("tags") if isinstance(each, dict) else None
    if not isinstance(tags, list) or len(tags) != 1:
        return malformed(f"{place}: not one tag")
    name, points = class_name_of(tags[0]), points_of(each.get("points"))
    if each.get("type") == "POLYGON" and points:
        return polygon_object(name, points, place)
    stated = each.get("boundingBox")
    box = stated if isinstance(stated, dict) else {}
    return box_from_sizes(name, (box.get(key) for key in ("left", "top", "width", "height")), place)
