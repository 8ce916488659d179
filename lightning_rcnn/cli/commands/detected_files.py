"""Detections as files of an annotation format, which label tools open to correct them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from lightning_rcnn.data.formats.coco.keypoints import points_of_result
from lightning_rcnn.data.formats.write.base import WrittenImage, WrittenObject
from lightning_rcnn.data.formats.write.registry import FormatName, open_writer
from lightning_rcnn.data.index import Category
from lightning_rcnn.data.pack.folder import atomic_folder
from lightning_rcnn.errors import InputError
from lightning_rcnn.skeleton import Skeleton


def require_new_folder(folder: Path) -> None:
    """Check that a folder for files of a format is missing or empty.

    Raises:
        InputError: it is not.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not an empty folder; remove it, or choose another --out")


def write_detected(
    name: FormatName,
    folder: Path,
    entries: Iterable[Mapping[str, Any]],
    category_ids: Sequence[int],
    class_names: Sequence[str],
    skeleton: Skeleton | None = None,
    keypoints_above: float = 0.0,
) -> list[str]:
    """Write images and detections in an annotation format, into a folder that appears when it is whole.

    Args:
        name: name of the format.
        folder: new folder.
        entries: images with their objects, in the form of `detection/results.py`; `image` is the path of a file.
        category_ids: ids of labels 1..K in the results.
        class_names: names of labels 1..K.
        skeleton: keypoints of the objects; None if they have none.
        keypoints_above: score above which a keypoint is written as seen, others as not labeled.

    Returns:
        Sentences on what the format has no place for; see `FormatWriter.remarks`.

    Raises:
        InputError: the format cannot hold the detections, or the folder or a file cannot be written or read.
    """
    labels = {category_id: label for label, category_id in enumerate(category_ids, start=1)}
    categories = [
        Category(label, class_name, category_id)
        for label, (class_name, category_id) in enumerate(zip(class_names, category_ids, strict=True), start=1)
    ]
    with atomic_folder(folder, overwrite=False) as temporary:
        writer = open_writer(name, temporary, categories, skeleton)
        for number, entry in enumerate(entries, start=1):
            data = _read(entry["image"])
            objects = [_written(each, labels, keypoints_above) for each in entry["objects"]]
            writer.write(WrittenImage(number, entry["image"], data, entry["width"], entry["height"], objects))
        writer.finish()
    return writer.remarks(name)


def _read(image: str) -> bytes:
    try:
        return Path(image).read_bytes()
    except OSError as error:
        raise InputError(f"{image}: has results, but cannot be read any more ({error.strerror})") from error


def _written(found: Mapping[str, Any], labels: Mapping[int, int], keypoints_above: float) -> WrittenObject:
    x, y, width, height = found["bbox"]
    keypoints = [
        value
        for point_x, point_y, score in points_of_result(found.get("keypoints", ()))
        for value in ((point_x, point_y, 2) if score > keypoints_above else (0, 0, 0))
    ]
    return WrittenObject(
        (x, y, x + width, y + height),
        labels[found["category_id"]],
        _non_empty(found.get("segmentation")),
        score=found["score"],
        keypoints=keypoints,
    )


def _non_empty(rle: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the RLE of a mask; None without a pixel, as where every cell of a mask is below the threshold."""
    if rle is None or not coco_mask.area(rle):
        return None
    return rle
