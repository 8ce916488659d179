"""The report of a detector that is known to be wrong, and the thresholds that checkpoints keep."""

import json
import re

import pytest
import torch
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader

from lightning_rcnn.callbacks.analysis_report import AnalysisReport
from lightning_rcnn.callbacks.checkpoints import BestCheckpoint
from lightning_rcnn.detectors.evaluation import Evaluation
from lightning_rcnn.structures import NO_IMAGE, Batch, Detections, ImageRecord, Proposals

SIDE = 64
CELL, PLATELET = 1, 2


class NeverPlatelets(LightningModule):
    """Finds every cell with a score of .8, sees one with .3 in each corner, and never finds a platelet."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.class_names = ["cell", "platelet"]
        self.evaluation = Evaluation(self.class_names, 100, None)
        self.main_result_type = "bbox"
        self.last_metrics = {}

    def training_step(self, batch, batch_idx):
        return self.weight * 0

    def validation_step(self, batch, batch_idx):
        rows = []
        for record in batch.records:
            cells = [(*one["bbox"], 0.8, CELL) for one in record.annotations if one["label"] == CELL]
            rows.append([*cells, (90, 40, 99, 49, 0.3, CELL)] if cells else 2 * [(0, 0, 0, 0, 0, -1)])
        table = torch.tensor(rows, dtype=torch.float32)
        detections = Detections(table[..., :4], table[..., 4], table[..., 5].long())
        proposals = Proposals(detections.boxes, detections.scores, detections.labels > 0)
        self.evaluation.update(detections, proposals, batch.records)
        return detections

    test_step = validation_step

    def on_validation_epoch_end(self):
        self.last_metrics = self.evaluation.compute()
        self.log("val/bbox/AP", self.last_metrics["bbox"]["AP"])

    on_test_epoch_end = on_validation_epoch_end

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def record_of(number):
    boxes = [([10, 5, 30, 25], CELL), ([50, 30, 58, 38], PLATELET)]
    annotations = [
        {"id": 10 * number + k, "bbox": box, "label": label, "iscrowd": 0, "difficult": 0, "area": 64.0}
        for k, (box, label) in enumerate(boxes)
    ]
    return ImageRecord(number, f"smear {number}.jpg", 50, 100, annotations)


@pytest.fixture
def loader():
    """Four images in batches with an empty slot."""
    batches = []
    for number in (1, 3):
        records = (record_of(number), record_of(number + 1), ImageRecord(NO_IMAGE, "", 0, 0))
        ids = torch.tensor([record.image_id for record in records])
        sizes = torch.tensor([[32, 64], [32, 64], [0, 0]])
        batches.append(Batch(torch.full((3, 3, SIDE, SIDE), 99, dtype=torch.uint8), sizes, ids, None, records))
    return DataLoader(batches, batch_size=None)


@pytest.fixture
def content(tmp_path):
    """What the page in the run's folder was made of."""

    def read():
        text = (tmp_path / "run" / "report" / "index.html").read_text()
        return json.loads(re.search(r'id="content">(.*?)</script>', text, re.DOTALL)[1])

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
    assert ["objects with a proposal", "50.0 %"] in content()["headline"]

    # The pictures are those of the images, without their padding.
    assert sorted(image["name"] for image in content()["gallery"]) == [f"smear {n}.jpg" for n in (1, 2, 3, 4)]
    assert all(image["picture"].startswith("data:image/jpeg;base64,") for image in content()["gallery"])
    shapes = content()["gallery"][0]["shapes"]
    assert [shape["kind"] for shape in shapes] == ["object", "object", "true", "background"]
    assert shapes[0]["box"] == [10, 5, 20, 20]


def test_no_report_in_training_unless_asked_for(loader, make_trainer, tmp_path):
    report = AnalysisReport()
    make_trainer(report).fit(NeverPlatelets(), loader, loader)
    assert report.analysis is None
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
