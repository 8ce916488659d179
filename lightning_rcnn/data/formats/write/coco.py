"""Write COCO: a JSON file a split, and folders of images. Boxes, masks, keypoints and flags are kept exactly.

A federated set has LVIS's lists of classes beside each image, and `frequency` beside each category. Detections have
their `score` beside the annotation's other keys, where tools that do not know it leave it.

Source: https://cocodataset.org/#format-data and https://www.lvisdataset.org/dataset
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_rcnn.data.formats.coco.annotations import LABEL_LIST_KEYS
from lightning_rcnn.data.formats.coco.keypoints import annotated_keypoints, category_keypoints
from lightning_rcnn.data.formats.write.base import FormatWriter, WrittenImage, WrittenObject
from lightning_rcnn.data.index import Category
from lightning_rcnn.masks.segmentation import area_of
from lightning_rcnn.skeleton import Skeleton


class CocoWriter(FormatWriter):
    """Writes `annotations.json` and `images/`, or `annotations/instances_SPLIT.json` and `SPLIT/` for each split."""

    keeps = frozenset({"boxes", "masks", "crowds", "difficult", "scores", "orientation", "label_lists", "keypoints"})

    def __init__(self, folder: Path, categories: Sequence[Category], skeleton: Skeleton | None = None) -> None:
        super().__init__(folder, categories, skeleton)
        self._lists: dict[str, _Lists] = {}

    def write_named(self, name: str, image: WrittenImage, split: str) -> None:
        """Write the image, and append it to the lists of its split."""
        self.path(split or "images", name).write_bytes(image.data)
        if split not in self._lists:
            self._lists[split] = _Lists(self.path(f".{split}.images"), self.path(f".{split}.annotations"))
        lists = self._lists[split]
        entry: dict[str, Any] = {
            "id": image.image_id,
            "file_name": name,
            "width": image.width,
            "height": image.height,
        }
        lists_of_labels = (image.negative_labels, image.not_exhaustive_labels)
        for key, labels in zip(LABEL_LIST_KEYS, lists_of_labels, strict=True):
            if labels is not None:
                entry[key] = [self.categories[label - 1].id for label in labels]
        lists.add_image(entry)
        for each in image.objects:
            lists.num_objects += 1
            lists.add_annotation({"id": lists.num_objects, "image_id": image.image_id, **self._annotation(each, image)})

    def finish(self) -> None:
        """Join the lists of each split in one JSON file."""
        shared = {} if self.skeleton is None else category_keypoints(self.skeleton)
        categories = [{**_category(category), **shared} for category in self.categories]
        for split, lists in self._lists.items():
            parts = ("annotations", f"instances_{split}.json") if split else ("annotations.json",)
            lists.join(self.path(*parts), categories)

    def _annotation(self, each: WrittenObject, image: WrittenImage) -> dict[str, Any]:
        x1, y1, x2, y2 = each.box
        box_area = (x2 - x1) * (y2 - y1)
        annotation: dict[str, Any] = {
            "category_id": self.categories[each.label - 1].id,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": area_of(each.area, each.segmentation, image.height, image.width, box_area),
            "iscrowd": each.iscrowd,
        }
        if each.segmentation is not None:
            annotation["segmentation"] = each.segmentation
        if each.keypoints:
            annotation |= annotated_keypoints(each.keypoints)
            if each.num_keypoints is not None:
                annotation["num_keypoints"] = each.num_keypoints
        if each.difficult:
            annotation["difficult"] = 1
        if each.score is not None:
            annotation["score"] = each.score
        return annotation


def _category(category: Category) -> dict[str, Any]:
    entry = {"id": category.id, "name": category.name}
    return {**entry, "frequency": category.frequency} if category.frequency else entry


class _Lists:
    """The images and the annotations of a split as text in two files, so that memory does not grow with the set."""

    def __init__(self, images: Path, annotations: Path) -> None:
        self._paths = images, annotations
        self.num_objects = 0
        for path in self._paths:
            path.write_text("")

    def add_image(self, entry: dict[str, Any]) -> None:
        self._add(self._paths[0], entry)

    def add_annotation(self, entry: dict[str, Any]) -> None:
        self._add(self._paths[1], entry)

    def join(self, path: Path, categories: list[dict[str, Any]]) -> None:
        with path.open("w") as file:
            file.write('{"images": [')
            for key, part in zip(("annotations", "categories"), self._paths, strict=True):
                with part.open() as lines:
                    for number, line in enumerate(lines):
                        file.write((",\n" if number else "\n") + line.rstrip("\n"))
                part.unlink()
                file.write(f'\n],\n"{key}": ' + ("[" if key == "annotations" else ""))
            file.write(json.dumps(categories) + "}\n")

    @staticmethod
    def _add(path: Path, entry: dict[str, Any]) -> None:
        with path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
