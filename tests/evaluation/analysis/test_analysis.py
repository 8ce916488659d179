"""What the analysis says of errors that were put there by hand."""

import json

import pytest

from lightning_rcnn.evaluation.analysis.analysis import Confusion
from lightning_rcnn.evaluation.analysis.findings import findings

BOX, SHIFTED, AWAY = [0, 0, 100, 100], [0, 0, 100, 80], [300, 300, 50, 50]


def an_object(label, box=BOX, **keys):
    return {"category_id": label, "bbox": box, "area": float(box[2] * box[3]), **keys}


def a_result(label, score, box=BOX):
    return {"category_id": label, "bbox": box, "score": score}


def on_grid(precision, recall):
    """AP of one step of precision up to a recall, on COCO's 101 recalls."""
    return precision * (int(100 * recall + 1e-9) + 1) / 101


def test_each_planted_error_is_counted(analysis):
    counts = {name: error.count for name, error in analysis.errors.items()}
    # The object that is missed by class and place is not found by mending either, so it is one of the missed.
    assert counts == {"class": 2, "location": 3, "both": 1, "duplicate": 4, "background": 5, "missed": 7}
    assert (analysis.num_images, analysis.num_objects, analysis.num_detections) == (31, 31, 34)


def test_costs_are_the_ap_that_mending_gains(analysis):
    cat, dog, cow = on_grid(1, 10 / 16), 1.0, on_grid(0.5, 5 / 11)
    assert analysis.ap50 == pytest.approx((cat + dog + cow) / 3)
    gains = {
        "class": on_grid(1, 12 / 16) - cat,
        "location": on_grid(1, 13 / 16) - cat,
        "both": 0.0,  # it lies below all dogs that are found
        "duplicate": 0.0,  # as do these
        "background": on_grid(1, 5 / 11) - cow,
        "missed": on_grid(1, 10 / 15) - cat + on_grid(0.5, 1) - cow,
    }
    assert {name: error.ap50 for name, error in analysis.errors.items()} == pytest.approx(
        {name: gain / 3 for name, gain in gains.items()}
    )
    costs_of_cats = {one.name: one.costs for one in analysis.classes}["cat"]
    assert costs_of_cats["class"] == pytest.approx(gains["class"])


def test_the_best_threshold_by_hand(analysis):
    # By score: 5 cows on nothing (.97), then 9 right ones (.95), then 10 (.9): 19 of 24, and of 31 objects.
    assert analysis.best.score == 0.9
    assert (analysis.best.precision, analysis.best.recall) == pytest.approx((19 / 24, 19 / 31))
    assert analysis.best.f1 == pytest.approx(2 * 19 / (24 + 31))
    best = {one.name: one.best for one in analysis.classes}
    assert (best["cat"].score, best["dog"].score, best["cow"].score) == (0.9, 0.95, 0.95)
    assert best["cow"].f1 == pytest.approx(2 * 5 / (10 + 11))
    at_best = analysis.sweep.scores.index(0.9)
    assert analysis.sweep.f1[at_best] == pytest.approx(analysis.best.f1)
    assert analysis.sweep.precision[-1] is None


def test_equal_scores_count_together(analyzed):
    """A threshold cannot take the right one of two detections with one score."""
    image = [an_object(1), an_object(1, AWAY)], [a_result(1, 0.5), a_result(1, 0.5, [600, 600, 9, 9])]
    best = analyzed({1: image}, ["cat"]).best
    assert (best.score, best.precision, best.recall) == (0.5, 0.5, 0.5)


def test_confusion_above_the_threshold(analysis):
    counts = {(one.actual, one.predicted): one.count for one in analysis.confusions}
    assert counts == {
        ("cat", "cat"): 10,
        ("dog", "dog"): 4,
        ("cow", "cow"): 5,
        (None, "cow"): 5,
        ("cat", None): 6,
        ("cow", None): 6,
    }


def test_confusion_of_two_classes(analyzed):
    images = {
        1: ([an_object(1)], [a_result(2, 0.9)]),
        2: ([an_object(2)], [a_result(2, 0.8)]),
        3: ([an_object(2)], [a_result(2, 0.8)]),
    }
    analysis = analyzed(images, ["cat", "dog"])
    assert Confusion("cat", "dog", 1) in analysis.confusions
    assert any("cat is detected as dog once (1 object)." in sentence for sentence in findings(analysis))


def test_classes_and_images_that_lose_most_come_first(analysis):
    assert [one.name for one in analysis.classes] == ["cow", "cat", "dog"]
    cow = analysis.classes[0]
    assert (cow.num_objects, cow.found, cow.missed, cow.errors["background"]) == (11, 5, 6, 5)
    assert cow.lost == pytest.approx((1 - on_grid(0.5, 5 / 11)) / 3)
    assert sum(one.lost for one in analysis.classes) == pytest.approx(1 - analysis.ap50)
    # A wrong class at .8 and an object that is not found cost most.
    worst = analysis.images[0]
    assert worst.image_id in (11, 12)
    assert worst.cost == pytest.approx(0.8**2 + 1)
    assert len(analysis.images) == 31  # no score is 1
    assert analysis.images[-1].cost == pytest.approx(0.1**2)
    # A cow is found below one on nothing; an image of a cat that is taken for a dog has no detection of a cat.
    assert {one.image_id: one.ap50 for one in analysis.images}[21] == pytest.approx(0.5)
    assert worst.ap50 == 0


def test_ap_of_an_image_is_that_of_the_classes_in_it(analyzed):
    cats, dog = [an_object(1), an_object(1, AWAY)], an_object(2, AWAY)
    results = [a_result(1, 0.9), a_result(2, 0.8, AWAY), a_result(3, 0.99)]
    images = {1: ([*cats, dog], results), 2: ([], [a_result(1, 0.5)])}
    ap50 = {one.image_id: one.ap50 for one in analyzed(images, ["cat", "dog", "cow"]).images}
    assert ap50 == {1: pytest.approx((on_grid(1, 1 / 2) + 1) / 2), 2: None}


def test_sizes(analyzed):
    small, large = [0, 0, 10, 10], [200, 200, 200, 200]
    objects = [an_object(1, small), an_object(1, large)]
    sizes = analyzed({1: (objects, [a_result(1, 0.9, large)])}, ["cat"]).sizes
    assert {name: (size.num_objects, size.found) for name, size in sizes.items()} == {
        "small": (1, 0),
        "medium": (0, 0),
        "large": (1, 1),
    }


def test_crowds_and_difficult_objects_are_no_errors(analyzed):
    objects = [an_object(1, iscrowd=1), an_object(1, AWAY, difficult=1), an_object(2, [600, 600, 50, 50])]
    inside = [a_result(1, 0.9, [10, 10, 20, 20]), a_result(1, 0.8, [50, 50, 30, 30])]
    analysis = analyzed({1: (objects, [*inside, a_result(1, 0.7, AWAY)])}, ["cat", "dog"])
    assert [error.count for error in analysis.errors.values()] == [0, 0, 0, 0, 0, 1]
    assert analysis.num_objects == 1
    assert analysis.best is None
    # A difficult object takes one detection, the next one there is wrong.
    analysis = analyzed({1: (objects, [a_result(1, 0.7, AWAY), a_result(1, 0.6, AWAY)])}, ["cat", "dog"])
    assert analysis.errors["background"].count == 1


def test_no_more_detections_of_a_class_count_than_for_ap(analyzed):
    results = [a_result(1, 0.9, AWAY), a_result(1, 0.8), a_result(2, 0.7, AWAY)]
    analysis = analyzed({1: ([an_object(1)], results)}, ["cat", "dog"], max_detections=1)
    assert analysis.num_detections == 2
    assert analysis.ap50 == 0


def test_a_class_that_is_never_predicted(analyzed):
    images = {n: ([an_object(1), an_object(2, AWAY)], [a_result(1, 0.9)]) for n in range(30)}
    analysis = analyzed(images, ["cell", "platelet"])
    assert findings(analysis)[0] == "platelet (30 objects) is never predicted; this costs 50.0 points of AP50."
    assert analysis.errors["missed"].ap50 == pytest.approx(0.5)
    assert analysis.classes[0].costs["missed"] == pytest.approx(1)
    assert analysis.classes[0].best is None
    assert sum("cell" in sentence for sentence in findings(analysis)) == 0


def test_a_class_that_is_predicted_elsewhere(analyzed):
    analysis = analyzed({1: ([an_object(1)], [a_result(1, 0.9, AWAY)])}, ["cell"])
    assert findings(analysis)[0].startswith(
        "cell (1 object) is predicted, but never on its objects; this costs 100.0 points"
    )


def test_the_classes_with_most_of_a_cost_are_named(analyzed):
    """Of 30 objects each, all platelets are missed, a third of the smears and one cell."""
    images = {}
    for number in range(30):
        objects = [an_object(1), an_object(2, AWAY), an_object(3, [600, 600, 50, 50])]
        smears = [a_result(3, 0.9, [600, 600, 50, 50])] * (number % 3 > 0)
        images[number] = (objects, [a_result(1, 0.9)] * (number > 0) + smears)
    sentences = findings(analyzed(images, ["cell", "platelet", "smear"]))
    assert any("Missed objects" in one and "(41, mostly platelet)" in one for one in sentences)
    two = {number: images[number] for number in (0, 1)}
    assert any("(4, mostly platelet, cell)" in one for one in findings(analyzed(two, ["cell", "platelet", "smear"])))


def test_what_bounds_the_detector_is_said(analysis):
    assert any("Only 80.0% of the objects have a proposal" in one for one in findings(analysis, 0.8))
    assert not any("have a proposal" in one for one in findings(analysis, 0.99))


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ({}, "No image has an object"),
        ({1: ([], [a_result(1, 0.9)])}, "No image has an object"),
        ({1: ([an_object(1)], [])}, "There are no detections at all."),
    ],
)
def test_nothing_to_say(analyzed, images, sentence):
    analysis = analyzed(images, ["cat"])
    assert findings(analysis)[0].startswith(sentence)
    json.dumps(analysis.as_dict(), allow_nan=False)


def test_as_plain_data(analysis):
    assert json.loads(json.dumps(analysis.as_dict(), allow_nan=False))["best"]["score"] == 0.9
