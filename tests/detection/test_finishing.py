"""Drawn images in the formats that hold them."""

import numpy as np
from PIL import Image

from lightning_rcnn.detection.finishing import Classes, Work, finish


def test_an_image_longer_than_a_jpeg_may_be_is_drawn_as_png(tmp_path):
    nothing = (np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), None, None)
    for width, name in ((65_500, "wide.tiff.jpg"), (65_501, "wide.tiff.jpg.png")):
        work = Work(
            {"image": "wide.tiff", "drawn": "wide.tiff.jpg"},
            1,
            width,
            nothing,
            True,
            np.zeros((3, 1, width), np.uint8),
            tmp_path / "wide.tiff.jpg",
        )
        entry, _ = finish(work, Classes(["cat"], [1], "exact"))
        assert (entry["objects"], entry["drawn"]) == ([], name)
        assert Image.open(tmp_path / name).size == (width, 1)
