"""LVIS's figures beside a loop over images, classes, areas and thresholds that is written from LVIS's rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from lightning_rcnn.evaluation.analysis.collecting import AnalysisCollector, analysis_of
from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision
from lightning_rcnn.evaluation.federated import Federation
from lightning_rcnn.evaluation.scoring import Scoring, curves_of
from lightning_rcnn.evaluation.voc_ap import VOCAveragePrecision
from lightning_rcnn.structures import LabelLists

HEIGHT, WIDTH = 120, 160
CLASSES = ["ant", "bee", "cat", "dog"]
FREQUENCIES = ("r", "f", "r", "")
IOUS, RECALLS = np.linspace(0.5, 0.95, 10), np.linspace(0, 1, 101)
AREAS = {"": (0, 1e10), "s": (0, 32**2), "m": (32**2, 96**2), "l": (96**2, 1e10)}
BOX = [10, 10, 40, 40]
ELSEWHERE = [100, 60, 40, 40]


def entry(label, box=BOX, **more):
    return {"category_id": label, "bbox": box, **more}


def with_mask(each):
    x, y, width, height = map(int, each["bbox"])
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    pixels[y : y + height, x : x + width] = 1
    rle = coco_mask.encode(pixels)
    kept = {key: value for key, value in each.items() if key != "bbox" or "score" not in each}
    return {**kept, "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}}


boxes = st.builds(
    lambda x, y, width, height: [x, y, width, height],
    st.sampled_from([0, 10, 35]),
    st.sampled_from([0, 10]),
    st.sampled_from([20, 30, 97]),
    st.sampled_from([20, 50, 100]),
)
labels = st.integers(1, len(CLASSES))
flags = st.sampled_from([0, 0, 0, 1])
objects = st.builds(
    lambda label, box, area, crowd, difficult: entry(label, box, area=area, iscrowd=crowd, difficult=difficult),
    st.integers(1, 3),
    boxes,
    st.sampled_from([500, 1024, 3000, 9216, 20000]),
    flags,
    flags,
)
results = st.builds(
    lambda label, box, score: entry(label, box, score=score), labels, boxes, st.sampled_from([0.1, 0.5, 0.7, 0.9])
)
lists_of_labels = st.builds(
    lambda negative, not_exhaustive: LabelLists(tuple(sorted(negative)), tuple(sorted(not_exhaustive))),
    st.sets(labels),
    st.sets(labels),
)
images = st.dictionaries(
    st.sampled_from([0, 3, 7, 2**40]),
    st.tuples(st.lists(objects, max_size=5), st.lists(results, max_size=12), lists_of_labels),
    min_size=1,
)


def matched(image, label, area, threshold, limit):
    """Return rows (score, is true) of an image that count, and the number of objects to be found."""
    annotations, found, lists = image
    best = sorted(found, key=lambda each: -each["score"])[:limit]
    known = {each["category_id"] for each in annotations} | set(lists.negative)
    found = [each for each in best if each["category_id"] == label and label in known]
    annotations = [each for each in annotations if each["category_id"] == label]
    outside = lambda size: not area[0] <= size <= area[1]  # noqa: E731
    is_ignored = [bool(each["iscrowd"] or each["difficult"] or outside(each["area"])) for each in annotations]
    scored_first = sorted(range(len(annotations)), key=lambda number: is_ignored[number])
    key = "segmentation" if any("segmentation" in each for each in found) else "bbox"
    iou = coco_mask.iou([x[key] for x in found], [x[key] for x in annotations], [x["iscrowd"] for x in annotations])
    taken, rows = set(), []
    for number, each in enumerate(found):
        match, overlap = None, min(threshold, 1 - 1e-10)
        for candidate in scored_first:
            if candidate in taken and not annotations[candidate]["iscrowd"]:
                continue
            if match is not None and not is_ignored[match] and is_ignored[candidate]:
                break
            if iou[number][candidate] >= overlap:
                match, overlap = candidate, iou[number][candidate]
        size = coco_mask.area(each[key]) if key == "segmentation" else each["bbox"][2] * each["bbox"][3]
        taken.add(match)
        if not (is_ignored[match] if match is not None else outside(size) or label in lists.not_exhaustive):
            rows.append((each["score"], match is not None))
    return rows, is_ignored.count(False)


def precision_and_recall(of_images, label, area, threshold, limit):
    """Return precision at 101 recalls and the recall reached; None without objects."""
    parts = [matched(of_images[number], label, area, threshold, limit) for number in sorted(of_images)]
    num_objects = sum(number for _, number in parts)
    if not num_objects:
        return None
    rows = sorted((row for rows, _ in parts for row in rows), key=lambda row: -row[0])
    true = np.cumsum([is_true for _, is_true in rows])
    precision = true / np.arange(1, len(rows) + 1)
    reached = [precision[true / num_objects >= recall] for recall in RECALLS]
    return [part.max() if len(part) else 0.0 for part in reached], true[-1] / num_objects if rows else 0.0


def by_the_rules(of_images, limit):
    def average(area, chosen, column, ious=IOUS):
        both = [precision_and_recall(of_images, k, area, iou, limit) for k in chosen for iou in ious]
        return np.mean([each[column] for each in both if each is not None] or [np.nan])

    every = range(1, len(CLASSES) + 1)
    figures = {f"AP{suffix}": average(area, every, 0) for suffix, area in AREAS.items()}
    figures |= {f"AR{suffix or limit}": average(area, every, 1) for suffix, area in AREAS.items()}
    for group in "rcf":
        chosen = [label for label, frequency in enumerate(FREQUENCIES, 1) if frequency == group]
        figures[f"AP{group}"] = average(AREAS[""], chosen, 0)
    return figures | {"AP50": average(AREAS[""], every, 0, [0.5]), "AP75": average(AREAS[""], every, 0, [0.75])}


def metric_of(of_images, limit=300, result_type="bbox", frequencies=FREQUENCIES, observers=()):
    metric = CocoAveragePrecision(CLASSES, result_type, limit, federation=Federation(frequencies))
    metric.observers += observers
    for image_id, (annotations, found, lists) in of_images.items():
        metric.add_image(image_id, HEIGHT, WIDTH, annotations, found, lists)
    return metric


def figures_of(*of_images, **options):
    """Return the figures of images (objects, results, absent labels, labels that are not exhaustive)."""
    described = {
        number: (annotations, found, LabelLists(*lists))
        for number, (annotations, found, *lists) in enumerate(of_images)
    }
    return metric_of(described, **options).compute()


@settings(max_examples=25)
@pytest.mark.parametrize("result_type", ["bbox", "segm"])
@given(of_images=images, limit=st.sampled_from([2, 5, 300]))
def test_the_figures_are_those_of_the_rules(of_images, limit, result_type):
    if result_type == "segm":
        of_images = {
            number: ([*map(with_mask, annotations)], [*map(with_mask, found)], lists)
            for number, (annotations, found, lists) in of_images.items()
        }
    expected = by_the_rules(of_images, limit)
    figures = metric_of(of_images, limit, result_type).compute()
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-9, rel=0, nan_ok=True)
    assert (figures["rules"], figures["max_detections"]) == ("LVIS", limit)


def test_a_class_counts_only_where_it_was_looked_for():
    found = ([entry(1)], [entry(1, score=0.5)])
    elsewhere = [entry(1, score=0.9)]
    assert figures_of(found, ([entry(2)], elsewhere))["per_class"]["ant"] == pytest.approx(1), "nobody looked"
    assert figures_of(found, ([], elsewhere, (1,)))["per_class"]["ant"] == pytest.approx(0.5), "it is absent"
    assert figures_of(found, ([entry(1)], [entry(1, ELSEWHERE, score=0.9)]))["per_class"]["ant"] == pytest.approx(
        51 / 101 / 2
    ), "one object of two is found, behind a false detection"


def test_of_a_class_that_is_not_exhaustive_only_what_matches_counts():
    found = [entry(1, score=0.5), entry(1, ELSEWHERE, score=0.9)]
    assert figures_of(([entry(1)], found))["AP"] == pytest.approx(0.5)
    assert figures_of(([entry(1)], found, (), (1,)))["AP"] == pytest.approx(1)
    twice = [entry(1, score=0.9), entry(1, score=0.5)]
    second = ([entry(1)], [entry(1, score=0.4)])
    assert figures_of(([entry(1)], twice), second)["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert figures_of(([entry(1)], twice, (), (1,)), second)["AP"] == pytest.approx(1), "the second may be another ant"
    assert figures_of(([entry(1)], [entry(1, ELSEWHERE, score=0.9)], (), (1,)))["AP"] == 0, "but all must be found"


def test_the_limit_is_over_all_classes_and_before_the_lists():
    unknown = [entry(4, score=0.9)] * 299
    late = [entry(1, score=0.5), entry(2, score=0.4)]
    figures = figures_of(([entry(1), entry(2)], unknown + late))
    assert (figures["per_class"]["ant"], figures["per_class"]["bee"]) == (pytest.approx(1), 0)
    assert figures["AR300"] == pytest.approx(0.5)
    assert not {"AR1", "AR10", "AR100"} & figures.keys()


def test_groups_of_classes_by_frequency():
    one = ([entry(1), entry(2), entry(3), entry(4)], [entry(1, score=0.9), entry(2, score=0.9), entry(4, score=0.9)])
    figures = figures_of(one)
    assert [figures[name] for name in ("APr", "APc", "APf", "AP")] == pytest.approx([0.5, np.nan, 1, 0.75], nan_ok=True)
    assert list(figures)[:9] == ["AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf"]
    assert "APr" not in figures_of(one, frequencies=("",) * 4)


def test_other_sets_are_scored_as_ever():
    metric = CocoAveragePrecision(CLASSES)
    metric.add_image(1, HEIGHT, WIDTH, [entry(1)], [entry(1, score=0.5)])
    metric.add_image(2, HEIGHT, WIDTH, [entry(2)], [entry(1, score=0.9)])
    figures = metric.compute()
    assert (figures["per_class"]["ant"], figures["rules"]) == (pytest.approx(0.5), "COCO")


def test_voc_and_the_analysis_judge_the_same_detections():
    of_images = {
        1: ([entry(1)], [entry(1, score=0.5), entry(1, ELSEWHERE, score=0.9)], LabelLists((), (1,))),
        2: ([entry(2)], [entry(1, score=0.8), entry(2, score=0.7)], LabelLists()),
        3: ([], [entry(2, score=0.9), entry(3, score=0.9)], LabelLists((2,))),
    }
    voc, collector = VOCAveragePrecision(CLASSES), AnalysisCollector("bbox", 300)
    for image_id, image in of_images.items():
        voc.add_image(image_id, *image)
    assert voc.compute()["per_class"] == pytest.approx(
        {"ant": 1, "bee": 0.5, "cat": np.nan, "dog": np.nan}, nan_ok=True
    )
    metric_of(of_images, observers=[collector])
    analysis = analysis_of([collector.state()], CLASSES, "bbox").analysis
    assert analysis.ap50 == pytest.approx(0.75)
    assert {name: error.count for name, error in analysis.errors.items() if error.count} == {"background": 1}
    wrong = {(one.actual, one.predicted): one.count for one in analysis.confusions if one.actual != one.predicted}
    assert wrong == {(None, "bee"): 1}


def test_the_states_of_ranks_are_merged_in_any_order():
    def scoring(*numbers):
        part = Scoring(len(CLASSES), "bbox", 300, is_federated=True)
        for number in numbers:
            found = [entry(1, score=0.1 * number), entry(2, ELSEWHERE, score=0.5)]
            part.add(number, [entry(1, area=1600)], found, (2,) if number % 2 else ())
        return part.state()

    expected = curves_of([scoring(1, 2, 3)])
    for parts in ([scoring(1, 3), scoring(2), scoring()], [scoring(), scoring(2, 3), scoring(1, 3)]):
        curves = curves_of(parts)
        assert np.array_equal(curves.precision, expected.precision)
        assert np.array_equal(curves.recall, expected.recall)


def test_what_stays_of_an_image_does_not_grow_with_the_classes():
    def state_of(num_classes):
        scoring = Scoring(num_classes, "bbox", 300, is_federated=True)
        sizes = []
        for number in range(20):
            scoring.add(number, [entry(1, area=1600)], [entry(1, score=0.5)] * 100, (2,))
            sizes.append(len(scoring.state()))
        return (sizes[-1] - sizes[0]) / 19

    assert state_of(1203) == pytest.approx(state_of(2), rel=0.05)
    assert state_of(1203) < 60 * 100
