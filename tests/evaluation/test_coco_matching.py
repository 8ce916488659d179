import random

import numpy as np
import pytest
from pycocotools import mask
from pycocotools.cocoeval import COCOeval

from lightning_rcnn.evaluation.coco_matching import Evaluation, match


class Slow(Evaluation):
    """With the matching of pycocotools itself."""

    evaluateImg = COCOeval.evaluateImg  # noqa: N815


def boxes_on_a_grid(draw, num):
    """Few places and sizes, so that many overlaps are equal."""
    return [
        [draw.choice([0, 10]), draw.choice([0, 10]), draw.choice([20, 30, 50, 120]), draw.choice([20, 90])]
        for _ in range(num)
    ]


def filled(box):
    x, y, width, height = box
    [rle] = mask.frPyObjects([[x, y, x + width, y, x + width, y + height, x, y + height]], 120, 200)
    return {"size": [120, 200], "counts": rle["counts"].decode()}


def random_images(seed, result_type):
    draw = random.Random(seed)
    images = {}
    for image_id in range(12):
        objects = [
            {
                "category_id": draw.randint(1, 2),
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": int(draw.random() < 0.15),
                "difficult": int(draw.random() < 0.15),
            }
            for box in boxes_on_a_grid(draw, draw.choice([0, 1, 8]))
        ]
        found = [
            {"category_id": draw.randint(1, 2), "bbox": box, "score": draw.choice([0.2, 0.5, draw.random()])}
            for box in boxes_on_a_grid(draw, draw.choice([0, 2, 20]))
        ]
        if result_type == "segm":
            for entry in objects + found:
                entry["segmentation"] = filled(entry.pop("bbox"))
        images[image_id] = {"height": 120, "width": 200, "annotations": objects, "results": found}
    return images


@pytest.mark.parametrize("result_type", ["bbox", "segm"])
@pytest.mark.parametrize("max_detections", [7, 100])
@pytest.mark.parametrize("seed", range(4))
def test_the_same_to_the_last_bit_as_the_api(result_type, max_detections, seed):
    images = random_images(seed, result_type)
    ours, theirs = (kind(images, 2, result_type, max_detections) for kind in (Evaluation, Slow))
    assert (ours.precision() > 0).any(axis=(0, 1, 2, 4)).all(), "there is no area where nothing was found"
    assert np.array_equal(ours.precision(), theirs.precision())
    assert np.array_equal(ours.recall(), theirs.recall())


def test_each_object_is_given_once_but_a_crowd_to_all():
    ious = np.array([[0.9, 0.0], [0.8, 0.0], [0.0, 1.0], [0.0, 0.6]])
    matches = match(ious, [0.5, 0.7], np.array([False, True]), [False, True])
    assert matches.tolist() == [[0, -1, 1, 1], [0, -1, 1, -1]]


def test_an_ignored_object_is_the_last_choice():
    matches = match(np.array([[0.6, 0.9]]), [0.5, 0.75], np.array([False, True]), [False, False])
    assert matches.tolist() == [[0], [1]]
