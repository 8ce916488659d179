"""Recognize the format of a data set by its files, with one small function per format."""

import re
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import NamedTuple

from lightning_rcnn.data.formats.class_masks import find_class_masks
from lightning_rcnn.data.formats.crowdhuman import crowdhuman_files
from lightning_rcnn.data.formats.csv_columns import recognize_table
from lightning_rcnn.data.formats.csv_files import text_tables
from lightning_rcnn.data.formats.cub import cub_files
from lightning_rcnn.data.formats.cvat import is_cvat
from lightning_rcnn.data.formats.imglab import is_imglab
from lightning_rcnn.data.formats.json_lines import SUFFIXES, is_json_lines
from lightning_rcnn.data.formats.keras_yolo import keras_yolo_files
from lightning_rcnn.data.formats.known_lines import find_known_lines
from lightning_rcnn.data.formats.labelbox import labelbox_files
from lightning_rcnn.data.formats.labelme_xml import is_labelme_xml
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.masks import masks_per_image, masks_per_object
from lightning_rcnn.data.formats.mot import mot_files
from lightning_rcnn.data.formats.ndjson import is_ndjson
from lightning_rcnn.data.formats.nwpu import nwpu_files
from lightning_rcnn.data.formats.oidv4 import oidv4_files
from lightning_rcnn.data.formats.parquet import SUFFIX
from lightning_rcnn.data.formats.parquet_columns import is_parquet
from lightning_rcnn.data.formats.rle_csv import rle_files
from lightning_rcnn.data.formats.sagemaker import sagemaker_files
from lightning_rcnn.data.formats.ua_detrac import is_ua_detrac
from lightning_rcnn.data.formats.vertex import vertex_files
from lightning_rcnn.data.formats.via import is_via_csv
from lightning_rcnn.data.formats.yolo import is_yolo_line
from lightning_rcnn.data.formats.yolo_config import is_class_list, is_yolo_yaml


class Candidate(NamedTuple):
    """A format that a data set may have.

    Attributes:
        name: name of the command, `lightning-rcnn pack NAME`.
        evidence: files that show it.
    """

    name: str
    evidence: str


def recognize(layout: Layout) -> list[Candidate]:
    """Return the formats that a data set may have; several where it holds annotations in several formats."""
    candidates = [candidate for recognize_one in _RECOGNIZERS if (candidate := recognize_one(layout)) is not None]
    if candidates:
        return candidates
    # Beside other annotations these show nothing: an empty text file and a list of classes, or a line of numbers.
    found = _yolo_without_objects(layout) or _yolo_of_other_images(layout) or _unread_parquet(layout)
    return [] if found is None else [found]


def _yolo(layout: Layout) -> Candidate | None:
    if configs := [file for file in layout.with_suffix(".yaml", ".yml") if is_yolo_yaml(layout, file)]:
        return Candidate("yolo", configs[0])
    named = {PurePosixPath(image).stem for image in layout.images}
    labels = (file for file in _tried_texts(layout) if PurePosixPath(file).stem in named)
    label = next((file for file in labels if _starts_like_yolo(layout, file)), None)
    return None if label is None else Candidate("yolo", _class_list(layout) or label)


def _yolo_of_other_images(layout: Layout) -> Candidate | None:
    """Return YOLO if there are its text files, and no image is called like one of them."""
    label = next((file for file in _tried_texts(layout) if _starts_like_yolo(layout, file)), None)
    return None if label is None else Candidate("yolo", _class_list(layout) or label)


def _yolo_without_objects(layout: Layout) -> Candidate | None:
    """Return YOLO if there are a list of classes and, so far, only images without objects."""
    listed = _class_list(layout)
    named = {PurePosixPath(image).stem for image in layout.images} if listed else set()
    if any(PurePosixPath(file).stem in named and not layout.lines(file, 1) for file in _tried_texts(layout)):
        return Candidate("yolo", listed)
    return None


def _tried_texts(layout: Layout) -> list[str]:
    texts = [file for file in layout.with_suffix(".txt") if not is_class_list(file)]
    return texts[:: max(1, len(texts) // 50)]


def _class_list(layout: Layout) -> str:
    return next((file for file in layout.all_files if is_class_list(file)), "")


def _starts_like_yolo(layout: Layout, file: str) -> bool:
    return any(map(is_yolo_line, layout.lines(file, 1)))


def _of_json(name: str) -> Callable[[Layout], Candidate | None]:
    return partial(_json, name=name)


def _of_lines(name: str, files_of: Callable[[Layout], list[str]]) -> Callable[[Layout], Candidate | None]:
    return lambda layout: next((Candidate(name, file) for file in files_of(layout)), None)


def _json(layout: Layout, name: str) -> Candidate | None:
    """Return the candidate of a format of JSON files, if one of up to 20 tried files has it."""
    files = layout.with_suffix(".json")
    tried = files[:: max(1, len(files) // 20)]
    file = next((file for file in tried if layout.json_kind(file) == name), None)
    return None if file is None else Candidate(name, file)


def _panoptic(layout: Layout) -> Candidate | None:
    """Return COCO's panoptic format, unless its instances, or masks that have them, are here, too."""
    found = _json(layout, "panoptic")
    if found is None or _json(layout, "coco") is not None or find_class_masks(layout) is not None:
        return None
    return found


def _via(layout: Layout) -> Candidate | None:
    found = _json(layout, "via")
    tables = (file for file in layout.with_suffix(".csv") if is_via_csv(layout, file))
    return found or next((Candidate("via", file) for file in tables), None)


def _csv(layout: Layout) -> Candidate | None:
    files = layout.with_suffix(".csv", ".tsv")
    tables = [file for file in files if recognize_table(layout, file) is not None] or text_tables(layout)
    return Candidate("csv", tables[0]) if tables else None


def _cvat(layout: Layout) -> Candidate | None:
    files = (file for file in layout.with_suffix(".xml")[:1000] if is_cvat(layout, file))
    return next((Candidate("cvat", file) for file in files), None)


def _known_lines(layout: Layout) -> Candidate | None:
    found = find_known_lines(layout)
    return None if found is None else Candidate(*found)


def _jsonl(layout: Layout) -> Candidate | None:
    files = (file for file in layout.with_suffix(*SUFFIXES)[:100] if is_json_lines(layout, file))
    return next((Candidate("jsonl", file) for file in files), None)


def _ndjson(layout: Layout) -> Candidate | None:
    files = (file for file in layout.with_suffix(*SUFFIXES)[:100] if is_ndjson(layout, file))
    return next((Candidate("ndjson", file) for file in files), None)


def _masks(layout: Layout) -> Candidate | None:
    if any(re.search(r"(^|/)Annotations/[^/]+\.xml$", file) for file in layout.all_files):
        return None  # VOC's own segmentations beside its boxes
    if (found := find_class_masks(layout)) is not None:
        return Candidate("masks", found.title)
    if _panoptic(layout) is not None:
        return None  # its PNGs have the colors of segments
    if masks_per_object(layout):
        return Candidate("masks", "a folder of masks for each image")
    pairs, _ = masks_per_image(layout)
    return Candidate("masks", next(iter(pairs.values()))) if pairs else None


def _parquet(layout: Layout) -> Candidate | None:
    files = layout.with_suffix(SUFFIX)
    if not files or find_spec("pyarrow") is None:
        return None
    return next((Candidate("parquet", file) for file in files if is_parquet(layout, file)), None)


def _unread_parquet(layout: Layout) -> Candidate | None:
    """Return Parquet if there are such files, which nobody can read here, or which have to be explained."""
    return next((Candidate("parquet", file) for file in layout.with_suffix(SUFFIX)), None)


def _rle(layout: Layout) -> Candidate | None:
    files = [file for file in rle_files(layout) if recognize_table(layout, file) is None]  # a box beside it counts
    if not files or masks_per_object(layout):
        return None  # the Data Science Bowl has both
    return Candidate("rle", files[0])


def _voc(layout: Layout) -> Candidate | None:
    files = layout.xml_files
    tried = [file for file in files[:: max(1, len(files) // 20)] if not is_labelme_xml(layout, file)]
    named = (file for file in tried if re.search(r"<annotation[\s>]", layout.head(file)))
    return Candidate("voc", file) if (file := next(named, None)) is not None else None


def _xml_files(layout: Layout, is_file: Callable[[Layout, str], bool]) -> list[str]:
    files = layout.with_suffix(".xml")
    return [file for file in files[:: max(1, len(files) // 20)] if is_file(layout, file)]


_RECOGNIZERS: tuple[Callable[[Layout], Candidate | None], ...] = (
    _yolo,
    _voc,
    _of_json("labelme"),
    _masks,
    _via,
    _csv,
    _of_json("coco"),
    _of_json("lvis"),
    _panoptic,
    _cvat,
    *map(
        _of_json,
        (
            "createml",
            "labelstudio",
            "supervisely",
            "superannotate",
            "darwin",
            "bdd100k",
            "datumaro",
            "vott",
            "deepfashion2",
            "tt100k",
        ),
    ),
    _known_lines,
    _jsonl,
    _ndjson,
    _of_lines("crowdhuman", crowdhuman_files),
    _of_lines("sagemaker", sagemaker_files),
    _of_lines("vertex", vertex_files),
    _of_lines("labelbox", labelbox_files),
    _rle,
    _of_lines("keras_yolo", partial(keras_yolo_files, most=1000)),
    _of_lines("mot", mot_files),
    _of_lines("nwpu", nwpu_files),
    _of_lines("oidv4", oidv4_files),
    _of_lines("cub", cub_files),
    _of_lines("labelme_xml", partial(_xml_files, is_file=is_labelme_xml)),
    _parquet,
    _of_lines("ua_detrac", partial(_xml_files, is_file=is_ua_detrac)),
    _of_lines("imglab", partial(_xml_files, is_file=is_imglab)),
)
