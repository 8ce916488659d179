import json

import pytest

from lightning_rcnn.callbacks import MetricsReport


@pytest.fixture
def run(scorer, make_loader, make_trainer, tmp_path):
    def run(**options):
        trainer = make_trainer(MetricsReport(), **options)
        trainer.fit(scorer, make_loader([1, 1, 1]), make_loader([1]))
        return trainer, tmp_path / "run"

    return run


def test_each_validation_is_printed_and_written(run, capsys):
    _, folder = run(max_epochs=2)
    content = json.loads((folder / "metrics.json").read_text())
    assert content == {
        "bbox": {
            "AP": 0.25,
            "AP50": 0.5,
            "APs": None,
            "per_class": {"cat": 0.25, "dog": None},
            "max_detections": 300,
            "rules": "COCO",
        },
        "proposals": {"AR@100": 0.75},
        "epoch": 1,
        "step": 6,
    }
    text = capsys.readouterr().out
    assert "validation of epoch 1, step 3" in text
    assert "validation of epoch 2, step 6" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["bbox", ".250", ".500", "-"] in rows
    assert "maxDets 300" in text
    assert [path.name for path in folder.iterdir()] == ["metrics.json"], "something half-written is left"


def test_a_sanity_check_is_no_validation(run, capsys):
    _, folder = run(num_sanity_val_steps=1, limit_train_batches=0)
    assert "validation" not in capsys.readouterr().out
    assert not folder.exists()


def test_a_test_leaves_the_figures_of_the_validation(run, scorer, make_loader, capsys):
    trainer, folder = run()
    before = (folder / "metrics.json").read_text()
    trainer.test(scorer, make_loader([1]), verbose=False)
    assert (folder / "metrics.json").read_text() == before
    content = json.loads((folder / "test_metrics.json").read_text())
    assert (content["bbox"]["AP"], content["epoch"], content["step"]) == (0.25, None, None)


def test_validate_alone_reports_too(scorer, make_loader, make_trainer, tmp_path, capsys):
    make_trainer(MetricsReport()).validate(scorer, make_loader([1]), verbose=False)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epoch"] is None
