import json
import os
import subprocess
import sys
import time

import pytest
import wandb
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from lightning_rcnn.callbacks import wandb_logging
from lightning_rcnn.callbacks.checkpoints import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint
from lightning_rcnn.callbacks.non_finite import NonFiniteGuard
from lightning_rcnn.callbacks.run_loggers import keep_in_run_folder
from lightning_rcnn.callbacks.wandb_alerts import Alerts, alert
from lightning_rcnn.callbacks.wandb_logging import DetectionWandbLogger
from lightning_rcnn.callbacks.wandb_modes import choose_mode, settings_of
from lightning_rcnn.callbacks.wandb_runs import RUN_ID, keep_run_id, run_id
from lightning_rcnn.errors import InputError
from lightning_rcnn.stop_signals import stop_from_wandb

VARIABLES = (
    "WANDB_API_KEY",
    "WANDB_IDENTITY_TOKEN_FILE",
    "WANDB_MODE",
    "WANDB_PROJECT",
    "WANDB_SERVICE",  # names the service of this process, which another one is to start for itself
)


def end_run():
    wandb.finish()
    wandb.teardown()  # only this waits until the file of an offline run is written


@pytest.fixture(autouse=True)
def no_account(tmp_path, monkeypatch):
    """A machine without any key, and no run left over.

    W&B also keeps a key that it has seen for the rest of the process: tests that bring one have a process of their own.
    """
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "home"))
    yield
    end_run()


def offline_runs(folder):
    return sorted(folder.glob("wandb/offline-run-*/*.wandb"))


def items(updates):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates}


def history(records):
    return [items(record.history.item) for record in records if record.WhichOneof("record_type") == "history"]


def config(records):
    found = {}
    for record in records:
        if record.WhichOneof("record_type") in ("config", "run"):
            part = record.config if record.HasField("config") else record.run.config
            found |= items(part.update)
    return found


@pytest.mark.end_to_end
def test_a_training_without_a_key_is_logged_offline_in_the_run_folder(
    scorer, make_loader, make_trainer, tmp_path, wandb_records
):
    trainer = make_trainer(logger=DetectionWandbLogger())
    keep_in_run_folder(trainer)
    trainer.fit(scorer, make_loader([3.0, 2.0, 1.0, 4.0]), make_loader([1.0]))
    trainer.logger.log_hyperparams({"model": {"class_names": ["cat", "dog"], "depth": 18}})
    end_run()

    folder = tmp_path / "run"
    [path] = offline_runs(folder)
    records = list(wandb_records(path))
    rows = history(records)
    losses = {row["trainer/global_step"]: row["train/loss"] for row in rows if "train/loss" in row}
    assert losses == {1: 2.0, 3: 4.0}  # every second step is logged
    assert [row["val/bbox/AP"] for row in rows if "val/bbox/AP" in row] == [0.25]
    assert config(records)["model"] == {"class_names": ["cat", "dog"], "depth": 18}
    run = next(record.run for record in records if record.WhichOneof("record_type") == "run")
    assert (run.run_id, run.project, run.display_name) == (run_id(folder), "lightning-rcnn", "run")


@pytest.mark.end_to_end
def test_the_id_of_a_run_survives_a_resume(tmp_path, wandb_records):
    for step in range(2):
        logger = DetectionWandbLogger(save_dir=tmp_path)
        logger.log_metrics({"train/loss": 1.0}, step=step)
        assert logger.version == (tmp_path / "wandb_run_id").read_text().strip()
        end_run()
        time.sleep(1)  # W&B names folders by the second

    paths = offline_runs(tmp_path)
    assert [row["trainer/global_step"] for path in paths for row in history(wandb_records(path))] == [0, 1]
    assert {path.stem for path in paths} == {f"run-{run_id(tmp_path)}"}


def test_a_given_id_stays_that_of_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    assert run_id(tmp_path) == "given"
    keep_run_id(tmp_path, "given")
    monkeypatch.setenv("WANDB_RUN_ID", "another")
    assert run_id(tmp_path) == "given"
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    assert run_id(tmp_path) == "another", "W&B takes no other id than the agent's"


def test_an_id_that_is_read_early_does_not_replace_that_of_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    keep_run_id(tmp_path, "before")
    logger = DetectionWandbLogger()
    assert logger.version != "before"
    logger.use_folder(tmp_path)
    assert logger.experiment.id
    assert logger.version == run_id(tmp_path) == "before"


def test_a_stop_on_the_page_of_wandb_reaches_the_training(tmp_path):
    assert DetectionWandbLogger(save_dir=tmp_path).experiment.settings.stop_fn is stop_from_wandb


def test_another_folder_is_another_run(tmp_path):
    ids = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        ids.append(run_id(tmp_path / name))
        keep_run_id(tmp_path / name, ids[-1])
        assert run_id(tmp_path / name) == ids[-1]
    assert len(set(ids)) == 2
    assert not list(tmp_path.glob("*/.*"))


@pytest.mark.end_to_end
def test_a_second_training_of_a_process_does_not_log_into_the_run_of_the_first(tmp_path, wandb_records):
    for number, name in enumerate(("first", "second")):
        DetectionWandbLogger(save_dir=tmp_path / name).log_metrics({"train/loss": 1.0}, step=number)
    end_run()
    for number, name in enumerate(("first", "second")):
        [path] = offline_runs(tmp_path / name)
        assert [row["trainer/global_step"] for row in history(wandb_records(path))] == [number]


def test_a_run_that_the_program_has_open_is_used(tmp_path):
    mine = wandb.init(mode="offline", dir=tmp_path)
    assert DetectionWandbLogger(save_dir=tmp_path / "run").experiment.id == mine.id


def test_checkpoints_of_lightnings_callback_lie_in_one_folder_at_every_start(make_trainer, scorer, tmp_path):
    """It asks for the id of the run while a training is set up, when nothing may be written yet."""
    folders = set()
    for start in range(2):
        logger, callback = DetectionWandbLogger(), ModelCheckpoint()
        trainer = make_trainer(callback, logger=logger, enable_checkpointing=True)
        keep_in_run_folder(trainer)
        callback.setup(trainer, scorer, "fit")
        folders.add(callback.dirpath)
        assert (tmp_path / "run" / RUN_ID).exists() == (start > 0)
        logger.log_metrics({"train/loss": 1.0}, step=start)
        end_run()
    assert folders == {str(tmp_path / "run" / "lightning-rcnn" / run_id(tmp_path / "run") / "checkpoints")}


@pytest.mark.end_to_end
def test_artifacts_wait_for_their_upload_in_the_run_folder(tmp_path, monkeypatch, wandb_records):
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    for name in ("first", "second"):
        DetectionWandbLogger(save_dir=tmp_path / name).log_metrics({"table": wandb.Table(["x"], [[1]])}, step=0)
        end_run()
        [path] = offline_runs(tmp_path / name)
        [file] = [one for record in wandb_records(path) for one in record.artifact.manifest.contents]
        assert file.local_path.startswith(str(tmp_path / name / "wandb"))
    monkeypatch.setenv("WANDB_DATA_DIR", "mine")
    DetectionWandbLogger(save_dir=tmp_path / "third").log_metrics({"x": 1.0}, step=0)
    assert os.environ["WANDB_DATA_DIR"] == "mine"


def test_a_given_folder_wins_over_the_run_folder(make_trainer, tmp_path):
    logger = DetectionWandbLogger(save_dir=tmp_path / "elsewhere")
    keep_in_run_folder(make_trainer(logger=logger))
    assert logger.save_dir == str(tmp_path / "elsewhere")


def test_other_ranks_touch_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = DetectionWandbLogger(save_dir=tmp_path / "run")
    logger.experiment.log({"a": 1})
    logger.log_hyperparams({"a": 1})
    assert not (tmp_path / "run").exists()
    assert wandb.run is None


def test_wandb_mode_decides(monkeypatch):
    monkeypatch.setattr(wandb, "login", lambda **_: pytest.fail("not to be asked"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert choose_mode() == "disabled"


def test_online_without_a_key_is_offline_and_no_question(monkeypatch):
    monkeypatch.setattr(wandb, "login", lambda *, prompt, verify: prompt)
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.warns(UserWarning, match="WANDB_MODE is online, but W&B has no key"):
        assert choose_mode() == "offline"


@pytest.mark.parametrize(("has_key", "mode"), [(True, "online"), (False, "offline")])
def test_a_key_decides_where_wandb_mode_is_silent(has_key, mode, monkeypatch):
    monkeypatch.setattr(wandb, "login", lambda *, prompt, verify: has_key and not prompt and not verify)
    assert choose_mode() == mode


def test_a_logger_may_stay_offline_although_there_is_a_key(tmp_path, monkeypatch, wandb_records):
    monkeypatch.setattr(wandb, "login", lambda **_: True)
    logger = DetectionWandbLogger(save_dir=tmp_path, offline=True, job_type="baseline")
    logger.log_metrics({"train/loss": 1.0}, step=0)
    end_run()
    [path] = offline_runs(tmp_path)
    [run] = [record.run for record in wandb_records(path) if record.WhichOneof("record_type") == "run"]
    assert run.job_type == "baseline"


def test_a_key_that_wandb_refuses_is_no_key(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.warns(UserWarning, match="logs offline"):
        assert choose_mode() == "offline"


@pytest.mark.parametrize(("mode", "silent"), [("online", False), ("offline", True), ("dryrun", True)])
def test_hints_of_wandb_are_not_printed(mode, silent):
    settings = settings_of(mode)
    assert (settings.quiet, settings.silent) == (True, silent)


def in_a_new_process(program, **options):
    imports = "from lightning_rcnn.callbacks import wandb_logging, wandb_modes;"
    return subprocess.run([sys.executable, "-c", imports + program], timeout=120, check=True, **options)


@pytest.mark.slow
def test_a_server_that_does_not_answer_leaves_the_run_offline(tmp_path, wandb_records):
    program = (
        "wandb_modes.INIT_TIMEOUT = 1.0; wandb_logging.choose_mode = lambda: 'online';"
        f"logger = wandb_logging.DetectionWandbLogger(save_dir={str(tmp_path)!r});"
        "logger.log_metrics({'train/loss': 1.0}, step=0)"
    )
    # The port that discards: nobody is there.
    environment = {**os.environ, "WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    done = in_a_new_process(program, env=environment, capture_output=True, text=True)
    assert "W&B does not start in mode online" in done.stderr
    [path] = offline_runs(tmp_path)
    assert history(wandb_records(path))[0]["train/loss"] == 1.0
    assert path.stem == f"run-{run_id(tmp_path)}"


def test_the_training_continues_if_not_even_offline_works(tmp_path, monkeypatch):
    start = wandb.init

    def fail(**arguments):
        if arguments["mode"] != "disabled":
            raise OSError("disk full")
        return start(**arguments)

    monkeypatch.setattr(wandb, "init", fail)
    monkeypatch.setattr(wandb_logging, "choose_mode", lambda: "online")
    logger = DetectionWandbLogger(save_dir=tmp_path)
    with pytest.warns(UserWarning, match="in mode offline: disk full"):
        logger.log_metrics({"train/loss": 1.0}, step=0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.end_to_end
def test_a_terminal_is_not_asked_for_a_key(tmp_path):
    """Standard input and output are a terminal, where W&B itself would ask."""
    import pty

    program = (
        "import sys; assert sys.stdin.isatty() and sys.stdout.isatty();"
        f"wandb_logging.DetectionWandbLogger(save_dir={str(tmp_path)!r}).log_metrics({{'a': 1.0}}, 0)"
    )
    keyboard, terminal = pty.openpty()
    try:
        in_a_new_process(program, stdin=terminal, stdout=terminal, stderr=subprocess.DEVNULL)
    finally:
        os.close(keyboard)
        os.close(terminal)
    assert len(offline_runs(tmp_path)) == 1


BEST = "best epoch-0 latest step-1"


@pytest.mark.parametrize(
    ("log_model", "uploads"),
    [
        (False, []),
        (True, [BEST, "epoch-1 last latest step-3"]),
        # last.ckpt before and after each validation, best.ckpt after the first
        ("all", [BEST, *2 * ["epoch-0 last latest step-1"], *2 * ["epoch-1 last latest step-3"]]),
    ],
)
def test_checkpoints_arrive_as_artifacts(
    scorer, make_loader, make_trainer, tmp_path, wandb_records, log_model, uploads
):
    trainer = make_trainer(
        *(LastCheckpoint(), BestCheckpoint("val/bbox/AP")),
        logger=DetectionWandbLogger(log_model=log_model),
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=True,
        max_epochs=2,
    )
    keep_in_run_folder(trainer)
    trainer.fit(scorer, make_loader([3.0, 2.0]), make_loader([1.0]))
    end_run()
    (path,) = offline_runs(tmp_path / "run")
    artifacts = [r.artifact for r in wandb_records(path) if r.WhichOneof("record_type") == "artifact"]
    aliases = [" ".join(sorted(artifact.aliases)) for artifact in artifacts]
    assert sorted(aliases) == sorted(uploads)
    for artifact in artifacts:
        (entry,) = artifact.manifest.contents
        assert (artifact.type, entry.path) == ("model", "model.ckpt")
        assert entry.size > 0


def alerts(folder, wandb_records):
    end_run()
    (path,) = offline_runs(folder)
    found = [record.alert for record in wandb_records(path) if record.WhichOneof("record_type") == "alert"]
    return [(one.title, one.text) for one in found]


def test_the_end_of_a_training_is_an_alert(scorer, make_loader, make_trainer, tmp_path, wandb_records):
    best = BestCheckpoint("val/bbox/AP")
    options = {"plugins": [AtomicCheckpointIO()], "enable_checkpointing": True}
    trainer = make_trainer(best, Alerts(), logger=DetectionWandbLogger(), **options)
    keep_in_run_folder(trainer)
    trainer.fit(scorer, make_loader([3.0, 2.0]), make_loader([1.0]))
    expected = ("training finished", "after step 2; best val/bbox/AP 0.2500")
    assert alerts(tmp_path / "run", wandb_records) == [expected]


def test_a_loss_that_is_not_finite_is_an_alert(scorer, make_loader, make_trainer, tmp_path, wandb_records):
    trainer = make_trainer(NonFiniteGuard(), Alerts(), logger=DetectionWandbLogger())
    keep_in_run_folder(trainer)
    with pytest.raises(InputError, match="nan"):
        trainer.fit(scorer, make_loader([3.0, float("nan")]))
    [(title, text)] = alerts(tmp_path / "run", wandb_records)
    assert title == "training stopped by an error"
    assert "the training loss is nan at step 2" in text


def test_an_alert_that_fails_stops_nothing(make_trainer, monkeypatch):
    trainer = make_trainer(logger=DetectionWandbLogger())
    keep_in_run_folder(trainer)
    monkeypatch.setattr(wandb.Run, "alert", lambda *_, **__: 1 / 0)
    with pytest.warns(UserWarning, match="takes no alert"):
        alert(trainer, "title", "text")


def test_an_artifact_that_fails_stops_nothing(scorer, make_loader, make_trainer, monkeypatch):
    trainer = make_trainer(
        LastCheckpoint(),
        logger=DetectionWandbLogger(log_model=True),
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=True,
    )
    keep_in_run_folder(trainer)
    monkeypatch.setattr(wandb.Run, "log_artifact", lambda *_, **__: 1 / 0)
    with pytest.warns(UserWarning, match=r"does not take .*last.ckpt as an artifact \(ZeroDivisionError"):
        trainer.fit(scorer, make_loader([3.0]))


WRITER = """
import sys, time
from pathlib import Path
logger = wandb_logging.DetectionWandbLogger(save_dir=sys.argv[1])
for step in range(4):
    logger.log_metrics({"train/loss": float(step)}, step=step)
    while step == 1 and not Path(sys.argv[1], "validated").exists():
        Path(sys.argv[1], "waits").touch()
        time.sleep(0.05)
"""


@pytest.mark.end_to_end
def test_validate_does_not_disturb_a_training_that_still_runs(tmp_path, wandb_records, monkeypatch):
    """Two processes write to one run. Online W&B would let the second overwrite rows of the first: it logs offline."""
    imports = "from lightning_rcnn.callbacks import wandb_logging, wandb_modes;"
    training = subprocess.Popen([sys.executable, "-c", imports + WRITER, str(tmp_path)])
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "waits").exists():
            assert training.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        monkeypatch.setattr(wandb_logging, "choose_mode", lambda: "online")
        logger = DetectionWandbLogger(save_dir=tmp_path)
        logger.use_position(epoch=0, step=1)
        logger.wait_for_training()
        logger.log_metrics({"val/bbox/AP": 0.5}, step=0)
        assert logger.sync_command() == (
            f"wandb sync --id {run_id(tmp_path)} {tmp_path}/wandb/offline-run-*-{run_id(tmp_path)}"
        )
        end_run()
        (tmp_path / "validated").touch()
        assert training.wait(120) == 0
    finally:
        training.kill()
    first, second = [list(wandb_records(path)) for path in offline_runs(tmp_path)]
    assert [row["train/loss"] for row in history(first)] == [0, 1, 2, 3]
    assert [(row["val/bbox/AP"], row["trainer/global_step"]) for row in history(second)] == [(0.5, 0)]
    for records in (first, second):
        [run] = [record.run for record in records if record.WhichOneof("record_type") == "run"]
        assert run.run_id == run_id(tmp_path)
        assert run.resume, "so that `wandb sync` appends"
        assert any(record.WhichOneof("record_type") == "exit" for record in records)
