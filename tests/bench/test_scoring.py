import json

import pytest

from lightning_rcnn.bench.scoring import ScoringWorkload, scorers
from lightning_rcnn.bench.scoring_ranks import wait_for_figures
from lightning_rcnn.cli.commands.bench_evaluate import evaluate
from lightning_rcnn.errors import InputError


@pytest.mark.parametrize("result_type", ["bbox", "segm"])
def test_the_libraries_agree_on_a_set_that_tells_them_apart(result_type):
    workload = ScoringWorkload(result_type, images=12, classes=3, objects=4, detections=120)
    theirs, ours = scorers(workload).values()
    figures = ours()
    assert figures == pytest.approx(theirs(), abs=1e-9, rel=0, nan_ok=True)
    assert 0.05 < figures["AP"] < figures["AP50"] < 0.9
    assert "AR120" in figures
    assert ours() == pytest.approx(figures, nan_ok=True), "a turn leaves the set as it was"


@pytest.mark.end_to_end
def test_report_and_table(tmp_path, capsys):
    evaluate(images=5, classes=2, repeats=2, json=tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert [result["library"] for result in report["results"]] == ["pycocotools", "lightning-rcnn"]
    assert [len(result["core_seconds"]) for result in report["results"]] == [2, 2]
    assert report["largest_difference"] < 1e-9
    assert report["ranks"] == []
    shown = capsys.readouterr().out
    assert "5 x 30 detections, 7 objects an image, 2 classes, bbox" in shown
    assert f"{report['results'][0]['figures']['AP']:.4f}" in shown


@pytest.mark.slow  # processes that import everything
def test_ranks_wait_for_their_figures():
    waits = wait_for_figures(ScoringWorkload(images=20), num_ranks=2)
    assert [0 < wait.seconds < 30 for wait in waits] == [True, True]


def test_impossible_options_are_named():
    with pytest.raises(InputError, match="--images 0"):
        evaluate(images=0)
    with pytest.raises(InputError, match="--ranks"):
        evaluate(type="segm", ranks=2)
