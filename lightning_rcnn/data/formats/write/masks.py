"""Write masks as image files, one an object, as in the Data Science Bowl 2018: pixels are exact, classes are not kept.

Source: https://www.kaggle.com/c/data-science-bowl-2018
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from lightning_rcnn.data.formats.splits import split_of_folder
from lightning_rcnn.data.formats.write.base import FormatWriter, WrittenImage
from lightning_rcnn.data.index import Category
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.crops import decode_masks
from lightning_rcnn.skeleton import Skeleton


class MasksWriter(FormatWriter):
    """Writes a folder an image, with `images/NAME` and `masks/NUMBER.png`, and `classes.txt` with the one class."""

    keeps = frozenset({"masks", "orientation"})

    def __init__(self, folder: Path, categories: Sequence[Category], skeleton: Skeleton | None = None) -> None:
        super().__init__(folder, categories, skeleton)
        if len(categories) > 1:
            raise InputError(
                f"--format masks: image files of masks have no place for classes, and the set has {len(categories)}; "
                "choose coco, yolo or labelme"
            )

    def write_named(self, name: str, image: WrittenImage, split: str) -> None:
        """Write the image and its masks."""
        stem = PurePosixPath(name).stem
        if split_of_folder(f"{stem}/-"):  # the folder would be taken for a split's
            stem = f"image_{image.image_id}"
        self.path(split, stem, "images", name).write_bytes(image.data)
        folder = self.path(split, stem, "masks")
        folder.mkdir()
        segmentations = [each.segmentation for each in image.objects if each.segmentation is not None]
        for number, crop in enumerate(decode_masks(segmentations, image.height, image.width), start=1):
            pixels = np.zeros((image.height, image.width), np.uint8)
            height, width = crop.pixels.shape
            pixels[crop.top : crop.top + height, crop.left : crop.left + width] = crop.pixels * np.uint8(255)
            Image.fromarray(pixels).save(folder / f"{number:04d}.png", compress_level=1)

    def finish(self) -> None:
        """Write the name of the class, for people: no reader of this layout looks for it."""
        self.path("classes.txt").write_text("".join(f"{category.name}\n" for category in self.categories))
