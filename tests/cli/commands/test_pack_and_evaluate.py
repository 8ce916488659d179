"""`pack coco` and `evaluate` read a COCO file by the same rules, however its scalars are spelled."""

import copy
import io
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask

from lightning_rcnn.cli import main
from lightning_rcnn.cli.commands.pack import pack_coco
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.evaluation.coco_files import read_scored

WIDTH, HEIGHT = 96, 64


def outline(x, y, width, height):
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def rle(x, y, width, height):
    [encoded] = mask.frPyObjects(outline(x, y, width, height), HEIGHT, WIDTH)
    return {"size": [HEIGHT, WIDTH], "counts": encoded["counts"].decode()}


BOXES = [(24, 16, 24, 16), (5, 5, 20, 30), (50, 30, 20.5, 20), (0, 0, 96, 64)]
TRUTH = {
    "images": [{"id": n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT} for n in (3, 4)],
    "categories": [{"id": 2, "name": "cat"}, {"id": 7, "name": "dog"}],
    "annotations": [
        {
            "id": n,
            "image_id": 3 + n % 2,
            "category_id": (2, 7)[n // 2],
            "bbox": list(box),
            "area": box[2] * box[3],
            "iscrowd": 0,
            "segmentation": rle(*box) if n == 1 else outline(*box),
        }
        for n, box in enumerate(BOXES)
    ],
}
RESULTS = [
    {
        "image_id": entry["image_id"],
        "category_id": entry["category_id"],
        "bbox": [entry["bbox"][0] + 2, *entry["bbox"][1:]],
        "score": 0.5,
        "segmentation": rle(*entry["bbox"]),
    }
    for entry in TRUTH["annotations"][1:]
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    (folder / "images").mkdir()
    pixels = io.BytesIO()
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(pixels, "PNG")
    for image in TRUTH["images"]:
        (folder / "images" / image["file_name"]).write_bytes(pixels.getvalue())
    return folder


def respell(choose, value, key=""):
    """The same value: numbers as text or floats, no crowd as null, lists as text."""
    if isinstance(value, dict):
        return {name: respell(choose, part, name) for name, part in value.items()}
    if isinstance(value, list):
        parts = [respell(choose, part, key) for part in value]
        return choose([parts, parts, str(parts)]) if key in ("bbox", "segmentation") else parts
    if key in ("file_name", "name", "counts"):
        return value
    if key == "iscrowd":
        return choose([0, "0", 0.0, None, False, ""])
    return choose([value, float(value), str(value), str(float(value)), f" {value}"])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_spelling_changes_neither_the_shards_nor_the_figures(folder, seed):
    truth, results = folder / "truth.json", folder / "results.json"

    def outcome(first, second):
        truth.write_text(json.dumps(first))
        results.write_text(json.dumps(second))
        write_shards(coco_source(folder / "images", truth), folder / "out", workers=1, overwrite=True)
        return contents(folder / "out"), [read_scored(truth, results, kind) for kind in ("bbox", "segm")]

    expected = outcome(TRUTH, RESULTS)
    choose = random.Random(seed).choice
    assert outcome(respell(choose, TRUTH), [respell(choose, entry) for entry in RESULTS]) == expected


@pytest.fixture
def evaluate(tmp_path, capsys):
    """Score contents of the two files, perhaps with an images.json; return status, AP and what was said."""

    def evaluate(truth, results, images=None, *options):
        names = {"truth.json": truth, "results.json": results} | ({"images.json": images} if images else {})
        for name, content in names.items():
            (tmp_path / name).write_text(json.dumps(content))
        out = tmp_path / "out.json"
        files = ["--annotations", tmp_path / "truth.json", "--results", tmp_path / "results.json", "--json", out]
        status = main(["evaluate", *map(str, files), *options])
        said = capsys.readouterr()
        return status, json.loads(out.read_text())["bbox"]["AP"] if status == 0 else None, said.out + said.err

    return evaluate


def perfect(truth):
    keys = ("image_id", "category_id", "bbox")
    return [{key: entry[key] for key in keys} | {"score": 0.9} for entry in truth["annotations"]]


def test_text_ids_match_in_the_files_spelling_and_in_that_of_the_packed_set(folder, tmp_path, evaluate):
    truth = json.loads(
        json.dumps(TRUTH).replace('"id": 3,', '"id": "img_a",').replace('"image_id": 3', '"image_id": "img_a"')
    )
    (tmp_path / "text.json").write_text(json.dumps(truth))
    index = write_shards(coco_source(folder / "images", tmp_path / "text.json"), tmp_path / "out")
    assert index.shards[0].image_ids == [5, 4]
    results = perfect(truth)
    assert evaluate(truth, results)[1] == pytest.approx(1)
    packed = [entry | {"image_id": {"img_a": 5}.get(entry["image_id"], 4)} for entry in results]
    assert evaluate(truth, packed)[1] == pytest.approx(1)


def test_shares_of_the_image_are_scored_in_pixels(evaluate):
    truth, scale = copy.deepcopy(TRUTH), np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    for entry in truth["annotations"]:
        del entry["segmentation"]
        entry["bbox"] = (np.array(entry["bbox"]) / scale).tolist()
    assert evaluate(truth, perfect(TRUTH))[1] == pytest.approx(1)
    _, score, text = evaluate(TRUTH, perfect(truth))
    assert score == pytest.approx(1)
    assert "All boxes of the results are shares of the image" in text
    del truth["images"][0]["width"]
    status, _, text = evaluate(truth, perfect(TRUTH))
    assert (status, text.count("\n")) == (1, 1)
    assert "image 3.png has no width and height" in text


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_sizes_that_are_missing_follow_from_the_masks(folder, kind):
    """Boxes need none, and masks state theirs."""

    def read(truth):
        (folder / "truth.json").write_text(json.dumps(truth))
        (folder / "results.json").write_text(json.dumps(RESULTS))
        images = read_scored(folder / "truth.json", folder / "results.json", kind).images
        return {key: (image.annotations, image.results) for key, image in images.items()}

    without = copy.deepcopy(TRUTH)
    for image in without["images"]:
        del image["width"], image["height"]
    assert read(without) == read(TRUTH)


NAMES = {"images": [{"id": 1, "file_name": "deep/4.png"}, {"id": 2, "file_name": "deep/3.png"}], "categories": []}


def detected(categories=({"id": 1, "name": "dog"}, {"id": 2, "name": "cat"})):
    """The perfect results as a detector writes them that numbers images and classes the other way round."""
    to_images, to_categories = {4: 1, 3: 2}, {7: 1, 2: 2}
    results = [
        entry | {"image_id": to_images[entry["image_id"]], "category_id": to_categories[entry["category_id"]]}
        for entry in perfect(TRUTH)
    ]
    return results, NAMES | {"categories": list(categories)}


def test_images_and_classes_are_matched_by_the_names_beside_the_results(evaluate):
    status, score, text = evaluate(TRUTH, *detected())
    assert (status, score) == (0, pytest.approx(1))
    assert "Images are matched by the file names in" in text
    assert "2 of 2" in text


def test_ids_of_the_annotations_need_no_names(evaluate):
    """As `predict` writes them: the same numbers for the same files, but classes as they were packed."""
    results = [entry | {"category_id": {7: 1, 2: 2}[entry["category_id"]]} for entry in perfect(TRUTH)]
    names = {"images": TRUTH["images"], "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]}
    _, score, text = evaluate(TRUTH, results, names)
    assert score == pytest.approx(1)
    assert "matched by the file names" not in text


def test_names_that_the_annotations_lack_are_left_out_and_said(evaluate):
    results, names = detected([{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "zebra"}])
    names["images"].append({"id": 9, "file_name": "other.png"})
    results += [results[0] | {"image_id": 9}, results[0] | {"category_id": 3}]
    _, score, text = evaluate(TRUTH, results, names)
    assert score == pytest.approx(1)
    assert "2 of 3" in text
    assert "Classes that the annotations lack do not count: zebra." in text


def test_names_of_other_results_are_not_used_and_said(evaluate):
    _, score, text = evaluate(TRUTH, perfect(TRUTH), NAMES)
    assert score == pytest.approx(1)
    assert "images.json is not of these results, which name image 3; it is not used." in text


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (
            [{"id": 1, "file_name": "x/3.png"}, {"id": 2, "file_name": "y/3.png"}],
            "it matches 3.png, as does y/3.png; give longer paths",
        ),
        (
            [{"id": 1, "file_name": "3.png"}, {"id": 2, "file_name": "3.png"}],
            "images 1 and 2, 3.png and 3.png, are both 3.png of",
        ),
        ([{"id": 1, "file_name": "5.png"}, {"id": 2, "file_name": "6.png"}], "none of its 2 images, such as 5.png"),
    ],
)
def test_names_that_do_not_tell_are_refused(evaluate, images, words):
    status, _, text = evaluate(TRUTH, detected()[0], {"images": images})
    assert (status, text.count("\n")) == (1, 1)
    assert words in text


def test_a_score_of_zero_is_explained(evaluate):
    corners = [entry | {"bbox": [90, 60, 3, 3]} for entry in perfect(TRUTH)]
    assert "AP50 is 0: no detection lies on an object of its class." in evaluate(TRUTH, corners)[2]
    many = {**TRUTH, "images": [{**TRUTH["images"][0], "id": n} for n in range(30)]}
    many["annotations"] = [TRUTH["annotations"][0] | {"id": n, "image_id": n} for n in range(30)]
    assert "Only 1 of 30 images with objects have any detection" in evaluate(many, perfect(many)[:1])[2]
    nothing = {**TRUTH, "annotations": []}
    assert "No image has an object to find" in evaluate(nothing, perfect(TRUTH))[2]


def test_sets_that_number_their_classes_differently_agree_by_classes(folder, tmp_path, capsys):
    """As names, in the order of the flag; without it the message asks for it."""
    permuted = copy.deepcopy(TRUTH)
    permuted["categories"] = [{"id": 7, "name": "cat"}, {"id": 2, "name": "dog"}]
    labels = []
    for name, truth in (("train", TRUTH), ("val", permuted)):
        (tmp_path / f"{name}.json").write_text(json.dumps(truth))
        files = folder / "images", tmp_path / f"{name}.json"
        index = write_shards(coco_source(*files, classes=["cat", "dog"]), tmp_path / name)
        labels.append([(category.label, category.name, category.id) for category in index.categories])
    assert labels == [[(1, "cat", 1), (2, "dog", 2)]] * 2
    pack_coco(*files, tmp_path / "flag", classes="cat, dog", workers=1)
    assert "cat 2, dog 2" in capsys.readouterr().out
