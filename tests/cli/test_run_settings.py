"""A run folder belongs to one training: a finished one, one that resumes, one that another process writes."""

import json
import logging
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from lightning_rcnn.cli import run_lock
from lightning_rcnn.cli.run_lock import LOCK, hold_for, is_held
from lightning_rcnn.cli.run_settings import differences
from lightning_rcnn.errors import InputError
from lightning_rcnn.precision import device_precision

ARRAY = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}
FORK = multiprocessing.get_context("fork")


def hold(folder, is_held):
    file = hold_for(folder, [])
    is_held.set()
    time.sleep(60)
    file.close()


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder `tmp_path`."""
    is_held = FORK.Event()
    process = FORK.Process(target=hold, args=(tmp_path, is_held))
    process.start()
    assert is_held.wait(30)
    yield process
    process.kill()
    process.join()


@pytest.fixture
def array(monkeypatch):
    for name, value in ARRAY.items():
        monkeypatch.setenv(name, value)


@pytest.mark.end_to_end
def test_a_finished_run(run, error_line, workplace, shards, caplog):
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
    words = (*words, "--trainer.limit_train_batches", "1")
    assert run(*words).status == 0
    path = workplace / "run" / "config.yaml"
    before, written = path.read_text(), path.stat().st_mtime_ns

    free = ("--data.num_workers", "1", "--data.loading.multiprocessing_context", "fork")
    free = (*free, "--data.fetching.attempts", "2")
    free = (*free, "--trainer.log_every_n_steps", "1", "--trainer.callbacks", "RichProgressBar")
    free = (*free, "--trainer.precision", device_precision("cpu").precision)  # what "auto" has been
    for more in ((), free):
        with caplog.at_level(logging.INFO):
            caplog.clear()
            assert run(*words, *more).status == 0
        assert caplog.messages[1:] == [  # after the seed
            "run is finished; raise --trainer.max_epochs or max_steps to resume it."
        ]
    line = error_line(*words, "--model.optimizer.lr", "0.5", "--data.batch_size", "1")
    assert line.startswith(
        "run is a finished training with other settings: model.init_args.optimizer.init_args.lr 0.0001 -> 0.5, "
        "data.batch_size 2 -> 1; name another folder with --run_dir"
    )
    assert (path.read_text(), path.stat().st_mtime_ns) == (before, written)

    with caplog.at_level(logging.INFO):
        assert run(*words, "--trainer.max_epochs", "2", "--model.optimizer.weight_decay", "0").status == 0
    change = "model.init_args.optimizer.init_args.weight_decay 0.0001 -> 0.0"
    assert f"run resumes with changed settings: {change}." in caplog.messages


def test_what_stays_the_same_training(tmp_path):
    (tmp_path / "config.yaml").write_text("trainer: {max_epochs: 1, precision: 32}\ndata: {train: a}\nrun_dir: x\n")
    same = {"trainer": {"max_epochs": 3, "devices": 2, "precision": 32, "logger": {"a": 1}}, "data": {"train": "a"}}
    assert differences(tmp_path, same) == []
    assert differences(tmp_path, {**same, "data": {"train": "b", "loading": {"init_args": {"shuffle_window": 8}}}}) == [
        "data.train a -> b",
        "data.loading.init_args.shuffle_window None -> 8",
    ]
    assert differences(tmp_path / "nowhere", same) == []


def test_a_folder_that_another_process_holds_is_refused(tmp_path, holder):
    with pytest.raises(InputError, match=rf"writes there \(process {holder.pid} on .*\): give this one"):
        hold_for(tmp_path, [])
    assert is_held(tmp_path)
    holder.kill()  # as `kill -9`
    holder.join()
    assert not is_held(tmp_path)
    assert not is_held(tmp_path / "nowhere")
    hold_for(tmp_path, []).close()


def test_a_lock_that_its_holder_removes_meanwhile_is_taken_in_its_new_file(tmp_path, monkeypatch):
    """A start that was refused removes its lock, which another one may have opened by then."""
    lockf, removed = run_lock.fcntl.lockf, []

    def lock_what_was_removed(file, how):
        if not removed:
            removed.append((tmp_path / LOCK).unlink())
        lockf(file, how)

    monkeypatch.setattr(run_lock.fcntl, "lockf", lock_what_was_removed)
    with hold_for(tmp_path, []) as file:
        assert os.path.samestat(os.fstat(file.fileno()), (tmp_path / LOCK).stat())


def test_a_folder_that_its_holder_removes_meanwhile_is_made_again(tmp_path, monkeypatch):
    folder, mkdir, removed = tmp_path / "run", Path.mkdir, []

    def make_what_is_removed(path, **options):
        mkdir(path, **options)
        if not removed:
            removed.append(path.rmdir())

    monkeypatch.setattr(Path, "mkdir", make_what_is_removed)
    hold_for(folder, []).close()
    assert (folder / LOCK).exists()


def test_a_job_that_starts_again_waits_for_its_former_start(tmp_path, holder, array, monkeypatch):
    (tmp_path / LOCK).write_text(json.dumps({"job": "7_0", "array": "7", "task": "0"}))
    monkeypatch.setattr(run_lock.time, "sleep", lambda _: (holder.kill(), holder.join()))
    hold_for(tmp_path, []).close()


def test_tasks_of_an_array_with_other_settings_do_not_meet(tmp_path, array, monkeypatch):
    hold_for(tmp_path, []).close()
    hold_for(tmp_path, ["model.init_args.optimizer.init_args.lr 1 -> 2"]).close()  # the same task starts again
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    with pytest.raises(InputError, match=r"the run of task 0 of this job array, with other .* give each task"):
        hold_for(tmp_path, ["model.init_args.optimizer.init_args.lr 1 -> 2"])
    hold_for(tmp_path, []).close()  # a chain of tasks that train one run
