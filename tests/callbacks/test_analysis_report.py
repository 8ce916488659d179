"""The report of a detector that is known to be wrong, and the thresholds that checkpoints keep."""

import json
import re

import pytest
import torch

from lightning_rcnn.callbacks.analysis_report import AnalysisReport
from lightning_rcnn.callbacks.checkpoints import BestCheckpoint
from lightning_rcnn.detectors.evaluation import Evaluation
from tests.callbacks.platelets import NeverPlatelets, make_loader


@pytest.fixture
def loader():
    return make_loader()


@pytest.fixture
def content(tmp_path):
    """What the page in the run's folder was made of."""

    def read():
        text = (tmp_path / "run" / "report" / "index.html").read_text()
        whole = json.loads(re.search(r'id="content">(.*?)</script>', text, re.DOTALL)[1])
        return {**whole, **whole["parts"][0]}

    return read


def rows_of(table):
    names = [column["name"] for column in table["columns"]]
    return [dict(zip(names, row, strict=False)) for row in table["rows"]]


@pytest.mark.parametrize("command", ["validate", "test"])
def test_a_report_says_what_is_wrong(command, loader, make_trainer, content, capsys):
    report = AnalysisReport()
    getattr(make_trainer(report), command)(NeverPlatelets(), loader, verbose=False)

    first, *_ = content()["findings"]
    assert first == "platelet (4 objects) is never predicted; this costs 50.0 points of AP50."
    assert "platelet (4 objects) is never predicted" in " ".join(capsys.readouterr().out.split())
    platelet, cell = rows_of(content()["tables"]["classes"])
    assert (platelet["name"], platelet["objects"], platelet["found"], platelet["missed"]) == ("platelet", 4, 0, 4)
    assert (cell["name"], cell["objects"], cell["found"], cell["background"]) == ("cell", 4, 4, 0)
    assert report.thresholds == {
        "score": pytest.approx(0.8),
        "f1": pytest.approx(8 / 12),
        "per_class": {"cell": pytest.approx(0.8)},
    }
    assert ["objects with a proposal", "50.0%"] in content()["headline"]

    # The JPEGs are those of the images, without their padding.
    assert sorted(image["name"] for image in content()["gallery"]) == [f"smear {n}.jpg" for n in (1, 2, 3, 4)]
    assert sorted(image["picture"] for image in content()["gallery"]) == [0, 1, 2, 3]
    assert all(source.startswith("data:image/jpeg;base64,") for source in content()["pictures"])
    shapes = content()["gallery"][0]["shapes"]
    assert [shape["kind"] for shape in shapes] == ["object", "object", "true", "background"]
    assert shapes[0]["box"] == [10, 5, 20, 20]


class HalfMasks(NeverPlatelets):
    """As its base, with masks: of each box the left half is detected, and the whole is annotated."""

    def __init__(self):
        super().__init__()
        self.evaluation = Evaluation(self.class_names, 100, "exact")
        self.main_result_type = "segm"

    def add(self, detections, proposals, records):
        masks = torch.zeros(*detections.labels.shape, 28, 28)
        masks[..., :12] = 1
        for annotation in (one for record in records for one in record.annotations):
            left, top, right, bottom = annotation["bbox"]
            annotation["segmentation"] = [[left, top, right, top, right, bottom, left, bottom]]
        self.evaluation.update(detections._replace(masks=masks), proposals, records)


def test_masks_and_boxes_are_both_analyzed(loader, make_trainer, content, tmp_path, capsys):
    """In boxes every cell is right; in masks every cell is misplaced, so no threshold is best."""
    report = AnalysisReport()
    make_trainer(report).validate(HalfMasks(), loader, verbose=False)
    analyses = json.loads((tmp_path / "run" / "report" / "analysis.json").read_text())
    assert list(analyses) == list(report.analyses) == ["segm", "bbox"]
    assert [analyses[kind]["ap50"] for kind in ("segm", "bbox")] == pytest.approx([0, 0.5])
    assert [analyses[kind]["errors"]["location"]["count"] for kind in ("segm", "bbox")] == [4, 0]
    assert report.thresholds == {}, "those of the main type"
    masks, boxes = content()["parts"]
    assert masks["findings"][0].startswith("AP50 is 0.0 points for masks and 50.0 points for boxes")
    assert boxes["findings"][0].startswith("platelet (4 objects) is never predicted")
    assert len(content()["pictures"]) == len(masks["gallery"]) == len(boxes["gallery"]) == 4
    shown = capsys.readouterr().out
    assert shown.index("errors of masks") < shown.index("errors of boxes")
    both = set(masks["findings"]) & set(boxes["findings"])
    assert both
    words = " ".join(shown.split())
    assert [words.count(sentence) for sentence in both] == [1] * len(both), "said once"


def test_no_report_in_training_unless_asked_for(loader, make_trainer, tmp_path):
    report = AnalysisReport()
    make_trainer(report).fit(NeverPlatelets(), loader, loader)
    assert report.analyses == {}
    assert not (tmp_path / "run" / "report").exists()


def test_checkpoints_of_a_training_keep_the_thresholds_of_their_weights(loader, make_trainer, content, tmp_path):
    report = AnalysisReport(in_training=True)
    trainer = make_trainer(report, BestCheckpoint(), enable_checkpointing=True, num_sanity_val_steps=1)
    trainer.fit(NeverPlatelets(), loader, loader)
    kept = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["score_thresholds"]
    assert kept == report.thresholds
    assert len(content()["gallery"]) == 4
    # Beyond the step that was judged they are those of other weights.
    checkpoint = {}
    report._evaluated_step -= 1
    report.on_save_checkpoint(trainer, trainer.lightning_module, checkpoint)
    assert checkpoint == {}


def test_a_training_outlives_its_report(loader, make_trainer, monkeypatch):
    def fail(*_):
        raise ValueError("no ink")

    monkeypatch.setattr("lightning_rcnn.callbacks.analysis_report.report_page", fail)
    with pytest.warns(match=r"no report of this validation \(ValueError: no ink\)"):
        make_trainer(AnalysisReport(in_training=True)).fit(NeverPlatelets(), loader, loader)
    with pytest.raises(ValueError, match="no ink"):
        make_trainer(AnalysisReport()).validate(NeverPlatelets(), loader, verbose=False)
