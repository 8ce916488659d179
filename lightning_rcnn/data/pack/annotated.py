"""Turn an annotated image into a sample: inspect the file and apply the rules to each object."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.index import LABEL_LISTS, Annotation
from lightning_rcnn.data.keypoints import scaled_keypoints
from lightning_rcnn.data.pack.boxes import Edges, check_box
from lightning_rcnn.data.pack.frame import Frame, choose_frame
from lightning_rcnn.data.pack.image_info import ImageInfo, RejectedImageError, Size, inspect_image
from lightning_rcnn.data.pack.masks import check_segmentation
from lightning_rcnn.data.pack.scaling import scale_segmentation
from lightning_rcnn.data.pack.source import Outcome, Sample
from lightning_rcnn.data.scaling import scale_box
from lightning_rcnn.masks.segmentation import area_of


class AnnotatedObject(NamedTuple):
    """One object as annotated, before the rules.

    Attributes:
        id: annotation id.
        edges: x1, y1, x2, y2 in pixels; None if there is no box.
        label: label 1..K; None if the class is unknown.
        iscrowd, difficult: 0 or 1.
        area: area in pixels; None if not stated.
        segmentation: segmentation in COCO's form; None if there is none.
        keypoints: x, y and visibility of each keypoint in turn (see `data/keypoints.py`); empty if there are none, None
            if they cannot be read.
        num_keypoints: stated number of labeled keypoints; None if not stated.
    """

    id: int
    edges: Edges | None
    label: int | None
    iscrowd: int = 0
    difficult: int = 0
    area: float | None = None
    segmentation: Any = None
    keypoints: Sequence[float] | None = ()
    num_keypoints: int | None = None


class AnnotatedImage(NamedTuple):
    """One image as annotated, before the rules.

    Attributes:
        image_id: image id.
        file_name: file name for messages and records.
        path: path of the file.
        size: (width, height) in pixels; (0, 0) if not stated.
        objects: objects of the image.
        negative_labels, not_exhaustive_labels: see `CocoImage`.
        num_keypoints: number of keypoints in the skeleton of the data set; 0 without one.
    """

    image_id: int
    file_name: str
    path: Path
    size: Size
    objects: list[AnnotatedObject]
    negative_labels: tuple[int, ...] | None = None
    not_exhaustive_labels: tuple[int, ...] | None = None
    num_keypoints: int = 0


def read_annotated_image(image: AnnotatedImage) -> Outcome:
    """Read the file of an annotated image and apply the rules to file and annotation."""
    try:
        data, info = read_image(image.path.read_bytes, image.file_name)
        return check_annotated_image(image, data, info)
    except RejectedImageError as error:
        return skipped_image(image.file_name, len(image.objects), error)


def read_image(read: Callable[[], bytes], file_name: str) -> tuple[bytes, ImageInfo]:
    """Read an image and inspect it.

    Args:
        read: function that returns the bytes of the file.
        file_name: file name for messages.

    Raises:
        RejectedImageError: the image cannot be read or packed.
    """
    try:
        data = read()
    except FileNotFoundError:
        raise RejectedImageError(Defect.MISSING_IMAGE, "the file was removed, or is a broken link") from None
    except OSError as error:
        raise RejectedImageError(Defect.UNREADABLE_IMAGE, error.strerror or str(error)) from error
    return data, inspect_image(data, file_name)


def skipped_image(file_name: str, num_objects: int, error: RejectedImageError) -> Outcome:
    """Return the outcome of an image that is left out."""
    return Outcome(None, [Finding(error.defect, f"{file_name}: {error}")], num_objects)


def check_annotated_image(image: AnnotatedImage, data: bytes, info: ImageInfo) -> Outcome:
    """Apply the rules to the annotation of an image whose file was read.

    Raises:
        RejectedImageError: the annotation is of another image.
    """
    boxes = [annotated.edges for annotated in image.objects if annotated.edges is not None]
    frame = choose_frame(info, image.size, boxes)
    findings = [Finding(defect, image.file_name) for defect in frame.defects]
    annotations = []
    width, height = frame.size
    is_scaled = frame.annotated != frame.size
    for number, annotated in enumerate(image.objects, start=1):
        scaled = _scaled(annotated, frame) if is_scaled else annotated
        annotation, defects = _check_object(scaled, width, height)
        if annotation and image.num_keypoints:
            defects = defects + _add_keypoints(annotation, scaled, image.num_keypoints, frame.size)
        if defects:
            location = f"{image.file_name}, object {number}, id {annotated.id}"
            findings += [Finding(defect, location) for defect in defects]
        if annotation:
            annotations.append(annotation)
    if not image.objects:
        findings.append(Finding(Defect.EMPTY_IMAGE, image.file_name))
    elif not annotations:
        findings.append(Finding(Defect.EMPTIED_IMAGE, image.file_name))
    record: dict[str, Any] = {
        "image_id": image.image_id,
        "file_name": image.file_name,
        "width": width,
        "height": height,
        "apply_exif": Defect.EXIF_IGNORED not in frame.defects,
        "annotations": annotations,
    }
    for key in LABEL_LISTS:
        if (labels := getattr(image, key)) is not None:
            record[key] = list(labels)
    return Outcome(Sample(data, info.extension, record), findings, len(image.objects))


def _add_keypoints(annotation: Annotation, annotated: AnnotatedObject, number: int, size: Size) -> list[Defect]:
    """Give a packed object its keypoints if one is labeled; return the defects."""
    keypoints = annotated.keypoints
    if keypoints is None or len(keypoints) not in (0, 3 * number):
        return [Defect.BAD_KEYPOINTS]
    points = np.array(keypoints, np.float64).reshape(-1, 3)
    is_inside = np.all((points[:, :2] >= 0) & (points[:, :2] <= size), axis=1)
    is_lost = (points[:, 2] > 0) & ~is_inside
    points[is_lost] = 0
    if points[:, 2].any():
        annotation["keypoints"] = points.ravel().tolist()
        if annotated.num_keypoints == 0:
            annotation["num_keypoints"] = 0
    return [Defect.KEYPOINT_OUTSIDE] if is_lost.any() else []


def _scaled(annotated: AnnotatedObject, frame: Frame) -> AnnotatedObject:
    """Scale the object to the image's frame."""
    x, y = (side / annotated_side for side, annotated_side in zip(frame.size, frame.annotated, strict=True))
    return annotated._replace(
        edges=None if annotated.edges is None else scale_box(annotated.edges, x, y),
        area=None if annotated.area is None else annotated.area * x * y,
        segmentation=scale_segmentation(annotated.segmentation, frame.annotated, frame.size),
        keypoints=annotated.keypoints and scaled_keypoints(annotated.keypoints, x, y),
    )


def _check_object(annotated: AnnotatedObject, width: int, height: int) -> tuple[Annotation | None, list[Defect]]:
    if annotated.label is None:
        return None, [Defect.UNKNOWN_CLASS]
    if annotated.edges is None:
        return None, [Defect.MISSING_BOX]
    box, box_defect = check_box(annotated.edges, width, height)
    defects = [box_defect] if box_defect else []
    if box is None:
        return None, defects
    segmentation, mask_defects = check_segmentation(annotated.segmentation, width, height, box)
    annotation: Annotation = {
        "id": annotated.id,
        "bbox": list(box),
        "label": annotated.label,
        "iscrowd": annotated.iscrowd,
        "difficult": annotated.difficult,
        "area": area_of(annotated.area, segmentation, height, width, (box[2] - box[0]) * (box[3] - box[1])),
    }
    if segmentation is not None:
        annotation["segmentation"] = segmentation
    return annotation, defects + mask_defects
