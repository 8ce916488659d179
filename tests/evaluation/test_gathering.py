import json
import random
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lightning_rcnn.evaluation.gathering import join_arrays, score_on_rank_zero, split_arrays

SCRIPT = Path(__file__).with_name("rank_metrics.py")


@pytest.fixture
def images(make_record):
    """43 images with 0 to 6 objects of three classes, half of them found, and some false detections."""
    draw = random.Random(4)

    def box():
        x, y = draw.uniform(0, 100), draw.uniform(0, 100)
        return [x, y, x + draw.uniform(10, 100), y + draw.uniform(10, 100)]

    made = []
    for number in range(43):
        objects = [(*box(), draw.randint(1, 3)) for _ in range(draw.randint(0, 6))]
        found = [(*(edge + draw.gauss(0, 3) for edge in o[:4]), o[4], draw.random()) for o in objects[::2]]
        found += [(*box(), draw.randint(1, 3), draw.random()) for _ in range(draw.randint(0, 2))]
        record = make_record(1000 + number, *objects)
        for annotation in record.annotations:
            x1, y1, x2, y2 = annotation["bbox"]
            annotation["segmentation"] = [[x1, y1, x2, y1, x2, y2, x1, y2]]
        made.append({"record": vars(record), "detections": found})
    return made


def figures_of_ranks(shares, folder):
    """What each rank's process computes from its share of the images."""
    (folder / "shares.json").write_text(json.dumps(shares))
    ranks = []
    for rank in range(len(shares)):
        files = [folder / "rendezvous", folder / "shares.json", folder / f"figures_{rank}.json"]
        arguments = [sys.executable, SCRIPT, str(rank), str(len(shares)), *map(str, files)]
        ranks.append(subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True))
    errors = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * len(shares), errors
    return [json.loads((folder / f"figures_{rank}.json").read_text()) for rank in range(len(shares))]


@pytest.mark.parametrize(
    "shares",
    [
        pytest.param([slice(30, None), slice(31)], id="2 ranks", marks=pytest.mark.slow),
        pytest.param([slice(43, 19, -1), slice(0), slice(23)], id="3 ranks, one without images"),
    ],
)
@pytest.mark.end_to_end
def test_figures_do_not_depend_on_the_number_of_ranks(images, tmp_path, shares):
    """Uneven shares in several orders, and images that two ranks hold."""
    expected = runpy.run_path(str(SCRIPT))["figures_of"](images)
    for figures in figures_of_ranks([images[share] for share in shares], tmp_path):
        for kind in ("bbox", "segm", "voc"):
            assert 0.05 < expected[kind]["AP50"] < 0.9
            known = json.dumps(expected[kind])
            assert json.dumps(figures[kind]) == known, "compared as text: some are NaN, which equals nothing"
        assert [one["num_images"] for one in figures["analyses"].values()] == 2 * [len(images)]
        assert figures["analyses"] == json.loads(json.dumps(expected["analyses"]))
        assert figures["proposals"] == pytest.approx(expected["proposals"], abs=1e-12)
        assert "after part 0" in figures["error"], "a rank missed that scoring failed"
        assert figures["ranks"] == list(range(len(shares))), "parts that nobody asked for came with the next question"


def test_one_process_scores_what_it_holds():
    assert score_on_rank_zero("a", lambda parts: {"parts": list(parts)}) == {"parts": ["a"]}


def test_arrays_of_images_come_back_by_image():
    first = {7: (np.arange(3), np.ones((2, 1))), 3: (np.arange(0), np.ones((2, 2)))}
    second = {7: (np.arange(5), np.ones((2, 0)))}
    images = split_arrays([join_arrays(first), join_arrays({}), join_arrays(second)])
    assert {image_id: [array.shape for array in arrays] for image_id, arrays in images.items()} == {
        7: [(5,), (2, 0)],
        3: [(0,), (2, 2)],
    }
    assert images[7][0].tolist() == [0, 1, 2, 3, 4]
