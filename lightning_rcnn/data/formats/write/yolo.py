"""Write YOLO: a text file an image, `class x y width height` or `class x y x y ...` an object, and data.yaml.

Coordinates are shares of the image's size with nine digits, so boxes are exact to a thousandth of a pixel. An object
with a mask is one polygon: polygons as they are, bitmaps along the borders of their pixels, with lines there and back
that connect parts and holes. Objects of a set with keypoints have them behind their boxes (see `yolo_pose.py`), where
masks have no place.

Source: https://docs.ultralytics.com/datasets/
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from lightning_rcnn.data.formats.write.base import FormatWriter, WrittenImage, WrittenObject
from lightning_rcnn.data.formats.yolo_pose import pose_keys, pose_values
from lightning_rcnn.data.index import Category
from lightning_rcnn.masks.crops import polygon_points
from lightning_rcnn.masks.outlines import as_polygon, join_rings
from lightning_rcnn.masks.run_length import decode_crop, encode_polygons
from lightning_rcnn.masks.segmentation import Segmentation, as_run_length
from lightning_rcnn.skeleton import Skeleton


class YoloWriter(FormatWriter):
    """Writes `images/SPLIT/`, `labels/SPLIT/` with `classes.txt` for LabelImg, and `data.yaml`."""

    def __init__(self, folder: Path, categories: Sequence[Category], skeleton: Skeleton | None = None) -> None:
        super().__init__(folder, categories, skeleton)
        self.keeps = frozenset({"boxes", "masks"} if skeleton is None else {"boxes", "keypoints"})
        self._splits: list[str] = []

    def write_named(self, name: str, image: WrittenImage, split: str) -> None:
        """Write the image and its label file."""
        self.path("images", split, name).write_bytes(image.data)
        lines = [_line(each, image.width, image.height, self.skeleton) for each in image.objects]
        self.path("labels", split, f"{PurePosixPath(name).stem}.txt").write_text("".join(f"{line}\n" for line in lines))
        if split not in self._splits:
            self._splits.append(split)

    def finish(self) -> None:
        """Write the names of the classes, and the splits."""
        names = [category.name for category in self.categories]
        for split in self._splits:
            self.path("labels", split, "classes.txt").write_text("".join(f"{name}\n" for name in names))
        content: dict[str, Any] = {split: f"images/{split}" for split in self._splits if split}
        content["names"] = dict(enumerate(names))
        if self.skeleton is not None:
            content |= pose_keys(self.skeleton, len(names))
        self.path("data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _line(each: WrittenObject, width: int, height: int, skeleton: Skeleton | None) -> str:
    x1, y1, x2, y2 = each.box
    shares = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    if each.segmentation is not None and skeleton is None:
        polygon = _polygon(each.segmentation, width, height)
        shares = [
            _share(value, side) for value, side in zip(polygon, [width, height] * (len(polygon) // 2), strict=True)
        ]
    points = [] if skeleton is None else pose_values(each.keypoints, skeleton, width, height)
    return " ".join([str(each.label - 1), *(f"{share:.9f}" for share in shares), *points])


def _share(value: float, side: int) -> float:
    """Return a coordinate as a share with nine digits that gives the same pixels: the COCO API rounds to fifths."""
    share = round(value / side, 9)
    fifth = int(5 * value + 0.5)
    near = (round(share + step, 9) for step in (0, 1e-9, -1e-9))
    return next((each for each in near if int(5 * (each * side) + 0.5) == fifth), share)


def _polygon(segmentation: Segmentation, width: int, height: int) -> list[float]:
    """Return a mask as one polygon, of five points or more: four are read as an oriented box."""
    polygon = join_rings(polygon_points(segmentation)) if isinstance(segmentation, list) else []
    rle = as_run_length(segmentation, height, width)
    if not polygon or encode_polygons([polygon], height, width) != rle:  # polygons that overlap would erase each other
        polygon = as_polygon(*decode_crop(rle))
    if len(polygon) == 8:
        polygon += [(polygon[0] + polygon[6]) / 2, (polygon[1] + polygon[7]) / 2]
    return polygon
