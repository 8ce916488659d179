"""What stays of images that are judged as they come, on one rank and on several."""

import numpy as np
import pytest
from pycocotools import mask

from lightning_rcnn.evaluation.analysis.collecting import NUM_WORST, AnalysisCollector, analysis_of
from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision


def collect(images, start=0):
    collector = AnalysisCollector("bbox", 100)
    for image_id, (objects, results) in list(images.items())[start:]:
        collector.add(image_id, 1000, 1000, objects, results)
        collector.name(image_id, f"{image_id}.jpg")
    return collector


@pytest.fixture
def images(planted):
    return {image_id: planted.in_coco_form(image) for image_id, image in planted.planted().items()}


def test_ranks_find_what_one_process_finds(images, analysis):
    ids = list(images)
    shares = [ids[:7], ids[7:7], [*ids[7:], ids[0]]]  # one is empty, one image is on two ranks
    parts = [collect({image_id: images[image_id] for image_id in share}).state() for share in shares]
    analyzed, worst, names = analysis_of(parts, ["cat", "dog", "cow"], "bbox")
    assert analyzed == analysis
    assert names == {image_id: f"{image_id}.jpg" for image_id in ids}
    costs = {one.image_id: one.cost for one in analysis.images}
    assert [image.cost for image in worst] == pytest.approx(sorted(costs.values(), reverse=True)[:NUM_WORST])
    assert all(image.file_name == f"{image.image_id}.jpg" for image in worst)


def test_images_without_an_error_are_not_shown(planted):
    perfect = {1: planted.in_coco_form((1, [(1, planted.PLACE, 1.0)]))}
    analysis, worst, _ = analysis_of([collect(perfect).state()], ["cat"], "bbox")
    assert analysis.images == worst == []


def test_masks_are_judged_in_the_form_in_which_they_are_scored():
    """Two masks in one box, each half of it: boxes would call both right."""
    halves = np.zeros((2, 40, 40), dtype=np.uint8)
    halves[0, :, :20], halves[1, :, 20:] = 1, 1
    codes = [mask.encode(np.asfortranarray(half)) for half in halves]
    left, right = ({**code, "counts": code["counts"].decode()} for code in codes)
    metric, collector = CocoAveragePrecision(["cat"], "segm"), AnalysisCollector("segm", 100)
    metric.observers.append(collector)
    box = [0, 0, 40, 40]
    annotations = [{"category_id": 1, "bbox": box, "iscrowd": 0, "difficult": 0, "segmentation": left}]
    metric.add_image(5, 40, 40, annotations, [{"category_id": 1, "score": 0.9, "bbox": box, "segmentation": right}])
    analysis, (worst,), _ = analysis_of([collector.state()], ["cat"], "segm")
    assert (analysis.errors["background"].count, analysis.errors["missed"].count) == (1, 1)
    assert (worst.image_id, worst.height, worst.width) == (5, 40, 40)
    assert worst.results[0]["segmentation"] == right
