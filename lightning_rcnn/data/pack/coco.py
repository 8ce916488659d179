"""COCO: a folder of images and one JSON file.

Boxes are [x, y, width, height] in pixels and become edges; category ids become labels 1..K in the order of the ids.

Source: https://cocodataset.org/#format-data
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning_rcnn.data.index import Category
from lightning_rcnn.data.pack.annotated import AnnotatedImage, AnnotatedObject, read_annotated_image
from lightning_rcnn.data.pack.boxes import Edges
from lightning_rcnn.data.pack.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.pack.image_folder import locate_images
from lightning_rcnn.data.pack.source import Contents, Source
from lightning_rcnn.errors import InputError

Entry = dict[str, Any]
"""One element of a list in the JSON."""


def coco_source(images: Path, annotations: Path) -> Source:
    """List a COCO data set.

    Args:
        images: the folder to which the file names in the JSON are relative.
        annotations: the JSON file.

    Raises:
        InputError: no such folder or file, not such JSON, or categories that contradict each other.
    """
    if not images.is_dir():
        raise InputError(
            f"{images}: no such folder; give the one to which the file names in {annotations} are relative"
        )
    content = _load(annotations)
    log = DefectLog()
    categories = _number_categories(content["categories"], annotations, log)
    entries = _valid_images(content["images"], log)
    labels = {category.id: category.label for category in categories}
    objects = _objects_by_image(content["annotations"], entries.keys(), labels, log)
    located = locate_images(images, (entry["file_name"] for entry in entries.values()))
    log.add(located.findings)
    log.add(Finding(Defect.UNLISTED_FILE, name) for name in located.unlisted)
    items = [
        AnnotatedImage(image_id, file, images / file, _size(entry), objects[image_id])
        for image_id, entry in entries.items()
        if (file := located.files.get(entry["file_name"])) is not None
    ]
    left_out = Contents(
        images=len(content["images"]) - log.counts[Defect.DUPLICATE_IMAGE] - len(items),
        objects=len(content["annotations"])
        - log.counts[Defect.DUPLICATE_ANNOTATION]
        - sum(len(item.objects) for item in items),
    )
    return Source(annotations.stem, categories, items, read_annotated_image, log, left_out)


def _load(path: Path) -> dict[str, list[Entry]]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the JSON file of a COCO data set") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: malformed JSON ({error}); is the file whole?") from error
    for key in ("images", "annotations", "categories"):
        value = content.get(key) if isinstance(content, dict) else None
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise InputError(f"{path}: no COCO annotations, it has no list of objects {key!r}; give an instances file")
    return content


def _number_categories(entries: list[Entry], path: Path, log: DefectLog) -> list[Category]:
    names: dict[int, str] = {}
    for entry in entries:
        category_id, name = entry.get("id"), entry.get("name")
        if not isinstance(category_id, int) or not isinstance(name, str):
            raise InputError(f"{path}: the category {entry} needs a whole number as id and a name; correct it")
        if names.setdefault(category_id, name) != name:
            raise InputError(
                f"{path}: category id {category_id} is both {names[category_id]!r} and {name!r}; correct it"
            )
    if not names:
        raise InputError(f"{path}: the list of categories is empty; nothing can be learnt from it")
    categories: list[Category] = []
    for label, category_id in enumerate(sorted(names), start=1):
        name = names[category_id]
        if name in (category.name for category in categories):
            log.add([Finding(Defect.DUPLICATE_CATEGORY_NAME, f"{name}, id {category_id}")])
            name = f"{name} ({category_id})"
        categories.append(Category(label, name, category_id))
    if any(category.id != category.label for category in categories):
        log.add([Finding(Defect.CATEGORY_IDS, f"{len(categories)} ids, {categories[0].id} to {categories[-1].id}")])
    return categories


def _valid_images(entries: list[Entry], log: DefectLog) -> dict[int, Entry]:
    images: dict[int, Entry] = {}
    files = set()
    for entry in entries:
        image_id: Any = entry.get("id")
        file_name = entry.get("file_name")
        if not _is_id(image_id) or not isinstance(file_name, str) or not file_name:
            log.add([Finding(Defect.INVALID_IMAGE_ENTRY, f"id {image_id!r}, file_name {file_name!r}")])
        elif image_id in images:
            log.add([Finding(Defect.DUPLICATE_IMAGE, f"{file_name}, id {image_id}")])
        else:
            if file_name in files:
                log.add([Finding(Defect.DUPLICATE_FILE_NAME, f"{file_name}, id {image_id}")])
            images[image_id] = entry
            files.add(file_name)
    return images


def _objects_by_image(
    entries: list[Entry], image_ids: Iterable[int], labels: Mapping[int, int], log: DefectLog
) -> dict[int, list[AnnotatedObject]]:
    objects: dict[int, list[AnnotatedObject]] = {image_id: [] for image_id in image_ids}
    taken: dict[int, Entry] = {}
    next_free = max((entry["id"] for entry in entries if _is_id(entry.get("id"))), default=0) + 1
    for entry in entries:
        image_id: Any = entry.get("image_id")
        annotation_id: Any = entry.get("id")
        place = f"annotation {annotation_id!r} of image {image_id!r}"
        if not _is_id(image_id) or image_id not in objects:
            log.add([Finding(Defect.UNKNOWN_IMAGE, place)])
            continue
        if _is_id(annotation_id) and taken.get(annotation_id) == entry:
            log.add([Finding(Defect.DUPLICATE_ANNOTATION, place)])
            continue
        if not _is_id(annotation_id) or annotation_id in taken:
            log.add([Finding(Defect.ANNOTATION_ID, f"{place}: now {next_free}")])
            annotation_id, next_free = next_free, next_free + 1
        taken[annotation_id] = entry
        objects[image_id].append(_annotated_object(entry, annotation_id, labels))
    return objects


def _annotated_object(entry: Entry, annotation_id: int, labels: Mapping[int, int]) -> AnnotatedObject:
    area, category_id = entry.get("area"), entry.get("category_id")
    return AnnotatedObject(
        id=annotation_id,
        edges=_edges(entry.get("bbox")),
        label=labels.get(category_id) if isinstance(category_id, int) else None,
        iscrowd=int(entry.get("iscrowd") == 1),
        area=float(area) if isinstance(area, int | float) else None,
        segmentation=entry.get("segmentation"),
    )


def _edges(bbox: Any) -> Edges | None:
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(isinstance(value, int | float) for value in bbox):
        return None
    x, y, width, height = map(float, bbox)
    return x, y, x + width, y + height


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _size(entry: Entry) -> tuple[int, int]:
    width, height = entry.get("width"), entry.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else (0, 0)
