"""Figures worked out by hand: COCO's AP is the mean of the best precision at or beyond 101 recalls 0, .01, ..., 1."""

import json
import math
from pathlib import Path

import pytest
import torch

from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision
from lightning_rcnn.structures import NO_IMAGE, Detections

DATA = Path(__file__).parents[3] / "shared" / "data" / "coco_eval"
NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
PUBLISHED = {
    "bbox": [
        0.504581, 0.696973, 0.572982, 0.585626, 0.519400, 0.501398,
        0.386813, 0.593680, 0.595353, 0.639811, 0.566421, 0.564291,
    ],
    "segm": [
        0.319545, 0.562288, 0.298927, 0.387374, 0.310183, 0.326934,
        0.268230, 0.415449, 0.416839, 0.469450, 0.376759, 0.381472,
    ],
}  # fmt: skip

A, B, FAR = (10, 10, 50, 50), (100, 100, 160, 160), (150, 0, 190, 40)


@pytest.fixture
def score(make_record, make_detections):
    """Figures of images given as (objects, detections), with classes "cat" and "dog"."""

    def score(*images, max_detections=100, **keys):
        metric = CocoAveragePrecision(["cat", "dog"], max_detections=max_detections)
        records = [make_record(number, *objects, **keys) for number, (objects, _) in enumerate(images)]
        metric.update(make_detections(*(found for _, found in images)), records)
        return metric.compute()

    return score


@pytest.mark.realdata
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data in {DATA}")
@pytest.mark.parametrize("result_type", ["bbox", "segm"])
def test_published_figures(result_type):
    truth = json.loads((DATA / "instances_val2014_100.json").read_text())
    results = json.loads((DATA / f"instances_val2014_fake{result_type}100_results.json").read_text())
    labels = {category["id"]: label for label, category in enumerate(truth["categories"], start=1)}
    metric = CocoAveragePrecision([category["name"] for category in truth["categories"]], result_type)
    for image in truth["images"]:
        annotations, found = (
            [{**e, "category_id": labels[e["category_id"]]} for e in entries if e["image_id"] == image["id"]]
            for entries in (truth["annotations"], results)
        )
        metric.add_image(image["id"], image["height"], image["width"], annotations, found)
    figures = metric.compute()
    assert list(figures) == [*NAMES, "per_class", "max_detections", "rules"]
    assert [figures[name] for name in NAMES] == pytest.approx(PUBLISHED[result_type], abs=1e-6, rel=0)
    with_truth = [value for value in figures["per_class"].values() if not math.isnan(value)]
    assert sum(with_truth) / len(with_truth) == pytest.approx(figures["AP"])


def test_a_perfect_detection(score):
    figures = score(([(*A, 1)], [(*A, 1, 0.9)]))
    assert [figures[name] for name in ("AP", "AP50", "AR1", "AR100")] == pytest.approx([1, 1, 1, 1])


def test_a_false_positive_counts_by_its_rank(score):
    """Two objects. Ranked true, false, true: precision is 1 up to recall .5 (51 points), then 2/3 (50 points)."""
    image = ([(*A, 1), (*B, 1)], [(*A, 1, 0.9), (*FAR, 1, 0.8), (*B, 1, 0.7)])
    assert score(image)["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    last = ([(*A, 1), (*B, 1)], [(*A, 1, 0.9), (*B, 1, 0.8), (*FAR, 1, 0.7)])
    assert score(last)["AP"] == pytest.approx(1)


def test_a_missed_object(score):
    """One of two found: recall stops at .5, so 51 of 101 points have precision 1."""
    figures = score(([(*A, 1), (*B, 1)], [(*A, 1, 0.9)]))
    assert figures["AP"] == pytest.approx(51 / 101)
    assert figures["AR100"] == pytest.approx(0.5)


def test_thresholds_of_iou(score):
    """A box of 3/4 the width has IoU .75: found at .5, .55, ..., .75, which are six of ten thresholds."""
    figures = score(([(10, 10, 50, 50, 1)], [(10, 10, 40, 50, 1, 0.9)]))
    assert figures["AP"] == pytest.approx(0.6)
    assert (figures["AP50"], figures["AP75"]) == (pytest.approx(1), pytest.approx(1))


def test_the_second_detection_of_an_object_is_false(score):
    """Ranked true, false, true over two objects, as above."""
    image = ([(*A, 1), (*B, 1)], [(*A, 1, 0.9), (*A, 1, 0.8), (*B, 1, 0.7)])
    assert score(image)["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_areas_are_those_of_the_objects(score):
    """40 x 40 is medium, 100 x 100 large, nothing is small."""
    figures = score(([(*A, 1), (60, 60, 160, 160, 1)], [(*A, 1, 0.9)]))
    assert math.isnan(figures["APs"])
    assert math.isnan(figures["ARs"])
    assert [figures[name] for name in ("APm", "ARm", "APl", "ARl")] == pytest.approx([1, 1, 0, 0])


def test_classes_without_objects_have_no_figure_and_do_not_count(score):
    figures = score(([(*A, 1)], [(*A, 1, 0.9), (*B, 2, 0.9)]))
    assert figures["per_class"]["cat"] == pytest.approx(1)
    assert math.isnan(figures["per_class"]["dog"])
    assert figures["AP"] == pytest.approx(1)


def test_classes_are_averaged(score):
    figures = score(([(*A, 1), (*B, 2)], [(*A, 1, 0.9)]))
    assert figures["per_class"] == {"cat": pytest.approx(1), "dog": 0}
    assert figures["AP"] == pytest.approx(0.5)


def test_no_detection_is_zero_and_no_ground_truth_is_no_number(score):
    assert score(([(*A, 1)], []))["AP"] == 0
    for nothing in (score(([], [(*A, 1, 0.9)])), score(([], [])), CocoAveragePrecision(["cat"]).compute()):
        figures = [nothing[name] for name in NAMES]
        assert all(map(math.isnan, [*figures, *nothing["per_class"].values()]))


def test_detections_in_an_image_without_objects_are_false(score):
    """The false one ranks first: precision 1/2 everywhere."""
    assert score(([(*A, 1)], [(*A, 1, 0.8)]), ([], [(*A, 1, 0.9)]))["AP"] == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["difficult", "iscrowd"])
def test_difficult_objects_and_crowds_are_neither_missed_nor_false(make_record, make_detections, kind):
    metric = CocoAveragePrecision(["cat"])
    plain, ignored = make_record(1, (*A, 1)), make_record(1, (*B, 1), **{kind: 1})
    plain.annotations.extend(ignored.annotations)
    metric.update(make_detections([(*B, 1, 0.9), (*A, 1, 0.8)]), [plain])
    assert metric.compute()["AP"] == pytest.approx(1)


@pytest.mark.parametrize(("kind", "expected"), [("difficult", 1 / 4), ("iscrowd", 1.0)])
def test_only_a_crowd_takes_detections_of_its_parts(make_record, make_detections, kind, expected):
    """Three parts of the ignored box rank first. A crowd takes them all; with a difficult object they are false."""
    metric = CocoAveragePrecision(["cat"])
    record = make_record(1, (*A, 1))
    record.annotations.extend(make_record(1, (100, 100, 180, 180, 1), **{kind: 1}).annotations)
    parts = [(x, 100, x + 10, 110, 1, 0.95) for x in (100, 120, 140)]
    metric.update(make_detections([*parts, (*A, 1, 0.8)]), [record])
    assert metric.compute()["AP"] == pytest.approx(expected)


def test_more_than_a_hundred_detections(make_record):
    """300 cells in an image: with COCO's limit only 100 can be found."""
    cells = [(10 * (n % 20), 10 * (n // 20), 10 * (n % 20) + 8, 10 * (n // 20) + 8) for n in range(300)]
    record = make_record(1, *((*cell, 1) for cell in cells))
    boxes = torch.tensor(cells, dtype=torch.float32)[None]
    found = Detections(boxes, torch.linspace(1, 0.5, 300)[None], torch.ones(1, 300, dtype=torch.int64))
    figures = {}
    for limit in (100, 300):
        metric = CocoAveragePrecision(["cell"], max_detections=limit)
        metric.update(found, [record])
        figures[limit] = metric.compute()
    assert figures[100]["AR100"] == pytest.approx(1 / 3)
    assert figures[100]["AP"] == pytest.approx(34 / 101), "recall reaches .33"
    assert figures[300]["AR300"] == figures[300]["AP"] == figures[300]["APs"] == pytest.approx(1)
    assert figures[100]["AR10"] == figures[300]["AR10"] == pytest.approx(10 / 300)


@pytest.mark.parametrize(
    ("limit", "recalls"),
    [
        (1, {"AR1": 1 / 12}),
        (5, {"AR1": 1 / 12, "AR5": 5 / 12}),
        (10, {"AR1": 1 / 12, "AR10": 10 / 12}),
        (11, {"AR1": 1 / 12, "AR10": 10 / 12, "AR11": 11 / 12}),
    ],
)
def test_each_recall_is_named_after_the_detections_that_count(make_record, make_detections, limit, recalls):
    boxes = [(20 * n, 0, 20 * n + 9, 9, 1) for n in range(12)]
    metric = CocoAveragePrecision(["cat"], max_detections=limit)
    metric.update(make_detections([(*box, 0.9) for box in boxes]), [make_record(1, *boxes)])
    figures = metric.compute()
    names = [name for name in figures if name.startswith("AR") and name[2:].isdigit()]
    assert {name: figures[name] for name in names} == pytest.approx(recalls)


def test_an_image_counts_once_and_empty_slots_do_not(make_record, make_detections):
    metric = CocoAveragePrecision(["cat"])
    records = [make_record(7, (*A, 1)), make_record(NO_IMAGE, (*B, 1)), make_record(7, (*A, 1))]
    found = make_detections([(*A, 1, 0.9)], [(*FAR, 1, 0.95)], [(*A, 1, 0.9)])
    metric.update(found, records)
    metric.update(found, records)
    assert metric.compute()["AP"] == pytest.approx(1)


def test_reset_and_new_images_after_compute(make_record, make_detections):
    metric = CocoAveragePrecision(["cat"])
    metric.update(make_detections([]), [make_record(1, (*A, 1))])
    assert metric.compute()["AP"] == 0
    metric.add_image(1, 200, 200, [{"category_id": 1, "bbox": [0, 0, 9, 9]}], [])
    metric.add_image(2, 200, 200, [], [])
    assert metric.compute()["AP"] == 0
    metric.reset()
    metric.update(make_detections([(*A, 1, 0.9)]), [make_record(1, (*A, 1))])
    assert metric.compute()["AP"] == pytest.approx(1)
