"""Read an annotation file: classes, images, and the objects of each image."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.formats.coco.boxes import Box, box_of, edges_of, read_box
from lightning_rcnn.data.formats.coco.categories import Classes, read_classes
from lightning_rcnn.data.formats.coco.ids import MAX_ID, IdTable
from lightning_rcnn.data.formats.coco.json_files import Entry, load_annotations
from lightning_rcnn.data.formats.coco.keypoints import keypoints_in_pixels, read_keypoints, read_skeleton
from lightning_rcnn.data.formats.coco.relative import are_relative, polygons_of
from lightning_rcnn.data.formats.coco.scalars import flag, number, whole_number
from lightning_rcnn.data.formats.coco.segmentations import box_of_segmentation, read_segmentation
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.rotation import edges_around_rotated, is_turned
from lightning_rcnn.data.garbage import paused_collection
from lightning_rcnn.data.scaling import scale_box, scale_points
from lightning_rcnn.skeleton import Skeleton

LABEL_LIST_KEYS = ("neg_category_ids", "not_exhaustive_category_ids")
"""LVIS's keys of an image: absent classes, and those that are not annotated exhaustively (`data/index.LABEL_LISTS`)."""


class CocoImage(NamedTuple):
    """An entry of the list of images.

    Attributes:
        id: image id.
        file_name: file name; empty if not stated.
        size: (width, height) in pixels; (0, 0) if not stated, or not from 1 to `MAX_SIDE`.
        negative_labels: labels of classes that are absent (LVIS's `neg_category_ids`), ascending; None in a file that
            is not federated.
        not_exhaustive_labels: labels of classes of which objects may lack annotations
            (`not_exhaustive_category_ids`), in the same form.
    """

    id: int
    file_name: str
    size: tuple[int, int]
    negative_labels: tuple[int, ...] | None = None
    not_exhaustive_labels: tuple[int, ...] | None = None


class CocoObject(NamedTuple):
    """One object as annotated, before the rules for boxes and masks.

    Attributes:
        id: annotation id.
        box: x, y, width, height in pixels; None if there is neither a box nor a mask to take one from.
        label: label 1..K; None if the class is unknown.
        iscrowd, difficult: 0 or 1.
        area: area in pixels; None if not stated.
        segmentation: polygons or an RLE (see `segmentations.py`); None if there is none.
        keypoints: x, y and visibility of each keypoint as written; empty if it has none, None if they cannot be read.
        num_keypoints: stated number of labeled keypoints; COCO's OKS ignores an object of which it is 0. None if not
            stated.
        has_relative_box, has_relative_mask: whether box and mask are relative to the image size; see `in_pixels`.
        degrees: clockwise rotation, around its center, of the box as CVAT states it; None if not stated. `in_pixels`
            gives the upright box around it.
    """

    id: int
    box: Box | None
    label: int | None
    iscrowd: int
    difficult: int
    area: float | None
    segmentation: Any
    keypoints: Sequence[float] | None = ()
    num_keypoints: int | None = None
    has_relative_box: bool = False
    has_relative_mask: bool = False
    degrees: float | None = None


@dataclass(frozen=True)
class CocoAnnotations:
    """The content of an annotation file.

    Attributes:
        classes: classes of the file.
        skeleton: keypoints of its objects; None if it has none.
        image_ids: image ids with their spellings.
        images: image id -> image.
        objects: image id -> objects of the image.
        is_relative: whether any object is relative to its image's size, so that `in_pixels` needs that size.
        is_federated: whether images list the classes that they were looked through for; see `LABEL_LIST_KEYS`.
        log: defects of the file.
        num_images, num_objects: numbers in the file, without duplicates and without classes that were not requested.
    """

    classes: Classes
    skeleton: Skeleton | None
    image_ids: IdTable
    images: dict[int, CocoImage]
    objects: dict[int, list[CocoObject]]
    is_relative: bool
    is_federated: bool
    log: DefectLog
    num_images: int
    num_objects: int


@paused_collection()
def read_annotations(path: Path, classes: Sequence[str] | None = None) -> CocoAnnotations:
    """Read an annotation file.

    Args:
        path: JSON file with `images`, `annotations` and `categories`.
        classes: names of the classes 1..K; by default the file's categories in the order of their ids.

    Raises:
        InputError: the file is missing, has another format, or has categories that contradict each other or have
            different skeletons.
    """
    content = load_annotations(path)
    entries = content["annotations"]
    log = DefectLog()
    numbered = read_classes(
        content["categories"], _distinct(entry.get("category_id") for entry in entries), path, log, classes
    )
    skeleton = read_skeleton(content["categories"], lambda entry_id: numbered.label_of(entry_id) is not None, path)
    image_ids = IdTable(entry.get("id") for entry in content["images"])
    if image_ids.numbered:
        first = image_ids.numbered[0]
        log.add([Finding(Defect.TEXT_IDS, f"image {first!r}: now {image_ids.find(first)}")])
    is_federated = any(key in entry for entry in content["images"] for key in LABEL_LIST_KEYS)
    images = _read_images(content["images"], image_ids, numbered, log, is_federated)
    annotations = [
        (image_id, _read_object(entry, annotation_id, numbered))
        for image_id, annotation_id, entry in _wanted(entries, image_ids, images, numbered, log)
    ]
    objects, is_relative = _complete(annotations, images, log)
    num_images = len(content["images"]) - log.counts[Defect.DUPLICATE_IMAGE]
    num_objects = len(entries) - log.counts[Defect.DUPLICATE_ANNOTATION] - log.counts[Defect.OTHER_CLASS]
    return CocoAnnotations(
        numbered, skeleton, image_ids, images, objects, is_relative, is_federated, log, num_images, num_objects
    )


def in_pixels(annotated: CocoObject, size: tuple[int, int]) -> CocoObject:
    """Return the object with upright box, mask and area in pixels of an image of this (width, height)."""
    width, height = size
    box, segmentation, area = annotated.box, annotated.segmentation, annotated.area
    keypoints = annotated.keypoints
    if keypoints:
        is_relative = annotated.has_relative_box and max(map(abs, [*keypoints[0::3], *keypoints[1::3]])) <= 1
        keypoints = keypoints_in_pixels(keypoints, size if is_relative else None)
    if annotated.has_relative_box and box is not None:
        box = scale_box(box, width, height)
    if box is not None and is_turned(annotated.degrees):  # after the scaling: shares of width and height differ
        box = box_of(edges_around_rotated(edges_of(box), annotated.degrees or 0.0))
    if annotated.has_relative_mask:
        segmentation = scale_points(segmentation, width, height)
    if area is not None and area <= 1 and (annotated.has_relative_box or annotated.has_relative_mask):
        area *= width * height
    return annotated._replace(
        box=box,
        segmentation=segmentation,
        area=area,
        keypoints=keypoints,
        has_relative_box=False,
        has_relative_mask=False,
        degrees=None,
    )


def _distinct(values: Iterable[Any]) -> set[Any]:
    return {value for value in values if isinstance(value, str | int | float)}


def _read_images(
    entries: list[Entry], ids: IdTable, classes: Classes, log: DefectLog, is_federated: bool
) -> dict[int, CocoImage]:
    images: dict[int, CocoImage] = {}
    files: set[str] = set()
    for entry in entries:
        image_id, file_name = ids.find(entry.get("id")), _file_name(entry, log)
        if image_id is None:
            log.add([Finding(Defect.INVALID_IMAGE_ENTRY, f"id {entry.get('id')!r}, file_name {file_name!r}")])
            continue
        if image_id in images:
            log.add([Finding(Defect.DUPLICATE_IMAGE, f"{file_name}, id {image_id}")])
            continue
        if file_name and file_name in files:
            log.add([Finding(Defect.DUPLICATE_FILE_NAME, f"{file_name}, id {image_id}")])
        lists = [_labels(entry.get(key), classes) for key in LABEL_LIST_KEYS] if is_federated else []
        images[image_id] = CocoImage(image_id, file_name, stated_size(entry.get("width"), entry.get("height")), *lists)
        files.add(file_name)
    return images


def _labels(category_ids: Any, classes: Classes) -> tuple[int, ...]:
    """Return the labels of a list of category ids, without those of classes that are unknown or not requested."""
    listed = category_ids if isinstance(category_ids, list) else []
    labels = (classes.label_of(category_id) for category_id in listed)
    return tuple(sorted({label for label in labels if label is not None}))


def _file_name(entry: Entry, log: DefectLog) -> str:
    """Return the file name, or as in LVIS the last part of the image's URL; empty if neither is stated."""
    name, url = entry.get("file_name"), entry.get("coco_url")
    if isinstance(name, str) and name:
        return name
    last_part = unquote(urlsplit(url).path).rpartition("/")[2] if isinstance(url, str) else ""
    if last_part:
        log.add([Finding(Defect.NAME_FROM_URL, f"{url}: {last_part}")])
    return last_part


def _wanted(
    entries: list[Entry], image_ids: IdTable, images: dict[int, CocoImage], classes: Classes, log: DefectLog
) -> Iterable[tuple[int, int, Entry]]:
    """Yield (image id, annotation id, entry) of every annotation of a listed image and class, each once."""
    own_ids = [_annotation_id(entry.get("id")) for entry in entries]
    next_free_id = max((own_id for own_id in own_ids if own_id is not None), default=0) + 1
    used: dict[int, Entry] = {}
    for own_id, entry in zip(own_ids, entries, strict=True):
        image_id = image_ids.find(entry.get("image_id"))
        if image_id is None or image_id not in images:
            log.add([Finding(Defect.UNKNOWN_IMAGE, _location(entry))])
            continue
        if own_id is not None and used.get(own_id) == entry:
            log.add([Finding(Defect.DUPLICATE_ANNOTATION, _location(entry))])
            continue
        if classes.leaves_out(entry.get("category_id")):
            log.add([Finding(Defect.OTHER_CLASS, _location(entry))])
            continue
        if own_id is None or own_id in used:
            log.add([Finding(Defect.ANNOTATION_ID, f"{_location(entry)}: now {next_free_id}")])
            own_id, next_free_id = next_free_id, next_free_id + 1
        used[own_id] = entry
        yield image_id, own_id, entry


def _location(entry: Entry) -> str:
    return f"annotation {entry.get('id')!r} of image {entry.get('image_id')!r}"


def _annotation_id(value: Any) -> int | None:
    whole = whole_number(value)
    return whole if whole is not None and 0 <= whole <= MAX_ID else None


def _read_object(entry: Entry, annotation_id: int, classes: Classes) -> CocoObject:
    area = number(entry.get("area"))
    box, segmentation = read_box(entry.get("bbox")), read_segmentation(entry.get("segmentation"))
    attributes = entry.get("attributes")
    degrees = number(attributes.get("rotation")) if isinstance(attributes, dict) and segmentation is None else None
    return CocoObject(
        id=annotation_id,
        box=box,
        label=classes.label_of(entry.get("category_id")),
        iscrowd=int(flag(entry.get("iscrowd"))),
        # Converters of VOC files mark difficult objects with either key.
        difficult=int(flag(entry.get("difficult")) or flag(entry.get("ignore"))),
        area=area if area is not None and isfinite(area) else None,
        segmentation=segmentation,
        keypoints=read_keypoints(keypoints) if (keypoints := entry.get("keypoints")) else [],
        num_keypoints=whole_number(entry.get("num_keypoints")),
        degrees=degrees if box is not None else None,
    )


def _complete(
    annotations: list[tuple[int, CocoObject]], images: dict[int, CocoImage], log: DefectLog
) -> tuple[dict[int, list[CocoObject]], bool]:
    """Apply the rules that need several annotations or keys; also return whether any coordinate is relative."""
    relative_boxes = are_relative(edges_of(annotated.box) for _, annotated in annotations if annotated.box)
    relative_masks = are_relative(part for _, annotated in annotations for part in polygons_of(annotated.segmentation))
    objects: dict[int, list[CocoObject]] = {image_id: [] for image_id in images}
    for image_id, annotated in annotations:
        has_relative_mask = relative_masks and bool(polygons_of(annotated.segmentation))
        has_relative_box = relative_boxes and annotated.box is not None
        defects = [Defect.ROTATED_BOX] if is_turned(annotated.degrees) else []
        if annotated.box is None and (box := box_of_segmentation(annotated.segmentation)):
            defects.append(Defect.BOX_FROM_MASK)
            annotated, has_relative_box = annotated._replace(box=box), has_relative_mask
        if has_relative_box or has_relative_mask:
            defects.append(Defect.RELATIVE_COORDINATES)
            annotated = annotated._replace(has_relative_box=has_relative_box, has_relative_mask=has_relative_mask)
        if annotated.iscrowd:
            defects.append(Defect.CROWD)
        if defects:
            location = f"annotation {annotated.id} of image {images[image_id].file_name or image_id}"
            log.add(Finding(defect, location) for defect in defects)
        objects[image_id].append(annotated)
    return objects, relative_boxes or relative_masks
