import json
from pathlib import Path

import pytest
from PIL import Image
from pycocotools import mask

from lightning_rcnn.cli import main

DATA = Path(__file__).parents[4] / "shared" / "data" / "coco_eval"
PUBLISHED = {
    "bbox": {"AP": 0.504581, "AP50": 0.696973, "APl": 0.501398, "AR1": 0.386813, "ARs": 0.639811},
    "segm": {"AP": 0.319545, "AP50": 0.562288, "APl": 0.326934, "AR1": 0.268230, "ARs": 0.469450},
}


@pytest.fixture
def files(tmp_path):
    """Two images, two classes with ids 7 and 3; one cat is found, the dog is not."""
    truth = {
        "images": [{"id": 1, "height": 100, "width": 120}, {"id": 2, "height": 100, "width": 120}],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0},
            {"id": 2, "image_id": 2, "category_id": 3, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0},
        ],
    }
    for annotation in truth["annotations"]:
        annotation["segmentation"] = [[10, 10, 50, 10, 50, 50, 10, 50]]
    results = [{"image_id": 1, "category_id": 7, "bbox": [10, 10, 40, 40], "score": 0.9}]
    return truth, results


@pytest.fixture
def evaluate(tmp_path, capsys):
    """Run the command on contents of the two files; return its status, its figures and what it said."""

    def evaluate(truth, results, *options):
        for name, content in (("truth.json", truth), ("results.json", results)):
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / name).write_text(text)
        out = tmp_path / "out.json"
        arguments = ["--annotations", tmp_path / "truth.json", "--results", tmp_path / "results.json", "--json", out]
        status = main(["evaluate", *map(str, arguments), *options])
        captured = capsys.readouterr()
        return status, json.loads(out.read_text()) if out.exists() else None, captured.out + captured.err

    return evaluate


@pytest.mark.realdata
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data in {DATA}")
@pytest.mark.parametrize("result_type", ["bbox", "segm"])
def test_published_figures(result_type, evaluate):
    _, figures, _ = evaluate(
        (DATA / "instances_val2014_100.json").read_text(),
        (DATA / f"instances_val2014_fake{result_type}100_results.json").read_text(),
        f"--type={result_type}",
    )
    for name, value in PUBLISHED[result_type].items():
        assert figures[result_type][name] == pytest.approx(value, abs=1e-6, rel=0)


def test_classes_follow_the_order_of_their_ids(files, evaluate):
    status, figures, text = evaluate(*files)
    assert status == 0
    assert figures["bbox"]["per_class"] == {"dog": 0, "cat": pytest.approx(1)}
    assert list(figures["bbox"]["per_class"]) == ["dog", "cat"]
    assert figures["bbox"]["AP"] == pytest.approx(0.5)
    assert figures["bbox"]["APs"] is None
    assert "2 images" in text
    assert [line.split()[:3] for line in text.splitlines() if line.startswith("bbox  ")] == [["bbox", ".500", ".500"]]


def test_no_results_at_all_are_a_score_of_zero(files, evaluate):
    assert evaluate(files[0], [])[1]["bbox"]["AP"] == 0


@pytest.mark.parametrize(("lowest", "number", "is_told"), [(0.5, 20, True), (0.5, 19, False), (0.1, 20, False)])
def test_scores_that_a_threshold_has_cut_off_are_told(files, evaluate, lowest, number, is_told):
    """AP falls with the detections that are left out, and the user may not know that any were."""
    truth, results = files
    many = [{**results[0], "score": lowest + 0.02 * step} for step in range(number)]
    text = " ".join(evaluate(truth, many)[2].split())
    assert (f"No score is below {lowest}. AP counts detections of every score" in text) == is_told


def test_more_detections_than_coco_counts(files, evaluate):
    truth, results = files
    worse = {**results[0], "bbox": [60, 60, 30, 30], "score": 0.95}
    assert evaluate(truth, [*results, worse], "--max_detections=1")[1]["bbox"]["AP"] == 0
    _, figures, text = evaluate(truth, results, "--max_detections=300")
    assert (figures["bbox"]["AR300"], figures["bbox"]["max_detections"]) == (pytest.approx(0.5), 300)
    assert "AR300" in text
    assert "maxDets 300" in text


def test_a_federated_set_is_scored_by_the_rules_of_lvis(files, evaluate):
    truth, results = files
    results += [{"image_id": 2, "category_id": 7, "bbox": [60, 60, 30, 30], "score": 0.95}]
    assert evaluate(truth, results)[1]["bbox"]["per_class"]["cat"] == pytest.approx(0.5)
    truth["images"][0]["not_exhaustive_category_ids"] = []  # one key of one image is enough
    truth["categories"][0]["frequency"] = "f"
    _, figures, text = evaluate(truth, results)
    assert figures["bbox"]["per_class"] == {"dog": 0, "cat": pytest.approx(1)}
    assert (figures["bbox"]["APf"], figures["bbox"]["APr"]) == (pytest.approx(1), None)
    assert (figures["bbox"]["rules"], figures["bbox"]["AR300"]) == ("LVIS", 0.5)
    assert figures["voc"]["per_class"] == {"dog": 0, "cat": 1}
    assert "LVIS's rules: a class counts in the images that were looked through for it" in " ".join(text.split())
    truth["images"][1]["neg_category_ids"] = [7]
    assert evaluate(truth, results)[1]["bbox"]["per_class"]["cat"] == pytest.approx(0.5)


def test_vocs_figures_stand_beside_cocos(files, evaluate):
    """Found at IoU .75: 30 columns of 40."""
    truth, results = files
    results[0]["bbox"] = [10, 10, 30, 40]
    _, figures, text = evaluate(truth, results)
    assert figures["voc"]["AP50"] == figures["voc"]["AP50_11_point"] == 0.5
    assert figures["voc"]["per_class"] == figures["voc"]["per_class_11_point"] == {"dog": 0, "cat": 1}
    assert "voc AP50 of" in text
    assert evaluate(truth, results, "--voc_iou=0.8")[1]["voc"]["AP80"] == 0
    assert evaluate(truth, results, "--voc_iou=0.75", "--max_detections=1")[1]["voc"]["AP75"] == 0.5


def test_masks_have_no_voc_figures(files, evaluate):
    assert list(evaluate(files[0], [], "--type=segm")[1]) == ["segm", "epoch", "step"]


@pytest.mark.parametrize("key", ["difficult", "ignore"])
def test_difficult_objects_are_left_out_by_voc_alone(files, evaluate, key):
    truth, results = files
    truth["annotations"][1][key] = 1
    _, figures, _ = evaluate(truth, results)
    assert figures["voc"]["per_class"] == {"dog": None, "cat": 1}
    assert figures["bbox"]["per_class"] == {"dog": 0, "cat": pytest.approx(1)}


def test_a_box_beside_a_mask_does_not_decide_on_its_area(files, evaluate):
    """The COCO API would take the area of a result with both from the box, here a large one."""
    truth, results = files
    truth["annotations"][0] |= {"category_id": 3, "iscrowd": 0}
    square = mask.frPyObjects([[60, 60, 70, 60, 70, 70, 60, 70]], 100, 120)[0]
    rle = {"size": [100, 120], "counts": square["counts"].decode()}
    found = mask.frPyObjects(truth["annotations"][0]["segmentation"], 100, 120)[0]
    good = {"image_id": 1, "category_id": 3, "score": 0.5, "bbox": [0, 0, 120, 100]}
    small = {"image_id": 1, "category_id": 3, "score": 0.9, "bbox": [0, 0, 99, 99], "segmentation": rle}
    results = [{**good, "segmentation": {"size": [100, 120], "counts": found["counts"].decode()}}, small]
    figures = evaluate(truth, results, "--type=segm")[1]["segm"]
    assert figures["AP"] == pytest.approx(51 / 101 / 2), "a false one, then one of two"
    assert figures["APm"] == pytest.approx(51 / 101), "the false one is small, and does not count here"


def test_objects_without_a_usable_mask_are_ignored_and_said(files, evaluate):
    """The dog's polygon has two points; what is found in its box does not count, nor is it missed."""
    truth, _ = files
    truth["annotations"][1] |= {"category_id": 7, "segmentation": [[10, 10, 50, 10]]}
    [square] = mask.frPyObjects([[10, 10, 50, 10, 50, 50, 10, 50]], 100, 120)
    rle = {"size": [100, 120], "counts": square["counts"].decode()}
    results = [{"image_id": i, "category_id": 7, "score": i / 10, "segmentation": rle} for i in (1, 2)]
    _, figures, text = evaluate(truth, results, "--type=segm")
    assert figures["segm"]["AP"] == pytest.approx(1)
    assert "1 of 2 objects have no usable mask" in text
    assert "usable mask" not in evaluate(*files, "--type=bbox")[2]


RESULT = {"image_id": 1, "category_id": 7, "bbox": [10, 10, 40, 40], "score": 0.9}


@pytest.mark.parametrize(
    ("results", "options", "message"),
    [
        ("[{", [], "results.json: malformed JSON"),
        ({"annotations": []}, [], "a list of detections is wanted, this is an object"),
        ([RESULT, {**RESULT, "image_id": 5}], [], "result 1: image_id 5 is none of the 2 images"),
        ([{**RESULT, "image_id": [1]}], [], "result 0: image_id [1] is none"),
        ([{**RESULT, "category_id": 1}], [], "category_id 1 is unknown to the annotations (2 categories, ids 3 to 7)"),
        ([RESULT], ["--type=segm"], "result 0 has no segmentation, which type segm needs; try --type bbox"),
        ([{**RESULT, "bbox": [1, 2, 3]}], [], "result 0: bbox [1, 2, 3] is not four numbers"),
        ([{**RESULT, "score": "high"}], [], "result 0: score 'high' is not a number"),
        ('[{"image_id": 1, "category_id": 7, "bbox": [1, 1, 1, 1], "score": NaN}]', [], "score nan is not a number"),
        (["cat"], [], "result 0 is a string, not an object"),
        ([{**RESULT, "segmentation": [[1, 1, 2, 2, 3, 3]]}], ["--type=segm"], "segmentation is not an RLE"),
        (
            [{**RESULT, "segmentation": {"size": [9, 9], "counts": "x"}}],
            ["--type=segm"],
            "is of size [9, 9], the image is 100 x 120",
        ),
        (
            [{**RESULT, "segmentation": {"size": [100, 120], "counts": "0P1"}}],
            ["--type=segm"],
            "segmentation is not an RLE (its runs do not add up to 100 x 120 pixels)",
        ),
        (
            [{**RESULT, "segmentation": {"size": [100, 120], "counts": "é"}}],
            ["--type=segm"],
            "segmentation is not an RLE (",
        ),
        ([RESULT], ["--max_detections=0"], "--max_detections 0: at least 1"),
        ([RESULT], ["--voc_iou=0"], "--voc_iou 0: above 0, at most 1"),
        ([RESULT], ["--voc_iou=50"], "--voc_iou 50: above 0, at most 1"),
    ],
)
def test_wrong_results_are_refused_in_one_line(files, evaluate, results, options, message):
    status, figures, text = evaluate(files[0], results, *options)
    assert (status, figures) == (1, None)
    assert message in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda truth: truth.pop("categories"),
            "truth.json: not COCO annotations, it has no list of objects 'categories'",
        ),
        (lambda truth: truth["images"].clear(), "truth.json: the list of images is empty"),
        (lambda truth: truth["categories"][0].pop("name"), "give it a number or text as id, and a name"),
        (lambda truth: truth["categories"][0].update(id=3), "category id 3 is both 'cat' and 'dog'"),
    ],
)
def test_wrong_annotations_are_refused_in_one_line(files, evaluate, change, message):
    change(files[0])
    status, _, text = evaluate(*files)
    assert status == 1
    assert message in text
    assert text.count("\n") == 1


def test_missing_files_are_named(tmp_path, capsys):
    missing = str(tmp_path / "nowhere.json")
    assert main(["evaluate", "--annotations", missing, "--results", missing]) == 1
    assert "nowhere.json: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"image_id": 9}, "unknown_image x 1, skipped (first: annotation 2 of image 9)"),
        ({"category_id": 9}, "unknown_class x 1, skipped"),
        ({"bbox": None, "segmentation": None}, "missing_box x 1, skipped"),
        ({"bbox": [10, 10, -4, 4], "segmentation": None}, "inverted_box x 1, skipped"),
        ({"bbox": [10, 10, float("nan"), 4], "segmentation": None}, "non_finite_box x 1, skipped"),
    ],
)
@pytest.mark.parametrize("result_type", ["bbox", "segm"])
def test_annotations_that_pack_skips_are_left_out_and_said(files, evaluate, result_type, change, note):
    """The dog is gone, so nothing is missed."""
    truth, results = files
    truth["annotations"][1] |= change
    [square] = mask.frPyObjects([[10, 10, 50, 10, 50, 50, 10, 50]], 100, 120)
    results[0]["segmentation"] = {"size": [100, 120], "counts": square["counts"].decode()}
    status, figures, text = evaluate(truth, results, f"--type={result_type}")
    assert (status, figures[result_type]["AP"]) == (0, pytest.approx(1))
    assert f"truth.json: {note}" in text


@pytest.mark.parametrize("result_type", ["bbox", "segm"])
@pytest.mark.parametrize("area", [{}, {"area": None}, {"area": float("nan")}], ids=["none", "null", "NaN"])
def test_an_area_that_is_not_stated_is_that_of_the_mask(files, evaluate, result_type, area):
    """The box is of middle size, the mask in it is small."""
    truth, _ = files
    del truth["annotations"][0]["area"]
    triangle = [[10, 10, 50, 10, 50, 50]]
    truth["annotations"][0] |= {"segmentation": triangle, **area}
    [rle] = mask.frPyObjects(triangle, 100, 120)
    found = {"size": [100, 120], "counts": rle["counts"].decode()}
    results = [{"image_id": 1, "category_id": 7, "bbox": [10, 10, 40, 40], "segmentation": found, "score": 0.9}]
    _, figures, _ = evaluate(truth, results, f"--type={result_type}")
    assert figures[result_type]["ARs"] == pytest.approx(1)
    assert figures[result_type]["ARm"] == 0, "the dog, whose area is stated"


def test_scores_and_boxes_that_are_none_are_said(files, evaluate):
    truth, [result] = files
    _, figures, text = evaluate(truth, [{**result, "score": 7.5}, {**result, "score": -3, "bbox": [50, 50, -9, 9]}])
    assert figures["bbox"]["AP"] == pytest.approx(0.5)
    assert "Scores run from -3 to 7.5. COCO's and VOC's figures need only their order" in text
    assert "1 detection of negative width or height" in text
    quiet = evaluate(truth, [result])[2]
    assert "Scores run" not in quiet
    assert "negative" not in quiet


def test_nothing_but_crowds_is_said(files, evaluate):
    truth, results = files
    for annotation in truth["annotations"]:
        annotation["iscrowd"] = 1
    status, _, text = evaluate(truth, results)
    assert status == 0
    assert "All objects have iscrowd 1, so there is nothing to score; if they are single objects" in text


def test_errors_are_named_and_a_report_is_written(files, evaluate, tmp_path):
    truth, results = files
    truth["images"][1]["file_name"] = "b.png"
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (120, 100), (200, 10, 10)).save(folder / "b.png")
    (folder / "c.txt").write_text("")
    report = tmp_path / "report"
    status, _, text = evaluate(truth, results, f"--report={report}", f"--images={folder}")
    assert status == 0
    words = " ".join(text.split())
    assert "give --report" not in words
    assert "give --report FOLDER --images FOLDER." in evaluate(truth, results)[2]
    assert "dog (1 object) is never predicted; this costs 50.0 points of AP50." in words
    assert "Best F1 0.667 at a score of 0.900 (precision 1.000, recall 0.500)." in words
    assert f"The report is {report / 'index.html'}." in words
    assert "Blank in the gallery: 1 image; the first: no file of" in words
    page = (report / "index.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert '"name":"b.png"' in page


def test_a_report_that_cannot_be(files, evaluate, tmp_path):
    status, _, text = evaluate(*files, f"--images={tmp_path}")
    assert status == 1
    assert "only a report shows images; give --report FOLDER" in text
    status, _, text = evaluate(*files, f"--report={tmp_path / 'report'}", f"--images={tmp_path / 'none'}")
    assert status == 1
    assert "none: no such folder" in text
