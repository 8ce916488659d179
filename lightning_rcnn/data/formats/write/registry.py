"""The formats that can be written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lightning_rcnn.data.formats.write.base import FormatWriter
from lightning_rcnn.data.formats.write.coco import CocoWriter
from lightning_rcnn.data.formats.write.csv_table import CsvWriter
from lightning_rcnn.data.formats.write.labelme import LabelmeWriter
from lightning_rcnn.data.formats.write.masks import MasksWriter
from lightning_rcnn.data.formats.write.voc import VocWriter
from lightning_rcnn.data.formats.write.yolo import YoloWriter
from lightning_rcnn.data.index import Category
from lightning_rcnn.skeleton import Skeleton

FormatName = Literal["coco", "yolo", "voc", "labelme", "csv", "masks"]
_WRITERS: dict[FormatName, type[FormatWriter]] = {
    "coco": CocoWriter,
    "yolo": YoloWriter,
    "voc": VocWriter,
    "labelme": LabelmeWriter,
    "csv": CsvWriter,
    "masks": MasksWriter,
}


def open_writer(
    name: FormatName, folder: Path, categories: Sequence[Category], skeleton: Skeleton | None = None
) -> FormatWriter:
    """Return the writer of a format; see `FormatWriter`.

    Raises:
        InputError: the format cannot hold the data set.
    """
    return _WRITERS[name](folder, categories, skeleton)
