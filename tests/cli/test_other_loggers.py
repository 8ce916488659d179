"""What a training with a restart, and its `validate`, leave in TensorBoard, CSV and MLflow, beside W&B."""

import csv
import io
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import wandb
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from lightning_rcnn.callbacks.analysis_logging import WANDB_KEYS
from lightning_rcnn.cli import main
from lightning_rcnn.cli.run_loggers import flags_with_our_loggers, with_our_loggers
from tests.cli.conftest import TINY
from tests.cli.test_board import Part

pytestmark = pytest.mark.xdist_group("other loggers")  # one training serves all

LOGGERS = ["CSVLogger", "lightning.pytorch.loggers.TensorBoardLogger", "DetectionWandbLogger"]
WIDTH = "model.init_args.box.init_args.head.init_args.width"
HAS_MLFLOW = find_spec("mlflow") is not None
needs_mlflow = pytest.mark.skipif(not HAS_MLFLOW, reason="needs the extra mlflow")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, shards):
    """The folder of a run of two epochs, restarted for a third, and validated."""
    place = tmp_path_factory.mktemp("loggers")
    (place / "tiny.yaml").write_text(TINY.replace("  logger: false\n", "  log_every_n_steps: 1\n"))
    data = ["--data.train", str(shards / "train"), "--data.val", str(shards / "val")]
    loggers = json.dumps([*LOGGERS, *(["MLFlowLogger"] if HAS_MLFLOW else [])])
    more = ["--run_dir", "run", "--ckpt_path", "last", "--trainer.logger", loggers, "--analysis", "true"]
    fit = ["fit", "--config", "tiny.yaml", *data, *more, "--trainer.max_epochs"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for words in (
            [*fit, "2"],
            [*fit, "3"],
            ["validate", "--run_dir", "run", "--ckpt_path", "last", "--trainer.accelerator", "cpu", *data[2:]],
        ):
            assert main(words) == 0
            wandb.finish()
            wandb.teardown()
    return place / "run"


@pytest.fixture(scope="module")
def of_wandb(folder):
    """(key, step) -> figure, as W&B got them; the last one, where a validation was repeated."""
    rows = [row for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")) for row in Part(path).rows]
    tables = ("Custom Chart Tables/", *(f"val/{key}/" for key in WANDB_KEYS))
    own = ("_", "trainer/", "val/images", "val/report", *tables)  # the step is no figure elsewhere
    return {
        (key, row["trainer/global_step"]): value
        for row in rows
        for key, value in row.items()
        if not key.startswith(own) and isinstance(value, int | float)
    }


def finite(figures):
    return {at: value for at, value in figures.items() if value == value}


@pytest.mark.end_to_end
def test_csv_has_the_figures_of_wandb_in_one_file(folder, of_wandb):
    assert sorted(path.name for path in (folder / "csv").iterdir()) == ["hparams.yaml", "metrics.csv"]
    with (folder / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    figures = {(key, int(row["step"])): float(row[key]) for row in rows for key in row if key != "step" and row[key]}
    assert finite(figures) == pytest.approx(of_wandb)
    assert [int(row["step"]) for row in rows if row["train/loss"]] == list(range(9))
    settings = yaml.safe_load((folder / "csv" / "hparams.yaml").read_text())
    assert settings["data"]["batch_size"] == settings["run"]["global_batch_size"] == 2


@pytest.fixture(scope="module")
def events(folder):
    limits = {"scalars": 0, "images": 0, "tensors": 0}  # all of them
    return EventAccumulator(str(folder / "tensorboard"), size_guidance=limits).Reload()


@pytest.mark.end_to_end
def test_tensorboard_has_the_figures_of_wandb_in_one_folder(events, of_wandb):
    figures = {(tag, one.step): one.value for tag in events.Tags()["scalars"] for one in events.Scalars(tag)}
    assert finite(figures) == pytest.approx(of_wandb)


@pytest.mark.end_to_end
def test_tensorboard_has_each_setting_once_under_its_name(events):
    data = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = HParamsPluginData.FromString(data).session_start_info.hparams
    assert settings[WIDTH].number_value == 16
    assert settings["trainer.max_epochs"].number_value == 2, "of the start: TensorBoard shows the first"
    assert settings["run.data.val.images"].number_value == 3
    assert not {key for key in settings if key.startswith(("backbone", "rpn", "box"))}, "the model's, beside `model`"
    data = events.SummaryMetadata("_hparams_/experiment").plugin_data.content
    assert "val/bbox/AP" in {one.name.tag for one in HParamsPluginData.FromString(data).experiment.metric_infos}


@pytest.mark.end_to_end
def test_tensorboard_has_the_images_at_the_steps_of_the_figures(events):
    tags = events.Tags()["images"]
    assert len(tags) == 3
    for tag in tags:
        assert tag.startswith("val/images/scene-1-")
        images = events.Images(tag)
        assert sorted({one.step for one in images}) == [2, 5, 8]
        with Image.open(io.BytesIO(images[0].encoded_image_string)) as picture:
            assert (picture.format, picture.size) == ("JPEG", (images[0].width, images[0].height))
            assert picture.width > 1.5 * picture.height, "ground truth beside detections"


@pytest.fixture(scope="module")
def mlflow_run(folder):
    """Client and run."""
    from mlflow import MlflowClient

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        client = MlflowClient((folder / "mlruns").as_uri())
        (run,) = client.search_runs([client.get_experiment_by_name("lightning-rcnn").experiment_id])
        yield client, run


@pytest.mark.end_to_end
@needs_mlflow
def test_mlflow_has_the_figures_of_wandb_in_one_run(folder, mlflow_run, of_wandb):
    client, run = mlflow_run
    assert run.info.run_id == (folder / "mlflow_run_id").read_text().strip()
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    history = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
    figures = {(key, one.step): one.value for key, points in history.items() for one in points}
    assert figures == pytest.approx({(key.replace("@", "_"), step): value for (key, step), value in of_wandb.items()})


@pytest.mark.end_to_end
@needs_mlflow
def test_mlflow_has_each_setting_once_and_what_the_restart_changed_as_a_tag(mlflow_run):
    client, run = mlflow_run
    assert run.data.params[WIDTH] == "16"
    assert (run.data.params["trainer.max_epochs"], run.data.tags["trainer.max_epochs"]) == ("2", "3")
    assert {key for key in run.data.tags if not key.startswith("mlflow.")} == {"trainer.max_epochs"}
    settings = json.loads(Path(client.download_artifacts(run.info.run_id, "config.json")).read_text())
    assert settings["model"]["init_args"]["class_names"] == ["ellipse", "rectangle", "triangle", "star"]


@pytest.mark.end_to_end
@needs_mlflow
def test_mlflow_has_images_and_reports_as_artifacts(mlflow_run, folder):
    client, run = mlflow_run
    names = [one.path for one in client.list_artifacts(run.info.run_id, "images") if one.path.endswith(".png")]
    steps = {(name.split("+")[0], int(name.split("+")[2])) for name in names}
    assert {step for _, step in steps} == {2, 5, 8}
    assert len(steps) == 9
    assert all(name.startswith("images/val~images~") for name, _ in steps)
    for report in ("report/index.html", "validate/report/index.html"):
        path = client.download_artifacts(run.info.run_id, report)
        assert Path(path).read_text() == (folder / report).read_text()


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("WandbLogger", "wandb_logging.DetectionWandbLogger"),
        ("lightning.pytorch.loggers.WandbLogger", "wandb_logging.DetectionWandbLogger"),
        ("DetectionWandbLogger", "wandb_logging.DetectionWandbLogger"),
        ("CSVLogger", "csv_logging.DetectionCSVLogger"),
        ("lightning.pytorch.loggers.csv_logs.CSVLogger", "csv_logging.DetectionCSVLogger"),
        ("TensorBoardLogger", "tensorboard_logging.DetectionTensorBoardLogger"),
        ("lightning_rcnn.callbacks.DetectionTensorBoardLogger", "tensorboard_logging.DetectionTensorBoardLogger"),
    ],
)
def test_lightnings_names_are_those_of_ours(given, ours):
    path = f"lightning_rcnn.callbacks.{ours}"
    assert with_our_loggers([{"class_path": given, "init_args": {"name": "a"}}, given, False]) == [
        {"class_path": path, "init_args": {"name": "a"}},
        path,
        False,
    ]
    for flag in ("--trainer.logger", "--trainer.logger.class_path"):
        assert flags_with_our_loggers([flag, given, "--trainer.devices=1"]) == [flag, path, "--trainer.devices=1"]
    assert flags_with_our_loggers([f'--trainer.logger={{"class_path": "{given}"}}']) == [
        f'--trainer.logger={{"class_path": "{path}"}}'
    ]


def test_true_is_tensorboard_where_it_is_installed(monkeypatch):
    path = "lightning_rcnn.callbacks.tensorboard_logging.DetectionTensorBoardLogger"
    assert flags_with_our_loggers(["--trainer.logger=true"]) == [f"--trainer.logger={path}"]
    monkeypatch.setattr("lightning_rcnn.cli.run_loggers.find_spec", lambda _: None)
    assert with_our_loggers(True) == "lightning_rcnn.callbacks.csv_logging.DetectionCSVLogger"


@pytest.mark.parametrize("other", ["my.loggers.CSVLogger", "false", "null", "[CSV"])
def test_other_loggers_stay_as_they_are(other):
    assert flags_with_our_loggers(["--trainer.logger", other]) == ["--trainer.logger", other]


@pytest.mark.parametrize("in_file", ["", "  logger: {class_path: WandbLogger}\n"], ids=["the default", "of a file"])
def test_a_misspelled_option_of_a_logger_is_named(error_line, workplace, in_file):
    tiny = (workplace / "tiny.yaml").read_text()
    (workplace / "logged.yaml").write_text(tiny.replace("  logger: false\n", in_file))
    expected = "--trainer.logger.projct: no such option; did you mean --trainer.logger.project?"
    assert error_line("fit", "--config", "logged.yaml", "--trainer.logger.projct", "cells") == expected


@pytest.mark.end_to_end
@pytest.mark.parametrize(("name", "package"), [("TensorBoardLogger", "tensorboard"), ("MLFlowLogger", "mlflow")])
def test_a_missing_package_is_one_line_before_any_work(error_line, workplace, monkeypatch, name, package):
    monkeypatch.setattr("lightning_rcnn.errors.find_spec", lambda _: None)
    expected = (
        f"trainer.logger {name}: the package {package} is missing; install it with pip install "
        f"'lightning-rcnn[{package}]'"
    )
    words = ("fit", "--config", "tiny.yaml", "--data.train", "nowhere")
    assert error_line(*words, "--trainer.logger", name) == expected
    (workplace / "logger.yaml").write_text(f"trainer:\n  logger: [CSVLogger, {{class_path: {name}}}]\n")
    assert error_line(*words, "--config", "logger.yaml") == expected
    assert not (workplace / "runs").exists()
