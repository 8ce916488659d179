"""Write CSV with a box a line, in the columns of TensorFlow's object detection API, and the list of classes.

An image without objects has a line without a box. Edges are exact to a ten thousandth of a pixel.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from lightning_rcnn.data.formats.write.base import FormatWriter, WrittenImage
from lightning_rcnn.data.index import Category
from lightning_rcnn.skeleton import Skeleton

COLUMNS = ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax", "iscrowd", "score")


class CsvWriter(FormatWriter):
    """Writes `annotations.csv` and `images/`, or `SPLIT.csv` and `SPLIT/` for each split, and `classes.csv`."""

    keeps = frozenset({"boxes", "crowds", "scores", "orientation"})

    def __init__(self, folder: Path, categories: Sequence[Category], skeleton: Skeleton | None = None) -> None:
        super().__init__(folder, categories, skeleton)
        self._splits: set[str] = set()

    def write_named(self, name: str, image: WrittenImage, split: str) -> None:
        """Write the image, and a row for each of its objects."""
        self.path(split or "images", name).write_bytes(image.data)
        start = [name, image.width, image.height]
        rows: list[list[object]] = [
            [
                *start,
                self.class_name(each.label),
                *(f"{edge:.4f}".rstrip("0").rstrip(".") for edge in each.box),
                each.iscrowd,
                "" if each.score is None else each.score,
            ]
            for each in image.objects
        ]
        with self.path(f"{split or 'annotations'}.csv").open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if split not in self._splits:
                self._splits.add(split)
                writer.writerow(COLUMNS)
            writer.writerows(rows or [[*start, *[""] * (len(COLUMNS) - len(start))]])

    def finish(self) -> None:
        """Write the classes with their numbers, as RetinaNet's tools read them."""
        with self.path("classes.csv").open("w", newline="", encoding="utf-8") as file:
            rows = ((category.name, number) for number, category in enumerate(self.categories))
            csv.writer(file, lineterminator="\n").writerows(rows)
