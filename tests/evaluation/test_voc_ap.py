"""Figures worked out by hand.

By area, AP is the mean over all objects of the best precision at or beyond the recall at which each is found, and 0 for
those missed. By eleven points it is the mean of the best precision at or beyond the recalls 0, .1, ..., 1.
"""

import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_rcnn.data.pack.voc_xml import read_xml
from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision
from lightning_rcnn.evaluation.voc_ap import VOCAveragePrecision
from lightning_rcnn.structures import NO_IMAGE

BCCD = Path(__file__).parents[3] / "shared" / "data" / "bccd" / "BCCD"

A, B, FAR = (10, 10, 50, 50), (100, 100, 160, 160), (150, 0, 190, 40)


@pytest.fixture
def score(make_record, make_detections):
    """Figures of images given as (objects, detections), with classes "cat" and "dog"."""

    def score(*images, iou_threshold=0.5, **keys):
        metric = VOCAveragePrecision(["cat", "dog"], iou_threshold)
        records = [make_record(number, *objects, **keys) for number, (objects, _) in enumerate(images)]
        metric.update(make_detections(*(found for _, found in images)), records)
        return metric.compute()

    return score


def test_a_false_one_counts_by_its_rank(score):
    """Two objects; ranked true, false, true: the precisions are 1, 1/2, 2/3.

    By area: the first object is found at precision 1, the second at 2/3. By points: 1 up to recall .5, which are six
    points, and 2/3 at the five others.
    """
    figures = score(([(*A, 1), (*B, 1)], [(*A, 1, 0.9), (*FAR, 1, 0.8), (*B, 1, 0.7)]))
    assert figures["AP50"] == pytest.approx((1 + 2 / 3) / 2)
    assert figures["AP50_11_point"] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_a_later_precision_that_is_better_counts(score):
    """Two objects; ranked false, true, true: the precisions are 0, 1/2, 2/3, the best at or beyond each is 2/3."""
    figures = score(([(*A, 1), (*B, 1)], [(*FAR, 1, 0.9), (*A, 1, 0.8), (*B, 1, 0.7)]))
    assert figures["AP50"] == pytest.approx(2 / 3)
    assert figures["AP50_11_point"] == pytest.approx(2 / 3)


def test_a_missed_object(score):
    """One of three found, first: by area 1/3; recall .33 is beyond 0, .1, .2, .3, four of eleven points."""
    figures = score(([(*A, 1), (*B, 1), (*FAR, 1)], [(*A, 1, 0.9)]))
    assert figures["AP50"] == pytest.approx(1 / 3)
    assert figures["AP50_11_point"] == pytest.approx(4 / 11)


def test_three_of_ten_objects_are_a_recall_of_three_tenths(score):
    """By area 3/10; by points four of eleven, though in floating point 3 * .1 > .3."""
    objects = [(x, y, x + 10, y + 10, 1) for x in range(0, 100, 20) for y in (0, 20)]
    figures = score((objects, [(*box, 0.9) for box in objects[:3]]))
    assert figures["AP50"] == pytest.approx(3 / 10)
    assert figures["AP50_11_point"] == pytest.approx(4 / 11)


def test_a_second_detection_does_not_get_the_second_object(make_record, make_detections):
    """Two objects of 40 x 40, 20 apart; the second box is 8 off the first object, 12 off the second: IoU 2/3 and .54.

    VOC counts it as a duplicate: one of two objects found, first. COCO gives it the second object.
    """
    record = make_record(1, (0, 0, 40, 40, 1), (20, 0, 60, 40, 1))
    found = make_detections([(0, 0, 40, 40, 1, 0.9), (8, 0, 48, 40, 1, 0.8)])
    voc, coco = VOCAveragePrecision(["cat"]), CocoAveragePrecision(["cat"])
    for metric in (voc, coco):
        metric.update(found, [record])
    assert voc.compute()["AP50"] == pytest.approx(1 / 2)
    assert voc.compute()["AP50_11_point"] == pytest.approx(6 / 11)
    assert coco.compute()["AP50"] == pytest.approx(1)


@pytest.mark.parametrize("kind", ["difficult", "iscrowd"])
def test_difficult_objects_and_crowds_are_neither_missed_nor_false(make_record, make_detections, kind):
    """One object is left; what finds the other, ranked first and second, does not lower its precision of 1."""
    metric = VOCAveragePrecision(["cat"])
    record = make_record(1, (*A, 1))
    record.annotations.extend(make_record(1, (*B, 1), **{kind: 1}).annotations)
    metric.update(make_detections([(*B, 1, 0.9), (*B, 1, 0.85), (*A, 1, 0.8)]), [record])
    assert metric.compute()["AP50"] == metric.compute()["AP50_11_point"] == pytest.approx(1)


def test_parts_of_a_crowd_are_false(make_record, make_detections):
    """Three parts of the crowd rank first, so the object is found at precision 1/4."""
    metric = VOCAveragePrecision(["cat"])
    record = make_record(1, (*A, 1))
    record.annotations.extend(make_record(1, (100, 100, 180, 180, 1), iscrowd=1).annotations)
    parts = [(x, 100, x + 10, 110, 1, 0.95) for x in (100, 120, 140)]
    metric.update(make_detections([*parts, (*A, 1, 0.8)]), [record])
    assert metric.compute()["AP50"] == pytest.approx(1 / 4)


def test_classes_are_averaged_over_those_that_have_objects(score):
    """Cat: found. Dog: missed by the first, found by the second, 1/2."""
    figures = score(([(*A, 1), (*B, 2)], [(*A, 1, 0.9), (*FAR, 2, 0.8), (*B, 2, 0.7)]))
    assert figures["per_class"] == figures["per_class_11_point"] == {"cat": pytest.approx(1), "dog": pytest.approx(0.5)}
    assert figures["AP50"] == figures["AP50_11_point"] == pytest.approx(0.75)

    figures = score(([(*A, 1)], [(*A, 1, 0.9), (*B, 2, 0.95)]))
    assert math.isnan(figures["per_class"]["dog"])
    assert math.isnan(figures["per_class_11_point"]["dog"])
    assert figures["AP50"] == figures["AP50_11_point"] == pytest.approx(1)


def test_no_detection_is_zero_and_no_ground_truth_is_no_number(score):
    assert score(([(*A, 1)], []))["AP50"] == score(([(*A, 1)], []))["AP50_11_point"] == 0
    all_difficult = score(([(*A, 1)], [(*A, 1, 0.9)]), difficult=1)
    for nothing in (all_difficult, score(([], [(*A, 1, 0.9)])), VOCAveragePrecision(["cat"]).compute()):
        assert math.isnan(nothing["AP50"])
        assert math.isnan(nothing["AP50_11_point"])
        assert all(map(math.isnan, nothing["per_class"].values()))


def test_of_equal_scores_the_lower_image_id_comes_first(make_record, make_detections):
    """One object in image 1; the other image has a false detection of the same score, added first."""
    metric = VOCAveragePrecision(["cat"])
    for image_id, objects, found in ((2, [], [(*A, 1, 0.5)]), (1, [(*A, 1)], [(*A, 1, 0.5)])):
        metric.update(make_detections(found), [make_record(image_id, *objects)])
    assert metric.compute()["AP50"] == 1


def test_the_figures_are_named_after_the_threshold(score):
    """A box of 3/4 the width has IoU .75."""
    image = ([(10, 10, 50, 50, 1)], [(10, 10, 40, 50, 1, 0.9)])
    names = ["AP75", "AP75_11_point", "per_class", "per_class_11_point"]
    assert list(score(image, iou_threshold=0.75)) == names
    assert score(image, iou_threshold=0.75)["AP75"] == 1
    assert score(image, iou_threshold=0.76)["AP76"] == 0


def test_an_image_counts_once_and_empty_slots_do_not(make_record, make_detections):
    metric = VOCAveragePrecision(["cat"])
    records = [make_record(7, (*A, 1)), make_record(NO_IMAGE, (*B, 1)), make_record(7, (*A, 1))]
    found = make_detections([(*A, 1, 0.9)], [(*FAR, 1, 0.95)], [(*A, 1, 0.9)])
    metric.update(found, records)
    metric.update(found, records)
    assert metric.compute()["AP50"] == 1


def test_reset_and_new_images_after_compute(make_record, make_detections):
    metric = VOCAveragePrecision(["cat"])
    metric.update(make_detections([]), [make_record(1, (*A, 1))])
    assert metric.compute()["AP50"] == 0
    metric.add_image(
        1, [{"category_id": 1, "bbox": [0, 0, 9, 9]}], [{"category_id": 1, "score": 1, "bbox": [0, 0, 9, 9]}]
    )
    assert metric.compute()["AP50"] == 1
    metric.reset()
    metric.update(make_detections([(*A, 1, 0.9)]), [make_record(1, (*A, 1))])
    assert metric.compute()["AP50"] == 1


def test_fifteen_objects_and_24_detections():
    """The sample of rafaelpadilla/Object-Detection-Metrics: 7 images; 7 detections are true at IoU .3, one at .5.

    Its figures, confidences and verdicts, with boxes made for them: objects are 40 x 40 and stand in a row, and a
    detection that is 10, 18 or 26 off has IoU .6, .379 or .212 with its object, one that is 200 below none.

    True at .3 are the ranks 1, 3, 10, 12, 13, 14, 23 with precisions 1/1, 2/3, 3/10, 4/12, 5/13, 6/14, 7/23, the best
    at or beyond them are 1, 2/3, four times 3/7, 7/23: by area, AP is (1 + 2/3 + 12/7 + 7/23) / 15. Their recalls are
    .067, .133, .2, .267, .333, .4, .467: the point 0 has 1, .1 has 2/3, each of .2, .3, .4 has 3/7, the other six none.
    True at .5 is rank 3 alone, with precision 1/3: AP is 1/3 / 15, and by points, of which it reaches one, 1/3 / 11.
    """
    num_objects = {1: 2, 2: 2, 3: 3, 4: 2, 5: 2, 6: 2, 7: 2}
    close, near, off, none = (10, 0), (18, 0), (26, 0), (0, 200)
    # Image, confidence, object of the image, how far off.
    detections = [
        (5, 0.95, 1, near), (7, 0.95, 1, none), (3, 0.91, 2, close), (1, 0.88, 0, off), (6, 0.84, 0, none),
        (1, 0.80, 0, none), (4, 0.78, 0, off), (2, 0.74, 0, none), (2, 0.71, 1, off), (1, 0.70, 1, near),
        (3, 0.67, 1, off), (5, 0.62, 0, near), (2, 0.54, 1, near), (7, 0.48, 0, near), (4, 0.45, 0, off),
        (6, 0.45, 1, off), (3, 0.44, 0, none), (5, 0.44, 0, none), (6, 0.43, 1, off), (3, 0.38, 1, none),
        (4, 0.35, 0, none), (5, 0.23, 1, near), (3, 0.18, 1, near), (4, 0.14, 0, off),
    ]  # fmt: skip
    figures = {}
    for threshold in (0.3, 0.5):
        metric = VOCAveragePrecision(["person"], threshold)
        for image_id, number in num_objects.items():
            objects = [{"category_id": 1, "bbox": [100 * place, 0, 40, 40]} for place in range(number)]
            found = [
                {"category_id": 1, "score": score, "bbox": [100 * place + right, down, 40, 40]}
                for of, score, place, (right, down) in detections
                if of == image_id
            ]
            metric.add_image(image_id, objects, found)
        figures |= metric.compute()
    assert figures["AP30"] == pytest.approx((1 + 2 / 3 + 12 / 7 + 7 / 23) / 15, abs=1e-15)
    assert figures["AP30"] == pytest.approx(0.2456866804, abs=1e-8, rel=0)
    assert figures["AP30_11_point"] == pytest.approx((1 + 2 / 3 + 3 * 3 / 7) / 11, abs=1e-15)
    assert figures["AP30_11_point"] == pytest.approx(0.2684, abs=5e-5, rel=0)
    assert figures["AP50"] == pytest.approx(0.0222222222, abs=1e-8, rel=0)
    assert figures["AP50_11_point"] == pytest.approx(1 / 33, abs=1e-15)


def devkit(objects, detections, threshold):
    """The development kit's procedure in its own coordinates (first and last pixel, counted from 1), in fractions.

    Args:
        objects: (image, (xmin, ymin, xmax, ymax), is_difficult).
        detections: (image, box, score); of equal scores, the first comes first.

    Returns:
        AP by area, and by eleven points.
    """

    def area(xmin, ymin, xmax, ymax):
        return max(xmax - xmin + 1, 0) * max(ymax - ymin + 1, 0)

    def overlap(box, other):
        shared = area(*map(max, box[:2], other[:2]), *map(min, box[2:], other[2:]))
        return Fraction(shared, area(*box) + area(*other) - shared)

    num_objects = sum(not is_difficult for _, _, is_difficult in objects)
    taken, verdicts = set(), []
    for image, box, _ in sorted(detections, key=lambda one: -one[2]):
        best, closest = Fraction(-1), None
        for number, (gt_image, gt_box, _) in enumerate(objects):
            if gt_image == image and overlap(box, gt_box) > best:
                best, closest = overlap(box, gt_box), number
        if best < threshold:
            verdicts.append(False)
        elif not objects[closest][2]:
            verdicts.append(closest not in taken)
            taken.add(closest)
    curve = []
    for rank in range(1, len(verdicts) + 1):
        num_true = sum(verdicts[:rank])
        curve.append((Fraction(num_true, num_objects), Fraction(num_true, rank)))

    def best_precision(recall):
        return max((p for r, p in curve if r >= recall), default=Fraction(0))

    steps = sorted({Fraction(0), *(recall for recall, _ in curve)})
    by_area = sum(((high - low) * best_precision(high) for low, high in pairwise(steps)), Fraction(0))
    by_points = sum(best_precision(Fraction(point, 10)) for point in range(11)) / 11
    return float(by_area), float(by_points)


sides = st.tuples(st.integers(1, 6), st.integers(1, 6))
voc_boxes = st.tuples(sides, sides).map(lambda sides: (sides[0][0], sides[1][0], sum(sides[0]), sum(sides[1])))
voc_objects = st.lists(st.tuples(st.integers(1, 3), voc_boxes, st.booleans()), max_size=12)
voc_detections = st.lists(st.tuples(st.integers(1, 3), voc_boxes, st.sampled_from([0.25, 0.5, 0.75])), max_size=12)


@given(voc_objects, voc_detections, st.sampled_from([Fraction(1, 4), Fraction(1, 2), Fraction(3, 4)]))
def test_the_development_kits_figures_in_its_own_coordinates(objects, detections, threshold):
    """With small boxes, so that equal overlaps, equal scores and overlaps of just the threshold abound."""
    objects = [*objects, (1, (1, 1, 4, 4), False)]
    detections = sorted(detections, key=lambda one: one[0])  # equal scores go by the image
    metric = VOCAveragePrecision(["thing"], float(threshold))
    for image in (3, 1, 2):
        metric.add_image(
            image,
            [{"category_id": 1, "bbox": packed(box), "difficult": d} for i, box, d in objects if i == image],
            [{"category_id": 1, "bbox": packed(box), "score": s} for i, box, s in detections if i == image],
        )
    by_area, by_points = list(metric.compute().values())[:2]
    assert (by_area, by_points) == pytest.approx(devkit(objects, detections, threshold), abs=1e-12, rel=0)


def packed(box):
    """A box of VOC's as x, y, width, height of its edges."""
    xmin, ymin, xmax, ymax = box
    return [xmin - 1, ymin - 1, xmax - (xmin - 1), ymax - (ymin - 1)]


@pytest.mark.realdata
@pytest.mark.skipif(not BCCD.is_dir(), reason=f"no real data in {BCCD}")
def test_packed_annotations_score_what_the_development_kit_gives_the_files():
    """Every red cell of 20 images; the detections are moved by a few pixels, some twice."""
    draw = np.random.default_rng(3)
    objects, detections = [], []
    metric = VOCAveragePrecision(["RBC"])
    names = (BCCD / "ImageSets" / "Main" / "test.txt").read_text().split()
    for image, name in enumerate(names[:20]):
        path = BCCD / "Annotations" / f"{name}.xml"
        as_written = [
            tuple(int(element.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
            for element in ElementTree.parse(path).iterfind("object")
            if element.findtext("name") == "RBC"
        ]
        moved = [[*(box + draw.integers(-12, 13, 4))] for box in as_written + as_written[::3]]
        found = [(box, score) for box, score in zip(moved, draw.random(len(moved)).round(2), strict=True)]
        objects += [(image, box, False) for box in as_written]
        detections += [(image, box, score) for box, score in found]

        _, annotated, _ = read_xml(path, image, {"RBC": 1}, "one_based")
        edges = [one.edges for one in annotated if one.label]
        metric.add_image(
            image,
            [{"category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]} for x1, y1, x2, y2 in edges],
            [{"category_id": 1, "bbox": packed(box), "score": score} for box, score in found],
        )
    by_area, by_points = devkit(objects, detections, Fraction(1, 2))
    assert 0.3 < by_area < 0.95
    figures = metric.compute()
    assert (figures["AP50"], figures["AP50_11_point"]) == pytest.approx((by_area, by_points), abs=1e-12, rel=0)
