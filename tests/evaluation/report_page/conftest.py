import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pycocotools import mask

from lightning_rcnn.evaluation.analysis.collecting import AnalysisCollector, analysis_of
from lightning_rcnn.evaluation.report_page.page import report_page
from lightning_rcnn.pages.pictures import as_jpeg

BROWSER = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("browser.py"))))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A page of a headless Chromium."""
    if BROWSER.EXECUTABLE is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with BROWSER.Browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def analyzed(images, class_names, result_type, file_name):
    collector = AnalysisCollector(result_type, 100)
    for image_id, (objects, results) in images.items():
        collector.add(image_id, 100, 200, objects, results)
        collector.name(image_id, file_name.format(image_id))
    for image in collector.worst.values():
        image.jpeg = as_jpeg(np.full((100, 200, 3), 128, dtype=np.uint8))
    return analysis_of([collector.state()], class_names, result_type)


@pytest.fixture(scope="session")
def page_of():
    """The report of images: by id, objects and results in COCO's form; each image is 200 x 100."""

    def build(images, class_names, result_type="bbox", file_name="{}.jpg", metrics=None, title="A run"):
        analyses = {result_type: analyzed(images, class_names, result_type, file_name)}
        return report_page(analyses, metrics or {}, class_names, title)

    return build


@pytest.fixture(scope="session")
def page_of_both():
    """The report of images whose objects and results have both a box and a mask."""

    def without(images, key):
        return {
            image_id: tuple([{name: one[name] for name in one if name != key} for one in entries] for entries in image)
            for image_id, image in images.items()
        }

    def build(images, class_names):
        masks = analyzed(without(images, "bbox"), class_names, "segm", "{}.jpg")
        boxes = analyzed(without(images, "segmentation"), class_names, "bbox", "{}.jpg")
        return report_page({"segm": masks, "bbox": boxes}, {}, class_names, "A run")

    return build


@pytest.fixture(scope="session")
def rectangle():
    """The RLE of a box (x, y, width, height) in an image of 200 x 100."""

    def encode(x, y, width, height):
        pixels = np.zeros((100, 200), dtype=np.uint8, order="F")
        pixels[y : y + height, x : x + width] = 1
        code = mask.encode(pixels)
        return {"size": [100, 200], "counts": code["counts"].decode()}

    return encode


@pytest.fixture(scope="session")
def large_page(page_of, rectangle):
    """The report of 700 images with masks of 1203 classes with long names."""
    draw = np.random.default_rng(0)
    names = [f"{number:04} {'name ' * 39}" for number in range(1203)]
    whole, part = rectangle(5, 5, 90, 60), rectangle(5, 5, 9, 9)
    images = {}
    for image_id in range(700):
        labels = draw.integers(1, 1204, 8).tolist()
        objects = [{"category_id": label, "area": 99.0, "segmentation": whole} for label in labels]
        results = [{"category_id": label, "score": 0.5, "segmentation": part} for label in labels]
        images[image_id] = (objects, results)
    return page_of(images, names, "segm")
