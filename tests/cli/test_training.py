"""`fit`, `validate`, `test`, `predict`: the runs themselves, on a few generated scenes."""

import json
import logging

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console

import lightning_rcnn
from lightning_rcnn.cli.training_parser import as_yaml
from lightning_rcnn.data.shards import read_index


@pytest.fixture
def fit(run, shards):
    """Runs `fit` with the tiny configuration and more words, into the folder `run`."""

    def run_fit(*words):
        data = ("--data.train", shards / "train", "--data.val", shards / "val")
        return run("fit", "--config", "tiny.yaml", *data, "--run_dir", "run", *words)

    return run_fit


@pytest.mark.end_to_end
def test_a_run_from_fit_to_validate(fit, run, error_line, workplace, shards):
    """One test, because a run takes seconds: each step uses what the one before has left."""
    assert fit().status == 0
    assert {path.name for path in (workplace / "run" / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}

    # The classes come from the data, and the saved configuration has them.
    categories = read_index(str(shards / "train")).categories
    saved = yaml.safe_load((workplace / "run" / "config.yaml").read_text())
    assert saved["model"]["init_args"]["class_names"] == [category.name for category in categories]
    assert saved["model"]["init_args"]["category_ids"] == [category.id for category in categories]
    assert saved["run_dir"] == "run"
    assert saved["data"]["batch_size"] == 2

    # The checkpoint alone is enough.
    last = workplace / "run" / "checkpoints" / "last.ckpt"
    detector = lightning_rcnn.FasterRCNN.load_from_checkpoint(last)
    assert detector.class_names == [category.name for category in categories]

    # A second run must not overwrite the first one by accident, but the same command with `last` resumes it.
    assert fit().status == 1
    assert fit("--ckpt_path", "last", "--trainer.max_epochs", "2").status == 0
    assert torch.load(last, weights_only=True)["epoch"] == 1

    # Flags rule over the checkpoint in `fit`...
    assert fit("--ckpt_path", "last", "--trainer.max_epochs", "3", "--model.optimizer.lr", "0.5").status == 0
    state = torch.load(last, weights_only=True)
    assert state["epoch"] == 2
    assert state["hyper_parameters"]["optimizer"]["init_args"]["lr"] == 0.5

    # ... and another architecture does not fit.
    words = (
        "fit",
        "--config",
        "tiny.yaml",
        "--data.train",
        shards / "train",
        "--run_dir",
        "run",
        "--ckpt_path",
        "last",
    )
    misfit = "the checkpoint does not fit the model of the configuration: "
    line = error_line(*words, "--trainer.max_epochs", "4", "--model.backbone.name", "resnet34")
    assert line.startswith(f"{misfit}only the model has backbone.body.layer1.2.conv1.weight; ")
    line = error_line(*words, "--trainer.max_epochs", "4", "--model.backbone.channels", "32")
    weight = "backbone.fpn.inner_blocks.0.0.weight"
    assert line.startswith(f"{misfit}{weight} is [16, 64, 1, 1] in the checkpoint and [32, 64, 1, 1] in the model; ")
    assert "--model.weights" in line

    # `validate` needs no configuration, and writes beside the run, not over it.
    before = (workplace / "run" / "config.yaml").read_text()
    quiet = ("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--data.num_workers", "0")
    (workplace / "part.yaml").write_text(
        "model: {init_args: {rpn: {anchors: {rounding: exact}}, box: {nms_iou: 0.4}}}\n"
    )
    own = ("--config", workplace / "part.yaml", "--model.box.score_threshold", "0.9")
    outcome = run("validate", "--ckpt_path", last, "--data.val", shards / "val", *quiet, *own)
    assert outcome.status == 0
    assert "maxDets 100" in outcome.out
    assert "val/bbox/AP" not in outcome.out, "the figures are printed once"
    assert (workplace / "run" / "config.yaml").read_text() == before
    validated = yaml.safe_load((workplace / "run" / "validate" / "config.yaml").read_text())
    init_args = validated["model"]["init_args"]
    assert init_args["backbone"]["init_args"]["name"] == "resnet18"
    assert init_args["backbone"]["init_args"]["channels"] == 16
    box, rpn = init_args["box"]["init_args"], init_args["rpn"]["init_args"]
    assert (box["score_threshold"], box["nms_iou"]) == (0.9, 0.4), "by flag, and by a part of a configuration"
    assert rpn["anchors"]["init_args"]["sizes"] == [32.0, 64.0, 128.0, 256.0, 512.0], "as in the checkpoint"

    # It analyzes errors, and keeps the threshold with the best F1 in the checkpoint, where detections find anything.
    assert (
        "<title>FasterRCNN: validation</title>"
        in (workplace / "run" / "validate" / "report" / "index.html").read_text()
    )
    assert not (workplace / "run" / "report").exists()

    # `predict` writes detections under the ids of the data set.
    assert run("predict", "--ckpt_path", last, "--data.predict", shards / "val", *quiet).status == 0
    results = json.loads((workplace / "run" / "predict" / "results.json").read_text())
    assert {entry["category_id"] for entry in results} <= {category.id for category in categories}
    assert {entry["image_id"] for entry in results} <= set(read_index(str(shards / "val")).shards[0].image_ids)


@pytest.mark.end_to_end
def test_a_first_run_says_that_nothing_is_resumed_or_validated(fit, caplog):
    with caplog.at_level(logging.INFO):
        assert fit("--ckpt_path", "last", "--trainer.limit_train_batches", "1", "--data.val", "null").status == 0
    assert "run has no checkpoint yet: the training starts from scratch." in caplog.messages
    no_validation = "No --data.val: nothing is validated, so there are no metrics to choose best.ckpt by."
    assert no_validation in caplog.messages
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.end_to_end
def test_an_interrupted_training_ends_with_one_line(fit, monkeypatch):
    def press_ctrl_c(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(lightning_rcnn.FasterRCNN, "training_step", press_ctrl_c)
    outcome = fit()
    assert outcome.status == 130
    assert outcome.err.endswith("lightning-rcnn: interrupted\n")


@pytest.mark.end_to_end
def test_fast_dev_run_leaves_no_checkpoint(fit, workplace):
    assert fit("--trainer.fast_dev_run", "1").status == 0
    assert not list(workplace.rglob("*.ckpt"))


@pytest.mark.end_to_end
def test_the_run_folder_is_named_after_the_last_configuration(run, workplace, shards):
    (workplace / "more.yaml").write_text("base: tiny.yaml\n")
    words = ("--data.train", shards / "train", "--trainer.limit_train_batches", "1")
    assert run("fit", "--config", "more.yaml", *words).status == 0
    assert (workplace / "runs" / "more" / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.end_to_end
def test_flags_rule_over_files_wherever_they_stand(run):
    for words in (
        ("--config", "tiny.yaml", "--data.batch_size", "7"),
        ("--data.batch_size=7", "-c", "tiny.yaml"),
    ):
        outcome = run("fit", *words, "--print_config")
        assert outcome.status == 0
        assert yaml.safe_load(outcome.out)["data"]["batch_size"] == 7


@pytest.mark.end_to_end
def test_a_printed_configuration_can_be_read_again(run, workplace):
    printed = run("fit", "--config", "tiny.yaml", "--print_config").out
    (workplace / "printed.yaml").write_text(printed)
    again = run("fit", "--config", "printed.yaml", "--print_config")
    assert yaml.safe_load(again.out) == yaml.safe_load(printed)


@pytest.mark.end_to_end
def test_one_seed_for_everything(run):
    printed = run("fit", "--config", "tiny.yaml", "--seed_everything", "5", "--print_config").out
    assert yaml.safe_load(printed)["seed_everything"] == 5


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_commands_that_need_a_checkpoint_say_so(error_line, command):
    assert error_line(command).startswith(f"{command} needs a checkpoint: give --ckpt_path")


def test_files_that_are_not_checkpoints_are_refused(error_line, workplace):
    (workplace / "best.ckpt").write_text("not a checkpoint")
    (workplace / "plain.ckpt").write_bytes(b"")
    torch.save({"a": 1}, workplace / "plain.ckpt")
    assert error_line("validate", "--ckpt_path", "bset.ckpt").endswith(
        "no checkpoint bset.ckpt; did you mean best.ckpt?"
    )
    line = error_line("validate", "--ckpt_path", "best.ckpt")
    assert line == "best.ckpt: neither a file of torch nor a pickle; give a checkpoint (.ckpt, .pth, .pkl)"
    assert error_line("validate", "--ckpt_path", "plain.ckpt").startswith(
        "plain.ckpt: not a checkpoint of lightning-rcnn"
    )
    assert "no checkpoint run/checkpoints/best.ckpt" in error_line("test", "--ckpt_path", "best", "--run_dir", "run")


@pytest.mark.end_to_end
def test_classes_that_differ_from_the_data_are_refused(error_line, shards):
    words = ("fit", "--config", "tiny.yaml", "--data.train", shards / "train")
    line = error_line(*words, '--model.class_names=["ellipse","rectangle","circle","star"]')
    assert line == (
        f"model.class_names: class 3 is 'circle' for the model, but 'triangle' in {shards / 'train'}; "
        "pack it with --classes ellipse,rectangle,circle,star"
    )
    line = error_line(*words, "--model.class_names=[a]")
    source = shards / "train"
    assert line.startswith(f"model.class_names has 1 entry, but {source} has 4 classes; it has none of the model's")


@pytest.mark.end_to_end
def test_the_configuration_reaches_the_loggers(fit, workplace):
    logger = {"class_path": "CSVLogger", "init_args": {"save_dir": "logs", "name": "csv", "version": ""}}
    assert fit("--trainer.logger", json.dumps(logger), "--trainer.limit_train_batches", "1").status == 0
    (hyperparameters,) = (workplace / "logs").rglob("hparams.yaml")
    content = yaml.safe_load(hyperparameters.read_text())
    assert content["data"]["batch_size"] == 2
    assert content["model"]["class_path"] == "lightning_rcnn.FasterRCNN"


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("is_terminal", "words", "kinds"),
    [
        (True, (), ["TrainingProgress"]),
        (False, (), ["ProgressLines"]),
        (True, ("RichProgressBar",), ["RichProgressBar"]),
        (False, ("RichProgressBar",), ["RichProgressBar"]),
    ],
)
def test_the_progress_bar_is_ours_unless_another_one_is_given(fit, monkeypatch, is_terminal, words, kinds):
    bars = []
    monkeypatch.setattr("rich.get_console", lambda: Console(force_terminal=is_terminal))

    def look(trainer, *_, **__):
        bars.extend(type(callback).__name__ for callback in trainer.callbacks if isinstance(callback, ProgressBar))

    monkeypatch.setattr("lightning.pytorch.Trainer.fit", look)
    given = [word for bar in words for word in ("--trainer.callbacks", bar)]
    fit("--trainer.enable_progress_bar", "true", *given)
    fit()
    assert bars == kinds


@pytest.mark.end_to_end
def test_a_start_that_is_refused_leaves_the_configuration_as_it_is(fit, error_line, workplace, shards, monkeypatch):
    assert fit("--trainer.limit_train_batches", "1", "--data.val", "null").status == 0
    before = (workplace / "run" / "config.yaml").read_text()
    words = (
        "fit",
        "--config",
        "tiny.yaml",
        "--data.train",
        shards / "train",
        "--run_dir",
        "run",
        "--ckpt_path",
        "last",
    )
    more = (*words, "--trainer.max_epochs", "2")
    assert error_line(*more, "--model.schedule.warmup_steps", "1000").startswith("model.schedule: warmup_steps 1000: ")
    assert error_line(*more, "--model.optimizer", "SGD").startswith("the optimizer is SGD, and the checkpoint has")
    logger = "lightning.pytorch.loggers.CometLogger"
    assert error_line(*more, "--trainer.logger", logger).startswith("trainer: a package is missing: ")
    monkeypatch.setenv("WANDB_MODE", "")
    assert error_line(*more, "--trainer.logger", "DetectionWandbLogger").startswith("WANDB_MODE is empty: ")
    assert (workplace / "run" / "config.yaml").read_text() == before


@pytest.mark.end_to_end
@given(st.lists(st.text()))
def test_class_names_of_a_checkpoint_survive_the_parser(names):
    content = {"model": {"init_args": {"class_names": [*names, "\U0001f415 pup"]}}}
    assert yaml.safe_load(as_yaml(content)) == content


@pytest.mark.end_to_end
def test_a_callback_that_refuses_its_settings_is_one_line(error_line, shards):
    data = ("--data.train", shards / "train", "--data.val", shards / "val")
    stopping = ("--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/bbox/AP")
    line = error_line("fit", "--config", "tiny.yaml", *data, *stopping, "--trainer.callbacks.mode", "maxx")
    assert line.endswith(": `mode` can be min, max, got maxx")


@pytest.mark.end_to_end
def test_losses_of_a_validation_stop_a_training_and_come_with_validate(run, workplace, shards):
    """They do not fall by 10, so that the second validation is the last one."""
    data = ("--data.train", shards / "train", "--data.val", shards / "val")
    stopping = ("--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/loss")
    patience = ("--trainer.callbacks.min_delta", "10", "--trainer.callbacks.patience", "1")
    fit = ("fit", "--config", "tiny.yaml", *data, "--run_dir", "run", "--trainer.max_epochs", "4")
    outcome = run(*fit, *stopping, *patience)
    assert outcome.status == 0, outcome.err
    metrics = json.loads((workplace / "run" / "metrics.json").read_text())
    assert metrics["epoch"] == 1
    losses = metrics["losses"]
    assert losses["loss"] == pytest.approx(sum(losses.values()) - losses["loss"])
    validate = ("validate", "--trainer.accelerator", "cpu", *data[2:], "--run_dir", "run", "--ckpt_path", "last")
    assert run(*validate, "--data.num_workers", "0").status == 0
    again = json.loads((workplace / "run" / "validate" / "metrics.json").read_text())
    assert again["losses"] == pytest.approx(losses, rel=1e-5)
    assert run(*validate, "--data.num_workers", "0", "--validation_losses", "false").status == 0
    assert "losses" not in json.loads((workplace / "run" / "validate" / "metrics.json").read_text())
