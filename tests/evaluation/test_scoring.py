"""The figures beside those of pycocotools, which nobody here wrote, on random sets of all that is odd in data."""

import contextlib
import io
import random

import numpy as np
import pytest
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision
from lightning_rcnn.evaluation.scoring import Scoring, curves_of

HEIGHT, WIDTH = 60, 100
CLASSES = ["cat", "dog", "cow"]
NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


class WithDifficultObjects(COCOeval):
    """The API ignores only crowds, and takes nobody's word for what else to ignore."""

    def _prepare(self):
        super()._prepare()
        for annotations in self._gts.values():
            for annotation in annotations:
                annotation["ignore"] = int(annotation["ignore"] or annotation["difficult"])


def random_set(seed, result_type):
    """Images by id with objects and detections: few places and sizes, so that many overlaps and scores are equal."""
    draw = random.Random(seed)

    def box():
        x, y = draw.choice([0, 10, 35.5]), draw.choice([0, 10])
        return [x, y, draw.choice([20, 30, 50, 97.5, 0]), draw.choice([20, 50, 33.25])]

    def place():
        shape = box()
        if result_type == "bbox":
            return {"bbox": shape}
        pixels = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
        x, y, width, height = map(int, shape)  # of which some are empty
        pixels[y : y + height, x : x + width : draw.choice([1, 1, 2])] = 1
        rle = mask.encode(pixels)
        return {"segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}, "bbox": shape}

    ids = draw.sample([0, 3, 4, 17, 1000, 2**53 + 1, 2**62, *range(5000, 5030, 7)], draw.choice([1, 4, 9]))
    images = {}
    for number, image_id in enumerate(ids):
        objects = [
            {
                "category_id": draw.randint(1, 2),  # there is none of the third class
                "area": draw.choice([0, 500, 1024, 3000, 5000, 9216, 20000]),
                "iscrowd": int(draw.random() < 0.15),
                "difficult": int(draw.random() < 0.15),
                **place(),
            }
            for _ in range(draw.choice([0, 1, 8]) if number else 6)
        ]
        results = [
            {"category_id": draw.choice([1, 1, 1, 2, 3]), "score": draw.choice([0.2, 0.5, draw.random()]), **place()}
            for _ in range(draw.choice([0, 2, 20]) if number else 180)
        ]
        for entry in objects[::2]:
            kept = {key: entry[key] for key in ("category_id", "bbox", "segmentation") if key in entry}
            results.append({"score": draw.choice([0.5, 0.9, 0.95]), **kept})
        if result_type == "segm":
            for result in results:
                del result["bbox"]  # whose area the API would take
        images[image_id] = objects, results
    return images


def scored_by_pycocotools(images, result_type, max_detections):
    """Precision, recall and the twelve figures; -1 where there is no ground truth."""
    objects = [{**o, "image_id": image_id} for image_id, (objects, _) in images.items() for o in objects]
    results = [{**r, "image_id": image_id} for image_id, (_, results) in images.items() for r in results]
    truth = COCO()
    truth.dataset = {
        "images": [{"id": image_id, "height": HEIGHT, "width": WIDTH} for image_id in images],
        "categories": [{"id": label} for label in range(1, len(CLASSES) + 1)],
        "annotations": [{**entry, "id": number} for number, entry in enumerate(objects, start=1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = WithDifficultObjects(truth, truth.loadRes(results), result_type)
        evaluation.params.maxDets = [1, 10, max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.eval["precision"], evaluation.eval["recall"], evaluation.stats


def mean(values):
    present = values[values > -1]
    return present.mean() if present.size else float("nan")


@pytest.mark.parametrize("result_type", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(60))
def test_the_figures_are_those_of_pycocotools(result_type, seed):
    max_detections = (100, 100, 25, 300)[seed % 4]
    images = random_set(seed, result_type)
    metric = CocoAveragePrecision(CLASSES, result_type, max_detections)
    for image_id, (objects, results) in images.items():
        metric.add_image(image_id, HEIGHT, WIDTH, objects, results)
    figures = metric.compute()
    precision, recall, stats = scored_by_pycocotools(images, result_type, max_detections)
    if max_detections == 100:
        expected = np.where(stats == -1, np.nan, stats)
        assert [figures[name] for name in NAMES] == pytest.approx(expected, abs=1e-9, rel=0, nan_ok=True)
    for area, suffix in enumerate(["", "s", "m", "l"]):
        assert figures[f"AP{suffix}"] == pytest.approx(mean(precision[..., area, -1]), abs=1e-9, rel=0, nan_ok=True)
    for column, limit in enumerate([1, 10, max_detections]):
        assert figures[f"AR{limit}"] == pytest.approx(mean(recall[:, :, 0, column]), abs=1e-9, rel=0, nan_ok=True)
    for label, name in enumerate(CLASSES):
        expected = mean(precision[:, :, label, 0, -1])
        assert figures["per_class"][name] == pytest.approx(expected, abs=1e-9, rel=0, nan_ok=True)


def test_the_random_sets_have_something_to_tell():
    figures = [scored_by_pycocotools(random_set(seed, "bbox"), "bbox", 100)[2] for seed in range(20)]
    assert (np.array(figures) > 0.05).sum(0).min() > 6, "a figure that is mostly zero proves nothing"


@pytest.mark.parametrize("result_type", ["bbox", "segm"])
def test_the_curves_do_not_depend_on_who_matched_which_image(result_type):
    images = random_set(0, result_type)
    assert len(images) > 3
    together = Scoring(len(CLASSES), result_type, 100)
    ranks = [Scoring(len(CLASSES), result_type, 100) for _ in range(3)]  # the last one holds nothing
    for number, (image_id, (objects, results)) in enumerate(images.items()):
        together.add(image_id, objects, results)
        ranks[number % 2].add(image_id, objects, results)
    ranks[1].add(*next((image_id, *image) for image_id, image in images.items()))  # both hold it
    expected = curves_of([together.state()])
    for order in (ranks, ranks[::-1]):
        curves = curves_of(rank.state() for rank in order)
        assert np.array_equal(curves.precision, expected.precision)
        assert np.array_equal(curves.recall, expected.recall)


def test_what_stays_of_an_image_does_not_grow_with_its_masks():
    def state_of(step):
        pixels = np.zeros((1000, 1000), np.uint8, order="F")
        pixels[::step] = 1
        rle = mask.encode(pixels)
        entry = {
            "category_id": 1,
            "area": 10.0,
            "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
        }
        scoring = Scoring(1, "segm", 100)
        scoring.add(1, [entry] * 10, [{**entry, "score": 0.5}] * 10)
        return len(entry["segmentation"]["counts"]), len(scoring.state())

    (short, state), (long, state_of_long) = state_of(1000), state_of(2)
    assert long > 100 * short
    assert state_of_long == state < 5000


def test_thousand_classes_of_which_few_have_objects():
    """More than are laid out at once; each is where it belongs."""
    metric = CocoAveragePrecision([f"class {label}" for label in range(1, 1204)])
    box = [0, 0, 10, 10]
    for image_id, label in enumerate([1, 128, 129, 1203]):
        found = [{"category_id": label, "score": 0.5, "bbox": box}] if label != 129 else []
        metric.add_image(image_id, HEIGHT, WIDTH, [{"category_id": label, "bbox": box, "area": 100}], found)
    figures = metric.compute()
    per_class = {name: value for name, value in figures["per_class"].items() if not np.isnan(value)}
    assert per_class == pytest.approx({"class 1": 1, "class 128": 1, "class 129": 0, "class 1203": 1})
    assert figures["AP"] == pytest.approx(3 / 4)


def test_what_cannot_be_scored_is_refused():
    scoring = Scoring(2, "bbox", 100)
    result = {"category_id": 1, "score": 0.5, "bbox": [0, 0, 10, 10]}
    with pytest.raises(KeyError, match="3"):
        scoring.add(1, [], [{**result, "category_id": 3}])
    with pytest.raises(ValueError, match="NaN"):
        scoring.add(1, [], [{**result, "score": float("nan")}])
