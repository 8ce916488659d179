"""Ground truth in COCO's JSON format and results beside it, checked, for the evaluator."""

from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.formats.coco.annotations import (
    CocoAnnotations,
    CocoImage,
    CocoObject,
    in_pixels,
    read_annotations,
)
from lightning_rcnn.data.formats.coco.boxes import edges_of
from lightning_rcnn.data.formats.coco.keypoints import Keypoints, points_of_result
from lightning_rcnn.data.formats.coco.relative import are_relative
from lightning_rcnn.data.formats.coco.segmentations import frame_of_segmentations
from lightning_rcnn.data.keypoints import scaled_keypoints
from lightning_rcnn.data.scaling import scale_box
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.federated import Federation
from lightning_rcnn.evaluation.result_ids import result_ids
from lightning_rcnn.evaluation.scored_results import ScoredResult, load_results, read_results
from lightning_rcnn.evaluation.scoring import ResultType
from lightning_rcnn.masks.frames import swapped_run_length
from lightning_rcnn.masks.run_length import RunLength
from lightning_rcnn.masks.segmentation import area_of, checked_run_length, is_area, usable_run_length
from lightning_rcnn.skeleton import Skeleton
from lightning_rcnn.structures import LabelLists


@dataclass
class Image:
    """Size, name, annotations, results and lists of an image; their `category_id` is a label 1..K."""

    height: int
    width: int
    file_name: str = ""
    annotations: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    label_lists: LabelLists | None = None


@dataclass(frozen=True)
class CocoData:
    """A data set with results.

    Attributes:
        class_names: names of labels 1..K.
        images: image id -> image.
        notes: sentences for the user about the two files.
        federation: what LVIS's rules need to know of a federated set; None for any other.
        skeleton: keypoints of the objects; None if they have none.
    """

    class_names: list[str]
    images: dict[int, Image]
    notes: list[str]
    federation: Federation | None = None
    skeleton: Skeleton | None = None


def read_scored(annotations: Path, results: Path, result_type: ResultType) -> CocoData:
    """Read ground truth by the rules of `pack`, and results.

    Args:
        annotations: JSON with `images`, `annotations` and `categories`. An object without a usable mask has no
            `segmentation` in the result; it needs a box.
        results: JSON list of `image_id`, `category_id`, `score`, and `bbox` (x, y, width, height), `segmentation`
            (RLE) or `keypoints` (x, y and score of each). If an `images.json` beside it names the images, they are
            matched by file name.
        result_type: whether boxes, masks or keypoints are scored; the others are left out.

    Raises:
        InputError: no such file, JSON of another kind, an unknown image or category in the results, an incomplete
            entry, or keypoints of another skeleton or none at all.
    """
    coco = read_annotations(annotations)
    if not coco.images:
        raise InputError(f"{annotations}: the list of images is empty; there is nothing to score")
    if result_type == "keypoints" and coco.skeleton is None:
        raise InputError(f"{annotations}: no category has keypoints; score boxes, with --type bbox")
    num_keypoints = 0 if coco.skeleton is None else len(coco.skeleton)
    entries = load_results(results)
    ids = result_ids(results, [entry.get("image_id") for entry in entries], coco, annotations)
    detections = read_results(entries, results, ids, result_type, num_keypoints)
    notes = [*ids.notes]
    boxes = [edges_of(result.box) for result in detections if result.box is not None and result_type != "segm"]
    if are_relative(boxes):
        notes.append("All boxes of the results are shares of the image, 0 to 1: they become pixels.")
        detections = [_box_in_pixels(result, coco.images[result.image_id], annotations) for result in detections]
    are_points_relative = are_relative(_positions(result.keypoints) for result in detections if result.keypoints)
    if are_points_relative:
        notes.append("All keypoints of the results are shares of the image, 0 to 1: they become pixels.")
    detections = [_points_in_pixels(result, coco, annotations, are_points_relative) for result in detections]
    masks = _masks_by_image(detections)
    images: dict[int, Image] = {}
    for image_id, image in coco.images.items():
        width, height = _frame(image, coco, masks.get(image_id, []), annotations)
        images[image_id] = Image(height, width, image.file_name, label_lists=_label_lists(image))
        for annotated in coco.objects[image_id]:
            place = f"annotation {annotated.id} of image {image.file_name or image_id}"
            in_frame = in_pixels(annotated, (width, height))
            if result_type == "keypoints" and len(in_frame.keypoints or ()) not in (0, 3 * num_keypoints):
                in_frame = in_frame._replace(keypoints=None)
            entry, defect = _checked(in_frame, images[image_id], result_type)
            if entry is not None:
                images[image_id].annotations.append(entry)
            if defect is not None:
                coco.log.add([Finding(defect, place)])
    for result in detections:
        image_of_result = images[result.image_id]
        image_of_result.results.append(_as_entry(result, image_of_result, result_type))
    notes += [
        f"{annotations.name}: {defect.label} x {count}, {defect.action} (first: {place}): {defect.rule}."
        for defect, count, place in coco.log.refused_by_strict()
    ]
    categories = coco.classes.categories
    federation = Federation(tuple(each.frequency for each in categories)) if coco.is_federated else None
    return CocoData([category.name for category in categories], images, notes, federation, coco.skeleton)


def _label_lists(image: CocoImage) -> LabelLists | None:
    if image.negative_labels is None or image.not_exhaustive_labels is None:
        return None
    return LabelLists(image.negative_labels, image.not_exhaustive_labels)


def _positions(keypoints: Keypoints) -> list[float]:
    """Return x and y of keypoints in turn."""
    return [value for number, value in enumerate(keypoints) if number % 3 < 2]


def _box_in_pixels(result: ScoredResult, image: CocoImage, annotations: Path) -> ScoredResult:
    _require_size(image, annotations)
    return result if result.box is None else result._replace(box=scale_box(result.box, *image.size))


def _points_in_pixels(
    result: ScoredResult, coco: CocoAnnotations, annotations: Path, are_relative: bool
) -> ScoredResult:
    """Return the result with keypoints in pixels, a pixel's center at .5, as those of the annotations."""
    if not are_relative:
        points = points_of_result(result.keypoints)
        return result._replace(keypoints=[value for point in points for value in point])
    image = coco.images[result.image_id]
    _require_size(image, annotations)
    return result._replace(keypoints=scaled_keypoints(result.keypoints, *image.size))


def _require_size(image: CocoImage, annotations: Path) -> None:
    if image.size == (0, 0):
        raise InputError(
            f"{annotations}: image {image.file_name or image.id} has no width and height, which coordinates of 0 "
            "to 1 need; add them"
        )


def _masks_by_image(detections: list[ScoredResult]) -> dict[int, list[Any]]:
    masks: dict[int, list[Any]] = {}
    for result in detections:
        if isinstance(result.segmentation, dict):
            masks.setdefault(result.image_id, []).append(result.segmentation)
    return masks


def _frame(image: CocoImage, coco: CocoAnnotations, masks: list[Any], annotations: Path) -> tuple[int, int]:
    """Return width and height of an image: as stated, else of a mask's RLE, else the extent of all masks."""
    if coco.is_relative:
        _require_size(image, annotations)
    if image.size != (0, 0):
        return image.size
    return frame_of_segmentations([*masks, *(annotated.segmentation for annotated in coco.objects[image.id])])


def _checked(
    annotated: CocoObject, image: Image, result_type: ResultType
) -> tuple[dict[str, Any] | None, Defect | None]:
    """Return an annotation for the evaluator, or its defect; with masks, a box only replaces a missing mask."""
    if annotated.label is None:
        return None, Defect.UNKNOWN_CLASS
    segmentation = None
    if result_type == "segm" or not is_area(annotated.area):
        # As in `pack`, except that box and mask need not agree: the COCO API does not require it.
        segmentation = usable_run_length(_in_frame(annotated, image), image.height, image.width)
    entry: dict[str, Any] = {
        "category_id": annotated.label,
        "iscrowd": annotated.iscrowd,
        "difficult": annotated.difficult,
    }
    box_area = 0.0
    if result_type == "segm" and segmentation is not None:
        entry["segmentation"] = segmentation
    elif annotated.box is None:
        return None, Defect.MISSING_BOX
    elif not all(map(isfinite, annotated.box)):
        return None, Defect.NON_FINITE_BOX
    else:
        if min(annotated.box[2:]) < 0:
            return None, Defect.INVERTED_BOX
        entry["bbox"] = list(annotated.box)
        box_area = annotated.box[2] * annotated.box[3]
    entry["area"] = area_of(annotated.area, segmentation, image.height, image.width, box_area)
    if result_type == "keypoints":
        if annotated.keypoints is None:
            return {**entry, "keypoints": []}, Defect.BAD_KEYPOINTS
        entry["keypoints"] = list(annotated.keypoints)
        if annotated.num_keypoints is not None:
            entry["num_keypoints"] = annotated.num_keypoints
    return entry, None


def _in_frame(annotated: CocoObject, image: Image) -> Any:
    """Return the segmentation; an RLE with swapped height and width is corrected to fit the object's box."""
    rle, box = annotated.segmentation, annotated.box
    if not isinstance(rle, dict) or box is None or min(box[2:]) <= 0:
        return rle
    return swapped_run_length(rle, image.height, image.width, edges_of(box)) or rle


def _as_entry(result: ScoredResult, image: Image, result_type: ResultType) -> dict[str, Any]:
    entry: dict[str, Any] = {"category_id": result.label, "score": result.score}
    if result_type == "bbox" and result.box is not None:
        return {**entry, "bbox": list(result.box)}
    if result_type == "keypoints":
        box = {} if result.box is None else {"bbox": list(result.box)}
        return {**entry, **box, "keypoints": result.keypoints}
    return {**entry, "segmentation": _mask_of(result, image)}


def _mask_of(result: ScoredResult, image: Image) -> RunLength:
    rle, size = result.segmentation, [image.height, image.width]
    if not isinstance(rle, dict):
        raise InputError(f'{result.place}: segmentation is not an RLE {{"size": [height, width], "counts": "..."}}')
    if rle["size"] != size:
        wanted = f"{image.height} x {image.width} (height x width)"
        raise InputError(f"{result.place}: segmentation is of size {rle['size']}, the image is {wanted}")
    try:
        return checked_run_length(rle["counts"], *size)
    except ValueError as error:
        raise InputError(f"{result.place}: segmentation is not an RLE ({error})") from error
