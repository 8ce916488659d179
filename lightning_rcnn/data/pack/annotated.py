"""How an annotated image becomes a sample: the file is examined, the rules are applied to each object."""

from pathlib import Path
from typing import Any, NamedTuple

from lightning_rcnn.data.index import Annotation
from lightning_rcnn.data.pack.boxes import Edges, check_box
from lightning_rcnn.data.pack.defects import Defect, Finding
from lightning_rcnn.data.pack.masks import check_segmentation
from lightning_rcnn.data.pack.pictures import Picture, RejectedImageError, Size, examine_image
from lightning_rcnn.data.pack.source import Outcome, Sample
from lightning_rcnn.masks.segmentation import area_of


class AnnotatedObject(NamedTuple):
    """One object as annotated, before the rules.

    Attributes:
        edges: x1, y1, x2, y2 in pixels; None if there is no box.
        label: 1..K; None if the class is unknown.
        area: in pixels; None if not stated.
        segmentation: as in COCO; None if there is none.
    """

    id: int
    edges: Edges | None
    label: int | None
    iscrowd: int = 0
    difficult: int = 0
    area: float | None = None
    segmentation: Any = None


class AnnotatedImage(NamedTuple):
    """One image as annotated, before the rules; `size` is (0, 0) if not stated."""

    image_id: int
    file_name: str
    path: Path
    size: Size
    objects: list[AnnotatedObject]


def read_annotated_image(image: AnnotatedImage) -> Outcome:
    """Read the file of an annotated image and apply the rules to both."""
    try:
        data = image.path.read_bytes()
    except FileNotFoundError:
        return Outcome(None, [Finding(Defect.MISSING_IMAGE, image.file_name)])
    except OSError as error:
        return Outcome(None, [Finding(Defect.UNREADABLE_IMAGE, f"{image.file_name}: {error.strerror}")])
    try:
        picture = examine_image(data, image.file_name)
    except RejectedImageError as error:
        return Outcome(None, [Finding(error.defect, f"{image.file_name}: {error}")])

    width, height, size_defects = _choose_frame(picture, image.size)
    findings = [Finding(defect, image.file_name) for defect in size_defects]
    annotations = []
    for number, annotated in enumerate(image.objects, start=1):
        annotation, defects = _check_object(annotated, width, height)
        place = f"{image.file_name}, object {number}, id {annotated.id}"
        findings += [Finding(defect, place) for defect in defects]
        if annotation:
            annotations.append(annotation)
    if not image.objects:
        findings.append(Finding(Defect.EMPTY_IMAGE, image.file_name))
    elif not annotations:
        findings.append(Finding(Defect.EMPTIED_IMAGE, image.file_name))
    record = {
        "image_id": image.image_id,
        "file_name": image.file_name,
        "width": width,
        "height": height,
        "apply_exif": Defect.EXIF_IGNORED not in size_defects,
        "annotations": annotations,
    }
    return Outcome(Sample(data, picture.extension, record), findings)


def _choose_frame(picture: Picture, annotated: Size) -> tuple[int, int, list[Defect]]:
    """Width and height of the frame that the boxes refer to, and what was odd about the file or its stated size.

    Annotation tools and browsers show an image as its EXIF orientation says; who annotated by a program that ignores
    it has stated the size of the stored image. Where both sizes are the same, the image as shown is taken.
    """
    if annotated == picture.stored != picture.shown:
        defects = [defect for defect in picture.defects if defect is not Defect.EXIF_APPLIED]
        return *picture.stored, [*defects, Defect.EXIF_IGNORED]
    if min(annotated) <= 0:
        return *picture.shown, [*picture.defects, Defect.SIZE_MISSING]
    if annotated != picture.shown:
        return *picture.shown, [*picture.defects, Defect.SIZE_MISMATCH]
    return *picture.shown, picture.defects


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
    annotation = Annotation(
        id=annotated.id,
        bbox=list(box),
        label=annotated.label,
        iscrowd=annotated.iscrowd,
        difficult=annotated.difficult,
        area=area_of(annotated.area, segmentation, height, width, (box[2] - box[0]) * (box[3] - box[1])),
    )
    if segmentation is not None:
        annotation["segmentation"] = segmentation
    return annotation, defects + mask_defects
