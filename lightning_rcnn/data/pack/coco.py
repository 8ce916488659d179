"""List a COCO data set: a folder of images and one JSON file.

`data/formats/coco` reads the file, for `evaluate` too; this module finds the images.

Source: https://cocodataset.org/#format-data
"""

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.formats.coco.annotations import (
    CocoAnnotations,
    CocoImage,
    CocoObject,
    in_pixels,
    read_annotations,
)
from lightning_rcnn.data.formats.coco.boxes import edges_of
from lightning_rcnn.data.formats.layout import require_memory
from lightning_rcnn.data.garbage import paused_collection
from lightning_rcnn.data.pack.annotated import AnnotatedImage, AnnotatedObject, read_annotated_image
from lightning_rcnn.data.pack.image_folder import locate_images
from lightning_rcnn.data.pack.image_info import RejectedImageError, Size, inspect_image
from lightning_rcnn.data.pack.source import Contents, Source
from lightning_rcnn.errors import InputError

_TOLERANCE, _FAR = 1.01, 1.1
"""Shares of an image's size up to which a box is inside, and beyond which it is far outside."""
_MANY = 0.25
"""Share of boxes far outside above which they are in another form."""


@paused_collection()
def coco_source(images: Path, annotations: Path, *, classes: Sequence[str] | None = None) -> Source:
    """List a COCO data set.

    Args:
        images: folder to which the file names in the JSON are relative.
        annotations: JSON file.
        classes: names of the classes; the i-th gets label and id i, and objects of other classes are skipped. By
            default all categories of the file, in the order of their ids.

    Raises:
        InputError: folder or file is missing, the file has another format, its categories contradict each other, or
            all objects are crowds.
    """
    if not images.is_dir():
        raise InputError(
            f"{images}: no such folder; give the folder to which the file names in {annotations} are relative"
        )
    if annotations.is_file():
        require_memory(annotations)
    coco = read_annotations(annotations, classes)
    _report_keypoints(coco)
    _require_single_objects(coco, annotations)
    _refuse_corners(coco, annotations)
    named = [image for image in coco.images.values() if _has_file_name(image, coco)]
    located = locate_images(images, (image.file_name for image in named))
    coco.log.add(located.findings)
    coco.log.add(Finding(Defect.UNLISTED_FILE, name) for name in located.unlisted)
    items = [
        _annotated_image(image, file, images / file, coco)
        for image in named
        if (file := located.files.get(image.file_name)) is not None
    ]
    left_out = Contents(
        images=coco.num_images - len(items), objects=coco.num_objects - sum(len(item.objects) for item in items)
    )
    return Source(
        annotations.stem,
        coco.classes.categories,
        items,
        read_annotated_image,
        coco.log,
        left_out,
        attrgetter("file_name"),
        _labels_of,
        is_federated=coco.is_federated,
        skeleton=coco.skeleton,
        needs_python=any(each.segmentation for item in items for each in item.objects),
    )


def _labels_of(item: AnnotatedImage) -> set[int]:
    return {each.label for each in item.objects if each.label is not None and not each.iscrowd}


def _require_single_objects(coco: CocoAnnotations, path: Path) -> None:
    objects = [annotated for listed in coco.objects.values() for annotated in listed if annotated.label is not None]
    if objects and all(annotated.iscrowd for annotated in objects):
        every = f"all {len(objects):,} objects have" if len(objects) > 1 else "its only object has"
        raise InputError(
            f"{path}: {every} iscrowd 1, so a model cannot learn from it; if that is no group of objects, as in masks "
            "drawn with CVAT's brush, set iscrowd to 0, for example with "
            "`jq '.annotations[].iscrowd = 0'`"
        )


def _refuse_corners(coco: CocoAnnotations, path: Path) -> None:
    """Refuse a file whose boxes are two corners instead of a corner and a size, as converters often write them.

    Many boxes reach far beyond their images then, and as corners all lie inside.
    """
    num_boxes = num_beyond = 0
    for image_id, image in coco.images.items():
        right, bottom = image.size
        for annotated in coco.objects[image_id] if right else ():
            if annotated.box is None or annotated.has_relative_box:
                continue
            x, y, x2, y2 = annotated.box
            if not (0 <= x < x2 <= _TOLERANCE * right and 0 <= y < y2 <= _TOLERANCE * bottom):
                return
            num_boxes += 1
            num_beyond += x + x2 > _FAR * right or y + y2 > _FAR * bottom
    if num_beyond > _MANY * num_boxes:
        raise InputError(
            f"{path}: {num_beyond} of {num_boxes} boxes reach far beyond their images, and as two corners all are "
            "inside; a bbox of COCO is x, y, width, height: write [x1, y1, x2 - x1, y2 - y1]"
        )


def _report_keypoints(coco: CocoAnnotations) -> None:
    """Report keypoints of objects whose category names none."""
    if coco.skeleton is None:
        coco.log.add(
            Finding(Defect.KEYPOINTS, f"annotation {annotated.id} of image {image_id}; its category names none")
            for image_id, listed in coco.objects.items()
            for annotated in listed
            if annotated.keypoints and any(annotated.keypoints[2::3])
        )


def _has_file_name(image: CocoImage, coco: CocoAnnotations) -> bool:
    if image.file_name:
        return True
    coco.log.add([Finding(Defect.INVALID_IMAGE_ENTRY, f"id {image.id}, no file_name")])
    coco.log.add(
        Finding(Defect.UNKNOWN_IMAGE, f"annotation {annotated.id} of it") for annotated in coco.objects[image.id]
    )
    return False


def _annotated_image(image: CocoImage, file_name: str, path: Path, coco: CocoAnnotations) -> AnnotatedImage:
    size = _size_of_file(path) if coco.is_relative and image.size == (0, 0) else image.size
    objects = [_annotated_object(in_pixels(annotated, size)) for annotated in coco.objects[image.id]]
    return AnnotatedImage(
        image.id,
        file_name,
        path,
        image.size,
        objects,
        image.negative_labels,
        image.not_exhaustive_labels,
        num_keypoints=len(coco.skeleton or ()),
    )


def _annotated_object(coco_object: CocoObject) -> AnnotatedObject:
    return AnnotatedObject(
        coco_object.id,
        None if coco_object.box is None else edges_of(coco_object.box),
        coco_object.label,
        coco_object.iscrowd,
        coco_object.difficult,
        coco_object.area,
        coco_object.segmentation,
        coco_object.keypoints,
        coco_object.num_keypoints,
    )


def _size_of_file(path: Path) -> Size:
    """Return the (width, height) of the displayed image; (0, 0) for a file that will be refused."""
    try:
        return inspect_image(path.read_bytes(), path.name).displayed
    except (OSError, RejectedImageError):
        return 0, 0
