"""OKS AP against the COCO API's on a generated set: objects without keypoints, crowds, other skeletons."""

import contextlib
import io
import json
import math

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lightning_rcnn.cli import main
from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision
from lightning_rcnn.evaluation.oks import COCO_SIGMAS, UNIFORM_SIGMA, sigmas_of
from lightning_rcnn.skeleton import COCO_PERSON, Skeleton
from lightning_rcnn.structures import Detections, ImageRecord

NUM_IMAGES, NUM_CLASSES = 12, 2


def generated(num_keypoints: int):
    """Annotations as packed and detections of each image: some close, some far, some of no object."""
    chance = np.random.default_rng(num_keypoints)
    images = []
    for _ in range(NUM_IMAGES):
        annotations, boxes, points, labels = [], [], [], []
        for number in range(chance.integers(0, 6)):
            x, y = chance.uniform(0, 300, 2)
            width, height = np.exp(chance.uniform(2.5, 5.5, 2))
            visibility = chance.integers(0, 3, num_keypoints) * (chance.random() < 0.85)
            own = np.stack(
                [chance.uniform(x, x + width, num_keypoints), chance.uniform(y, y + height, num_keypoints)], axis=1
            )
            label = int(chance.integers(1, NUM_CLASSES + 1))
            annotation = {
                "id": number + 1,
                "bbox": [x, y, x + width, y + height],
                "label": label,
                "iscrowd": int(chance.random() < 0.1),
                "difficult": 0,
                "area": 0.7 * width * height,
            }
            if visibility.any():
                rows = np.concatenate([own * (visibility > 0)[:, None], visibility[:, None]], axis=1)
                annotation["keypoints"] = rows.ravel().tolist()
            annotations.append(annotation)
            for _ in range(chance.integers(0, 7)):
                noise = chance.choice([0.01, 0.05, 0.3]) * math.sqrt(width * height)
                points.append(own + chance.normal(0, noise, own.shape))
                boxes.append([x, y, x + 0.7 * width, y + 0.7 * height])  # other sizes than the extent of the keypoints
                labels.append(label if chance.random() < 0.9 else 3 - label)
        scores = np.round(chance.uniform(0, 1, len(boxes)), 2)
        images.append((annotations, np.array(boxes), np.array(points), scores, labels))
    return images


def coco_files(images, num_keypoints, with_boxes=True):
    """The contents of an annotation file and of a results file."""
    truth, results = [], []
    for image_id, (annotations, boxes, points, scores, labels) in enumerate(images, start=1):
        for annotation in annotations:
            x1, y1, x2, y2 = annotation["bbox"]
            keypoints = annotation.get("keypoints", [0.0] * 3 * num_keypoints)
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": image_id,
                    "category_id": annotation["label"],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": annotation["area"],
                    "iscrowd": annotation["iscrowd"],
                    "keypoints": keypoints,
                    "num_keypoints": sum(visibility > 0 for visibility in keypoints[2::3]),
                }
            )
        for (x1, y1, x2, y2), own, score, label in zip(boxes.tolist(), points, scores, labels, strict=True):
            flat = np.concatenate([own, np.ones((len(own), 1))], axis=1).ravel().tolist()
            box = [x1, y1, x2 - x1, y2 - y1]
            entry = {"image_id": image_id, "category_id": label, "keypoints": flat, "score": float(score)}
            results.append(entry | ({"bbox": box} if with_boxes else {}))
    content = {
        "images": [{"id": image_id, "height": 600, "width": 600} for image_id in range(1, NUM_IMAGES + 1)],
        "annotations": truth,
        "categories": [{"id": label} for label in range(1, NUM_CLASSES + 1)],
    }
    return content, results


def coco_figures(images, sigmas, with_boxes=True):
    return figures_of(*coco_files(images, len(sigmas), with_boxes), sigmas)


def figures_of(content, results, sigmas):
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
        scored = COCOeval(coco, coco.loadRes(results), "keypoints")
        scored.params.kpt_oks_sigmas = np.array(sigmas)
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    names = ("AP", "AP50", "AP75", "APm", "APl", "AR20", None, None, "ARm", "ARl")
    return {name: value for name, value in zip(names, scored.stats, strict=True) if name}


def evaluated(content, results, folder):
    """The figures of the command."""
    (folder / "truth.json").write_text(json.dumps(content))
    (folder / "results.json").write_text(json.dumps(results))
    words = ["--annotations", folder / "truth.json", "--results", folder / "results.json", "--type", "keypoints"]
    assert main(["evaluate", *map(str, words), "--json", str(folder / "out.json")]) == 0
    figures = json.loads((folder / "out.json").read_text())["keypoints"]
    return {name: value for name, value in figures.items() if isinstance(value, float)}


@pytest.mark.parametrize("sigmas", [list(COCO_SIGMAS), [UNIFORM_SIGMA] * 4], ids=["COCO's", "uniform"])
def test_the_figures_are_those_of_the_coco_api(sigmas):
    images = generated(len(sigmas))
    metric = CocoAveragePrecision(["a", "b"], "keypoints", 20, oks_sigmas=sigmas)
    for image_id, (annotations, boxes, points, scores, labels) in enumerate(images, start=1):
        keypoints = torch.zeros(1, len(labels), len(sigmas), 3)
        keypoints[0, ..., :2] = torch.from_numpy(points.reshape(len(labels), len(sigmas), 2))
        found = Detections(
            torch.from_numpy(boxes.reshape(1, -1, 4)),
            torch.from_numpy(scores)[None],
            torch.tensor([labels], dtype=torch.int64),
            keypoints=keypoints.double(),
        )
        metric.update(found, [ImageRecord(image_id, "", 600, 600, annotations)])
    figures, expected = metric.compute(), coco_figures(images, sigmas)
    assert 0.05 < expected["AP"] < 0.95
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, abs=2e-3), name  # float32 coordinates


@pytest.mark.parametrize("with_boxes", [True, False])
@pytest.mark.parametrize("options", [[], ["--oks_sigmas", ".03", ".05", ".1", ".07"]], ids=["default", "given"])
def test_evaluate_scores_a_results_file(options, with_boxes, tmp_path, capsys):
    images = generated(4)
    content, results = coco_files(images, 4, with_boxes)
    for category in content["categories"]:
        category |= {"name": f"class {category['id']}", "keypoints": ["a", "b", "c", "d"]}
    (tmp_path / "truth.json").write_text(json.dumps(content))
    (tmp_path / "results.json").write_text(json.dumps(results))
    words = ["--annotations", tmp_path / "truth.json", "--results", tmp_path / "results.json", "--type", "keypoints"]
    assert main(["evaluate", *map(str, words), "--json", str(tmp_path / "out.json"), *options]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())["keypoints"]
    expected = coco_figures(images, [float(word) for word in options[1:]] or [UNIFORM_SIGMA] * 4, with_boxes)
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert "AR20" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "options", "problem"),
    [
        (lambda truth, results: truth["categories"][0].pop("keypoints"), [], "no category has keypoints"),
        (lambda truth, results: results[0].pop("keypoints"), [], "has no keypoints, which type keypoints needs"),
        (lambda truth, results: results[0]["keypoints"].pop(), [], "keypoints are not 6 numbers"),
        (lambda truth, results: None, ["--oks_sigmas", ".1", ".1", ".1"], "--oks_sigmas: 3 numbers for 2 keypoints"),
        (lambda truth, results: None, ["--report", "page"], "score keypoints without it"),
        (lambda truth, results: None, ["--type", "bbox", "--oks_sigmas", ".1"], "only keypoints have them"),
    ],
)
def test_what_cannot_be_scored_is_one_line(change, options, problem, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    box = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 30, 30]}
    truth = {
        "images": [{"id": 1, "height": 60, "width": 60}],
        "annotations": [{"id": 1, "area": 900, "iscrowd": 0, "keypoints": [12, 12, 2, 30, 30, 1], **box}],
        "categories": [{"id": 1, "name": "cat", "keypoints": ["nose", "tail"]}],
    }
    results = [{"score": 0.9, "keypoints": [12, 12, 1, 30, 30, 1], **box}]
    change(truth, results)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps(results))
    words = ["--annotations", tmp_path / "truth.json", "--results", tmp_path / "results.json", "--type", "keypoints"]
    assert main(["evaluate", *map(str, words), *options]) == 1
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "truth.json"]


@pytest.mark.parametrize("stated", [lambda labeled: 0, lambda labeled: 3, lambda labeled: labeled])
def test_the_stated_number_of_keypoints_says_what_is_ignored(stated, tmp_path, capsys):
    """As in the COCO API, which reads `num_keypoints` whatever the keypoints are; half of the objects state another."""
    content, results = coco_files(generated(4), 4)
    for number, entry in enumerate(content["annotations"]):
        if number % 2:
            entry["num_keypoints"] = stated(entry["num_keypoints"])
    for category in content["categories"]:
        category |= {"name": f"class {category['id']}", "keypoints": ["a", "b", "c", "d"]}
    figures = evaluated(content, results, tmp_path)
    expected = figures_of(content, results, [UNIFORM_SIGMA] * 4)
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    capsys.readouterr()


def test_relative_keypoints_become_pixels_and_are_named(tmp_path, capsys):
    content, results = coco_files(generated(4), 4)
    for category in content["categories"]:
        category |= {"name": f"class {category['id']}", "keypoints": ["a", "b", "c", "d"]}
    expected = evaluated(content, results, tmp_path)
    assert "shares of the image" not in capsys.readouterr().out
    for entry in results:  # shares count from the corner of the image, COCO's pixels from the center of the first one
        entry["keypoints"] = [
            value if number % 3 == 2 else (value + 0.5) / 600 for number, value in enumerate(entry["keypoints"])
        ]
        entry["bbox"] = [value / 600 for value in entry["bbox"]]
    assert max(map(max, (entry["keypoints"] for entry in results))) < 1.5
    assert evaluated(content, results, tmp_path) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    output = capsys.readouterr().out
    assert "All keypoints of the results are shares of the image, 0 to 1: they become pixels." in output
    assert "All boxes of the results are shares of the image, 0 to 1: they become pixels." in output


def test_a_difficult_object_is_neither_missed_nor_found():
    keypoints = [100.0, 100, 2, 150, 150, 2]
    objects = [
        {
            "id": n,
            "bbox": [x, 80, x + 90, 170],
            "label": 1,
            "iscrowd": 0,
            "area": 6000.0,
            "difficult": n,
            "keypoints": own,
        }
        for n, (x, own) in enumerate([(80, keypoints), (400, [420.0, 100, 2, 450, 150, 2])])
    ]
    metric = CocoAveragePrecision(["a"], "keypoints", 20, oks_sigmas=[0.05, 0.05])
    own = torch.tensor([[[[100.0, 100, 1], [150, 150, 1]], [[425, 105, 1], [455, 155, 1]]]])
    boxes = torch.tensor([[[80.0, 80, 170, 170], [400, 80, 490, 170]]])
    found = Detections(boxes, torch.tensor([[0.5, 0.9]]), torch.tensor([[1, 1]]), keypoints=own)
    metric.update(found, [ImageRecord(1, "", 600, 600, objects)])
    assert metric.compute()["AP"] == pytest.approx(1)


def test_sigmas_are_cocos_for_its_keypoints_only():
    assert sigmas_of(COCO_PERSON, None) == list(COCO_SIGMAS)
    assert sigmas_of(Skeleton(("a", "b")), None) == [UNIFORM_SIGMA] * 2
    assert sigmas_of(Skeleton(("a", "b")), [0.1, 0.2]) == [0.1, 0.2]
