"""The same errors, confusions and calibration as hotcoco computes of an evaluator that holds all images, and the AP50
that is scored. Crowds are left out of the comparison: hotcoco takes a detection at the rim of one for misplaced."""

import numpy as np
import pytest
from hotcoco import COCO, COCOeval

from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision

NAMES = {
    "class": "Cls",
    "location": "Loc",
    "both": "Both",
    "duplicate": "Dupe",
    "background": "Bkg",
    "missed": "Miss",
}
CLASSES = ["cat", "dog", "cow"]


def random_images(seed):
    draw = np.random.default_rng(seed)
    images = {}
    for number in range(20):
        objects, results = [], []
        for _ in range(draw.integers(0, 5)):
            box = np.array([*draw.integers(0, 200, 2), *draw.integers(20, 100, 2)], dtype=float)
            label = int(draw.integers(1, 4))
            objects.append({"category_id": label, "bbox": box.tolist(), "area": float(box[2] * box[3])})
            for _ in range(draw.integers(0, 4)):
                near = box + draw.normal(0, draw.choice([3, 15, 40]), 4)
                near[2:] = np.maximum(near[2:], 3)
                as_label = label if draw.random() < 0.7 else int(draw.integers(1, 4))
                score = round(float(draw.random()), 2)  # with ties
                results.append({"category_id": as_label, "bbox": near.tolist(), "score": score})
        images[3 * number + 1] = (objects, results)
    return images


def by_hotcoco(images):
    objects = [{**one, "image_id": i} for i, (entries, _) in images.items() for one in entries]
    results = [{**one, "image_id": i} for i, (_, entries) in images.items() for one in entries]
    truth = COCO(
        {
            "images": [{"id": image_id, "width": 500, "height": 500} for image_id in images],
            "annotations": [{**one, "id": number, "iscrowd": 0} for number, one in enumerate(objects, start=1)],
            "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)],
        }
    )
    evaluator = COCOeval(truth, truth.load_res(results), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    return evaluator


@pytest.mark.parametrize("seed", range(20))
def test_random_boxes(seed, analyzed):
    images = random_images(seed)
    analysis, evaluator = analyzed(images, CLASSES), by_hotcoco(images)

    errors = evaluator.tide_errors()
    for name, short in NAMES.items():
        assert analysis.errors[name].count == errors["counts"][short], name
        assert analysis.errors[name].ap50 == pytest.approx(errors["delta_ap"][short], abs=1e-9), name
    assert analysis.ap50 == pytest.approx(errors["ap_base"], abs=1e-9)

    expected = evaluator.confusion_matrix(min_score=analysis.best.score)["matrix"]
    rows = {**{name: number for number, name in enumerate(CLASSES)}, None: len(CLASSES)}
    matrix = np.zeros_like(expected)
    for one in analysis.confusions:
        matrix[rows[one.actual], rows[one.predicted]] = one.count
    assert matrix.tolist() == expected.tolist()

    assert analysis.calibration_error == pytest.approx(evaluator.calibration()["ece"], abs=1e-9)

    metric = CocoAveragePrecision(CLASSES)
    for image_id, (objects, results) in images.items():
        metric.add_image(image_id, 500, 500, objects, results)
    assert analysis.ap50 == pytest.approx(metric.compute()["AP50"], abs=1e-9)
