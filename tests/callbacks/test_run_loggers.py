"""Loggers beside W&B: where they write, and that their errors end no training."""

import csv
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from lightning_rcnn.callbacks import mlflow_logging
from lightning_rcnn.callbacks.checkpoints import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint
from lightning_rcnn.callbacks.csv_logging import DetectionCSVLogger
from lightning_rcnn.callbacks.flat_settings import flat_settings
from lightning_rcnn.callbacks.image_logging import image_sink, image_sinks, send_report_to_each
from lightning_rcnn.callbacks.mlflow_logging import DetectionMLFlowLogger
from lightning_rcnn.callbacks.mlflow_names import name_of
from lightning_rcnn.callbacks.run_loggers import keep_in_run_folder
from lightning_rcnn.callbacks.tensorboard_logging import DetectionTensorBoardLogger
from lightning_rcnn.callbacks.wandb_alerts import Alerts
from lightning_rcnn.callbacks.wandb_images import ShownImage
from lightning_rcnn.callbacks.wandb_logging import DetectionWandbLogger
from lightning_rcnn.errors import InputError

needs_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="needs the extra mlflow")
LOCAL = (DetectionCSVLogger, DetectionTensorBoardLogger)
ALL = [*LOCAL, pytest.param(DetectionMLFlowLogger, marks=needs_mlflow)]


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in mlflow_logging.ENVIRONMENT:
        monkeypatch.setenv(name, "0" if name.endswith("RETRIES") else "true" if name.endswith("STORE") else "5")


@pytest.fixture
def client(tmp_path):
    from mlflow import MlflowClient

    return MlflowClient((tmp_path / "run" / "mlruns").as_uri())


@pytest.mark.parametrize("kind", ALL)
def test_a_logger_starts_when_it_is_used(kind, tmp_path):
    logger = kind()
    logger.use_folder(tmp_path / "run")
    assert hasattr(logger, "experiment")
    logger.finalize("failed")
    assert not (tmp_path / "run").exists()
    logger.log_metrics({"x": 1.0}, step=0)
    logger.save()
    assert (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "use", [lambda it: it.log_dir, lambda it: setattr(it, "name_", 1), lambda it: isinstance(it, int)]
)
def test_what_is_used_of_an_experiment_reaches_the_real_one(use, tmp_path):
    logger = DetectionCSVLogger()
    logger.use_folder(tmp_path / "run")
    stand_in = logger.experiment
    use(stand_in)
    assert logger.experiment is not stand_in
    assert vars(logger.experiment).get("name_") == getattr(stand_in, "name_", None)
    assert isinstance(stand_in, type(logger.experiment))


class AtSetup(Callback):
    """Logs a figure while Lightning sets up a training, and perhaps refuses it."""

    def __init__(self, figure=None, error=None):
        self.figure, self.error = figure, error

    def setup(self, trainer, pl_module, stage):
        if self.figure is not None:
            trainer.logger.log_metrics({self.figure: 1.0}, step=0)
        if self.error is not None:
            raise self.error


def test_a_refused_training_starts_no_logger(scorer, make_loader, make_trainer, tmp_path):
    loggers = [kind() for kind in (*LOCAL, DetectionWandbLogger)]
    trainer = make_trainer(Alerts(), AtSetup(error=InputError("refused")), logger=loggers)
    keep_in_run_folder(trainer)
    with pytest.raises(InputError, match="refused"):
        trainer.fit(scorer, make_loader([3.0]))
    assert not (tmp_path / "run").exists()


def test_what_a_callback_logs_at_its_setup_is_logged(scorer, make_loader, make_trainer, tmp_path):
    trainer = make_trainer(AtSetup(figure="mine"), logger=DetectionCSVLogger())
    keep_in_run_folder(trainer)
    trainer.fit(scorer, make_loader([3.0]))
    with (tmp_path / "run" / "csv" / "metrics.csv").open() as file:
        assert next(csv.DictReader(file))["mine"] == "1.0"


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ({}, "run/{}"),
        ({"save_dir": "all"}, "all/run"),
        ({"save_dir": "all", "name": "mine"}, "all/mine"),
        ({"save_dir": "all", "name": "", "version": ""}, "all"),
        ({"save_dir": "all", "version": 3}, "all/run/version_3"),
    ],
)
@pytest.mark.parametrize("kind", LOCAL)
def test_where_files_lie(kind, options, folder, make_trainer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logger = kind(**options)
    keep_in_run_folder(make_trainer(logger=logger), tmp_path / "run")
    logger.log_metrics({"train/loss": 1.0}, step=0)
    logger.save()
    expected = tmp_path / folder.format(kind.subfolder)
    assert [path for path in expected.iterdir() if path.is_file()]


@pytest.mark.parametrize("kind", ALL)
def test_other_ranks_touch_nothing(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    monkeypatch.chdir(tmp_path)
    logger = kind()
    logger.log_metrics({"a": 1.0}, step=0)
    logger.log_hyperparams({"a": 1})
    logger.save()
    logger.finalize("success")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ALL)
def test_a_folder_that_cannot_be_written_ends_no_training(kind, scorer, make_loader, make_trainer, tmp_path):
    (tmp_path / "a file").write_text("in the way")
    logger = kind(save_dir=tmp_path / "a file")
    trainer = make_trainer(logger=logger)
    keep_in_run_folder(trainer)
    with pytest.warns(UserWarning, match=rf"{kind.__name__}: _start failed \(\w+: "):
        trainer.fit(scorer, make_loader([3.0, 2.0]), make_loader([1.0]))
    for log_images in image_sinks([logger]):
        log_images("val/images", [], [], 1)
    assert trainer.global_step == 2


@needs_mlflow
def test_a_server_that_does_not_answer_ends_no_training(scorer, make_loader, make_trainer, tmp_path):
    trainer = make_trainer(logger=DetectionMLFlowLogger(tracking_uri="http://127.0.0.1:9"))
    keep_in_run_folder(trainer)
    with pytest.warns(UserWarning, match="DetectionMLFlowLogger: _start failed"):
        trainer.fit(scorer, make_loader([3.0, 2.0]))
    assert trainer.global_step == 2
    assert not (tmp_path / "run" / "mlflow_run_id").exists()


@pytest.mark.parametrize(
    ("kind", "method", "call"),
    [
        (DetectionCSVLogger, "lightning.pytorch.loggers.CSVLogger.log_metrics", ("log_metrics", {"a": 1.0}, 0)),
        (DetectionTensorBoardLogger, "torch.utils.tensorboard.SummaryWriter.flush", ("save",)),
    ],
)
def test_an_error_is_a_warning(kind, method, call, monkeypatch, tmp_path):
    logger = kind(save_dir=tmp_path)
    monkeypatch.setattr(method, lambda *_, **__: 1 / 0)
    with pytest.warns(UserWarning, match=f"{kind.__name__}: {call[0]} failed \\(ZeroDivisionError"):
        getattr(logger, call[0])(*call[1:])


def test_an_error_of_one_logger_leaves_the_images_of_the_others(tmp_path, monkeypatch):
    sent = []

    def fail(writer, tag, *_):
        sent.append(tag)
        raise OSError("disk full")

    monkeypatch.setattr("lightning_rcnn.callbacks.image_logging.add_picture", fail)
    image = ShownImage("a.jpg", None, None, None, None, None)
    sinks = image_sinks([TensorBoardLogger(tmp_path), CSVLogger(tmp_path), DetectionTensorBoardLogger(tmp_path)])
    for log_images in sinks:
        with pytest.warns(UserWarning, match=r"TensorBoardLogger: the images .* not logged \(OSError: disk full\)"):
            log_images("val/images", [image], ["cat"], 1)
    assert sent == ["val/images/a.jpg"] * 2


def test_loggers_without_images_and_reports_take_none(tmp_path):
    assert image_sink(CSVLogger(tmp_path)) is None
    send_report_to_each([CSVLogger(tmp_path), DetectionTensorBoardLogger()], tmp_path / "index.html")
    assert not list(tmp_path.iterdir())


@needs_mlflow
def test_a_run_that_its_server_has_lost_begins_again(tmp_path):
    (tmp_path / "mlflow_run_id").write_text("0123456789abcdef0123456789abcdef\n")
    logger = DetectionMLFlowLogger()
    logger.use_folder(tmp_path)
    with pytest.warns(UserWarning, match="MLflow has no run 0123456789abcdef"):
        logger.log_metrics({"a": 1.0}, step=0)
    assert (tmp_path / "mlflow_run_id").read_text().strip() == logger.run_id != "0123456789abcdef0123456789abcdef"


@needs_mlflow
def test_a_run_that_a_signal_stops_is_killed_until_it_resumes(tmp_path, client, monkeypatch):
    monkeypatch.setattr(mlflow_logging, "received", lambda: "USR1")
    for number in range(2):
        logger = DetectionMLFlowLogger()
        logger.use_folder(tmp_path / "run")
        logger.log_metrics({f"a{number}": 1.0, "b": float("nan")}, step=0)
        assert client.get_run(logger.run_id).info.status == "RUNNING"
        logger.finalize("failed")
        run = client.get_run(logger.run_id)
        assert run.info.status == "KILLED"
    assert set(run.data.metrics) == {"a0", "a1"}


@needs_mlflow
def test_checkpoints_arrive_as_mlflow_artifacts(scorer, make_loader, make_trainer, client):
    logger = DetectionMLFlowLogger(log_model=True, run_name="named", tags={"team": "x"})
    callbacks = (LastCheckpoint(), BestCheckpoint("val/bbox/AP"))
    trainer = make_trainer(*callbacks, logger=logger, plugins=[AtomicCheckpointIO()], enable_checkpointing=True)
    keep_in_run_folder(trainer)
    trainer.fit(scorer, make_loader([3.0]), make_loader([1.0]))
    run = client.get_run(logger.run_id)
    assert (run.info.run_name, run.data.tags["team"]) == ("named", "x")
    paths = {one.path for one in client.list_artifacts(logger.run_id, "checkpoints")}
    assert paths == {"checkpoints/best.ckpt", "checkpoints/last.ckpt"}


@needs_mlflow
@given(st.text(min_size=1))
def test_mlflow_takes_the_figures_of_any_class(name):
    from mlflow.utils.validation import _validate_metric_name

    _validate_metric_name(name_of(f"val/bbox/per_class/{name}"))
    _validate_metric_name(name_of(name))


ODD_NAMES = [
    *(
        "a",
        "a/b",
        "a/c",
        "a*",
        "a?",
        "a_",
        "A b",
        "<b>",
        "b>x_/b",
        "..",
        ".",
        "/abs",
        "a/../b",
        "a:b",
        "a\nb",
        "\ud800",
    ),
    *("x" * 200, "x" * 200 + "y", "x" * 200 + "z", "\u65e5" * 120, "\u65e5" * 121, "\u00e9" * 200),
]


@needs_mlflow
def test_each_class_has_a_figure_of_its_own_in_mlflow(tmp_path, client):
    """Names that MLflow refuses, that become the same, that are folder and figure, and longer than a file's name."""
    figures = {f"val/voc/per_class_11_point/{name}": number / 100 for number, name in enumerate(ODD_NAMES)}
    logger = DetectionMLFlowLogger()
    logger.use_folder(tmp_path / "run")
    logger.log_metrics({**figures, "val/proposals/AR@100": 0.5, "val/bbox/AP": 0.25}, step=1)
    logged = client.get_run(logger.run_id).data.metrics
    assert (logged.pop("val/proposals/AR_100"), logged.pop("val/bbox/AP")) == (0.5, 0.25)
    assert logged == {name_of(key): value for key, value in figures.items()}
    assert len(logged) == len(ODD_NAMES)
    assert logged["val/voc/per_class_11_point/A b"] == 0.06, "names that MLflow takes stay"


@pytest.mark.parametrize("kind", LOCAL)
def test_files_take_the_figures_of_any_class(kind, tmp_path):
    logger = kind(save_dir=tmp_path, name="run")
    names = [name for name in ODD_NAMES if name.isprintable()]
    figures = {f"val/bbox/per_class/{name}": number / 100 for number, name in enumerate(names)}
    logger.log_metrics(figures, step=1)
    logger.save()
    logger.finalize("success")
    if kind is DetectionCSVLogger:
        with (tmp_path / "run" / "metrics.csv").open() as file:
            [row] = csv.DictReader(file)
        logged = {key: float(value) for key, value in row.items() if key != "step"}
    else:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / "run")).Reload()
        logged = {key: events.Scalars(key)[0].value for key in events.Tags()["scalars"]}
    assert logged == pytest.approx(figures)


def test_settings_in_one_level():
    settings = {
        "model": {"lr": 0.1, "names": ["cat", "dog"], "none": None, "empty": {}},
        "callbacks": [{"class_path": "EMA"}, {"class_path": "Timer"}],
    }
    assert flat_settings(settings) == {
        "model.lr": 0.1,
        "model.names": '["cat", "dog"]',
        "model.none": "null",
        "model.empty": "{}",
        "callbacks.0.class_path": "EMA",
        "callbacks.1.class_path": "Timer",
    }
