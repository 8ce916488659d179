"""What W&B and other loggers get of an error analysis, read back from offline records."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import wandb
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from pycocotools import mask as coco_mask

from lightning_rcnn.callbacks import analysis_logging
from lightning_rcnn.callbacks.analysis_report import AnalysisReport
from lightning_rcnn.callbacks.checkpoints import BestCheckpoint
from lightning_rcnn.callbacks.wandb_charts import MAX_CONFUSED, MAX_CURVES, confusion_chart, precision_recall_chart
from lightning_rcnn.callbacks.wandb_logging import DetectionWandbLogger
from lightning_rcnn.callbacks.wandb_tables import MAX_ROWS, class_table, error_table
from lightning_rcnn.evaluation.analysis.collecting import NUM_WORST, AnalysisCollector, analysis_of
from tests.callbacks.conftest import records_of
from tests.callbacks.platelets import NeverPlatelets, make_loader

CHART_TABLES = "Custom Chart Tables/val"


def content(items):
    return {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in items}


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    yield tmp_path / "run"
    wandb.finish()
    wandb.teardown()


@pytest.fixture
def records(offline, make_trainer):
    """Records of a training of two epochs that is analyzed, and of a validation of its best checkpoint."""
    logger = DetectionWandbLogger(save_dir=offline)
    options = {"logger": logger, "max_epochs": 2, "log_every_n_steps": 1}
    trainer = make_trainer(AnalysisReport(in_training=True), BestCheckpoint(), enable_checkpointing=True, **options)
    trainer.fit(NeverPlatelets(), make_loader(), make_loader())
    wandb.finish()
    wandb.teardown()
    [path] = offline.glob("wandb/offline-run-*/*.wandb")
    return list(records_of(path))


@pytest.mark.end_to_end
def test_a_training_logs_tables_charts_and_figures(records, offline):
    """Four images, each with a cell that is found at .8, another seen at .3 in a corner, and a platelet missed."""
    rows = [content(one.history.item) for one in records if one.WhichOneof("record_type") == "history"]
    assert [row["trainer/global_step"] for row in rows] == [1, 3], "one row for each validation"
    for row in rows:
        assert row["val/errors/missed"] == pytest.approx(0.5)
        assert [row[f"val/errors/{kind}"] for kind in ("class", "location", "both", "duplicate")] == [0] * 4
        assert (row["val/f1"], row["val/f1_threshold"]) == pytest.approx((8 / 12, 0.8))
        assert row["val/error_table/nrows"] == 4
        assert row["val/class_table/nrows"] == 2
        assert row[f"{CHART_TABLES}/precision_recall_table/nrows"] == 3 * 101
        assert row[f"{CHART_TABLES}/confusion_table/nrows"] == 9

    summary, config, artifacts = {}, {}, {}
    for record in records:
        kind = record.WhichOneof("record_type")
        if kind == "summary":
            summary |= content(record.summary.update)
        elif kind == "config":
            config |= content(record.config.update)
        elif kind == "artifact":
            files = {one.path: one.local_path for one in record.artifact.manifest.contents}
            artifacts |= {path.partition(".")[0]: files for path in files if path.endswith(".table.json")}
    assert (summary["best/f1"], summary["best/f1_threshold"]) == pytest.approx((8 / 12, 0.8))
    shown = {key: value["panel_config"]["panelDefId"] for key, value in config.items() if "visualize" in key}
    assert shown == {
        "_wandb/visualize/val/precision_recall": "wandb/area-under-curve/v0",
        "_wandb/visualize/val/confusion": "wandb/confusion_matrix/v1",
    }

    files = artifacts["val/error_table"]
    assert all(path.startswith(str(offline)) for path in files.values()), "the run folder has all of a run"
    columns, table = read(files, "val/error_table.table.json")
    assert sorted(row[0] for row in table) == [f"smear {n}.jpg" for n in (1, 2, 3, 4)]
    for row in table:
        one = dict(zip(columns, row, strict=True))
        assert one["kind"] == "missed"
        assert [one[name] for name in ("AP50", "TP", "FP", "FN", "objects")] == pytest.approx([0.5, 1, 0, 1, 2])
        image = one["image"]
        assert Image.open(files[image["path"]]).size == (64, 32)
        truth, found = (image["boxes"][side] for side in SIDES)
        assert [box["box_caption"] for box in truth] == ["cell", "platelet, missed"]
        assert [box["box_caption"] for box in found] == ["cell 0.80 true", "cell 0.30 background"]
        # (10, 5, 30, 25) of an image of 100 x 50, in its 64 x 32 pixels.
        position = found[0]["position"]
        assert [position[side] for side in ("minX", "minY", "maxX", "maxY")] == pytest.approx([6.4, 3.2, 19.2, 16])

    columns, table = read(artifacts["val/class_table"], "val/class_table.table.json")
    platelet, cell = (dict(zip(columns, row, strict=True)) for row in table)
    assert platelet["class"] == "platelet"
    assert platelet["best F1"] is None
    assert [platelet[name] for name in ("lost AP50", "AP", "AP50", "objects")] == [0.5, 0, 0, 4]
    assert [platelet[name] for name in ("TP", "FP", "FN")] == [0, 0, 4]
    assert [cell[name] for name in ("AP", "AP50", "objects", "TP", "FP", "FN")] == pytest.approx([1, 1, 4, 4, 0, 0])
    assert (cell["best F1"], cell["threshold"]) == pytest.approx((1, 0.8))

    _, curve = read(
        artifacts[f"{CHART_TABLES}/precision_recall_table"], f"{CHART_TABLES}/precision_recall_table.table.json"
    )
    assert {(row[0], round(row[2], 9)) for row in curve} == {("platelet", 0), ("cell", 1), ("mean of all classes", 0.5)}
    _, confusion = read(artifacts[f"{CHART_TABLES}/confusion_table"], f"{CHART_TABLES}/confusion_table.table.json")
    assert [row for row in confusion if row[2]] == [["platelet", "missed", 4], ["cell", "cell", 4]]


SIDES = ("ground_truth", "predictions")


def read(files, path):
    table = json.loads(Path(files[path]).read_text())
    return table["columns"], table["data"]


@pytest.mark.end_to_end
def test_validating_the_best_checkpoint_notes_its_f1(offline, make_trainer):
    trainer = make_trainer(BestCheckpoint(), enable_checkpointing=True)
    trainer.fit(NeverPlatelets(), make_loader(), make_loader())
    logger = DetectionWandbLogger(save_dir=offline)
    logger.use_position(epoch=0, step=2)
    trainer = make_trainer(AnalysisReport(), logger=logger)
    trainer.validate(NeverPlatelets(), make_loader(), ckpt_path=offline / "checkpoints" / "best.ckpt", verbose=False)
    summary = dict(logger.experiment.summary)
    assert (summary["best/f1"], summary["best/f1_threshold"]) == pytest.approx((8 / 12, 0.8))


def test_other_loggers_get_the_figures(make_trainer, tmp_path):
    make_trainer(AnalysisReport(), logger=CSVLogger(tmp_path)).test(NeverPlatelets(), make_loader(), verbose=False)
    [path] = tmp_path.rglob("metrics.csv")
    with path.open() as lines:
        [row] = [row for row in csv.DictReader(lines) if row["test/f1"]]
    assert float(row["test/errors/missed"]) == pytest.approx(0.5)
    assert float(row["test/f1_threshold"]) == pytest.approx(0.8)


def test_an_evaluation_outlives_its_loggers(make_trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(analysis_logging, "analysis_figures", lambda _: 1 / 0)
    report = AnalysisReport()
    with pytest.warns(match=r"the analysis is not logged \(ZeroDivisionError"):
        make_trainer(report).validate(NeverPlatelets(), make_loader(), verbose=False)
    assert report.thresholds["score"] == pytest.approx(0.8)


def jpeg(size):
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "JPEG")
    return file.getvalue()


def test_masks_are_over_the_images_of_an_analysis_of_masks(tmp_path):
    """An image of 40 x 20, shown at half its size; the left half is annotated, the upper half detected."""
    left, upper = np.zeros((2, 20, 40), dtype=np.uint8)
    left[:, :20] = upper[:10] = 1
    masks = [coco_mask.encode(np.asfortranarray(one)) for one in (left, upper)]
    masks = [mask | {"counts": mask["counts"].decode()} for mask in masks]
    collector = AnalysisCollector("segm", 100)
    objects = [{"category_id": 2, "segmentation": masks[0], "area": 400.0}]
    collector.add(1, 20, 40, objects, [{"category_id": 1, "segmentation": masks[1], "score": 0.9}])
    collector.worst[1].jpeg = jpeg((20, 10))
    analysis, worst, names = analysis_of([collector.state()], ["cat", "dog"], "segm")
    table = error_table(analysis, worst, names, ["cat", "dog"], tmp_path)
    image = table.data[0][table.columns.index("image")]
    truth, found = (np.asarray(Image.open(image._masks[side]._path)) for side in SIDES)
    assert truth.shape == (10, 20)
    assert (truth == 2).sum() == (truth[:, :10] == 2).sum() == 100
    assert (found == 1).sum() == (found[:5] == 1).sum() == 100
    assert image._boxes["ground_truth"]._val[0]["position"] == {"minX": 0, "minY": 0, "maxX": 10, "maxY": 10}


def test_limits_hold_with_many_classes_and_images(tmp_path):
    """1203 classes, of which each image has one that is found as another; names are shown as they are."""
    class_names = [f"class {number}" for number in range(1, 1203)] + ["<b>" + "x" * 200]
    collector = AnalysisCollector("bbox", 100)
    box = [10.0, 10.0, 20.0, 20.0]
    for number in range(1, MAX_ROWS + 204):
        objects = [{"category_id": number, "bbox": box, "area": 400.0}]
        results = [{"category_id": label, "bbox": box, "score": score} for label, score in ((number, 0.9), (3, 0.95))]
        collector.add(number, 50, 50, objects, results)
    for one in collector.worst.values():
        one.jpeg = jpeg((50, 50))
    analysis, worst, names = analysis_of([collector.state()], class_names, "bbox")
    errors = error_table(analysis, worst, names, class_names, tmp_path)
    assert len(errors.data) == MAX_ROWS
    assert sum(row[1] is not None for row in errors.data) == NUM_WORST
    classes = class_table(analysis, {})
    assert len(classes.data) == 1203
    assert class_names[-1] in classes.get_column("class")
    assert len(precision_recall_chart(analysis).table.data) == (MAX_CURVES + 1) * 101
    assert len(confusion_chart(analysis).table.data) == (MAX_CONFUSED + 1) ** 2


def test_an_evaluation_of_nothing_has_empty_tables(tmp_path):
    collector = AnalysisCollector("bbox", 100)
    collector.add(1, 50, 50, [], [])
    analysis, worst, names = analysis_of([collector.state()], ["cat"], "bbox")
    assert error_table(analysis, worst, names, ["cat"], tmp_path).data == []
    assert [row[:4] for row in class_table(analysis, {"cat": float("nan")}).data] == [["cat", 0.0, None, None]]
    assert precision_recall_chart(analysis) is None
    assert confusion_chart(analysis) is None
    assert "f1" not in analysis_logging.analysis_figures(analysis)
