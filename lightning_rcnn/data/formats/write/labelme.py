"""Write LabelMe: a JSON file beside each image.

Boxes are rectangles and exact. An object with a mask is a polygon, several polygons of one group, or a bitmap; its box
becomes that of the mask. `score` and `difficult` are written as X-AnyLabeling does.

Source: https://github.com/wkentaro/labelme
"""

import base64
import json
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from PIL import Image

from lightning_rcnn.data.formats.write.base import FormatWriter, WrittenImage, WrittenObject
from lightning_rcnn.masks.crops import decode_masks


class LabelmeWriter(FormatWriter):
    """Writes images and JSON files side by side, in a folder a split, and `labels.txt` for `labelme --labels`."""

    keeps = frozenset({"boxes", "masks", "difficult", "scores", "orientation"})

    def write_named(self, name: str, image: WrittenImage, split: str) -> None:
        """Write the image and its JSON file."""
        self.path(split, name).write_bytes(image.data)
        shapes = [
            shape for number, each in enumerate(image.objects, start=1) for shape in self._shapes(each, number, image)
        ]
        content: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": name,
            "imageData": None,
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        text = json.dumps(content, indent=2, ensure_ascii=False)
        self.path(split, f"{PurePosixPath(name).stem}.json").write_text(text + "\n", encoding="utf-8")

    def finish(self) -> None:
        """Write the list of classes."""
        self.path("labels.txt").write_text("".join(f"{category.name}\n" for category in self.categories))

    def _shapes(self, each: WrittenObject, number: int, image: WrittenImage) -> list[dict[str, Any]]:
        common: dict[str, Any] = {"label": self.class_name(each.label), "group_id": None, "flags": {}}
        if each.difficult:
            common["difficult"] = True
        if each.score is not None:
            common["score"] = each.score
        if each.segmentation is None:
            x1, y1, x2, y2 = each.box
            return [{**common, "shape_type": "rectangle", "points": [[x1, y1], [x2, y2]]}]
        if isinstance(each.segmentation, list):
            if len(each.segmentation) > 1:
                common["group_id"] = number
            return [
                {**common, "shape_type": "polygon", "points": [list(point) for point in _pairs(polygon)]}
                for polygon in each.segmentation
            ]
        (crop,) = decode_masks([each.segmentation], image.height, image.width)
        height, width = crop.pixels.shape
        corners = [[crop.left, crop.top], [crop.left + width - 1, crop.top + height - 1]]
        data = BytesIO()
        Image.fromarray(crop.pixels).save(data, "PNG")
        encoded = base64.b64encode(data.getvalue()).decode()
        return [{**common, "shape_type": "mask", "points": corners, "mask": encoded}]


def _pairs(values: list[float]) -> list[tuple[float, float]]:
    return list(zip(values[0::2], values[1::2], strict=True))
