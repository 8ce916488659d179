import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from lightning_rcnn.evaluation.analysis.collecting import AnalysisCollector, analysis_of


@pytest.fixture(scope="session")
def planted():
    """The module `planted.py`."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("planted.py"))))


@pytest.fixture(scope="session")
def analyzed():
    """Analyzes images: by id, objects and results in COCO's form."""

    def analyze_images(images, class_names, result_type="bbox", max_detections=100):
        collector = AnalysisCollector(result_type, max_detections)
        for image_id, (objects, results) in images.items():
            collector.add(image_id, 1000, 1000, objects, results)
        return analysis_of([collector.state()], class_names, result_type)[0]

    return analyze_images


@pytest.fixture(scope="session")
def analysis(planted, analyzed):
    """Of the planted set."""
    images = {image_id: planted.in_coco_form(image) for image_id, image in planted.planted().items()}
    return analyzed(images, planted.CLASS_NAMES)
