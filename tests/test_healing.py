"""Ranks that are lost and started again: small functions in their place, and a whole training (slow)."""

import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

import psutil
import pytest
import torch

from lightning_rcnn import healing, stop_signals
from lightning_rcnn.callbacks.memory_checkpoint import NAME
from lightning_rcnn.files import atomic_save
from lightning_rcnn.healing import FAILED, Healer
from lightning_rcnn.stop_signals import EXIT_STATUS


@pytest.fixture
def heal(monkeypatch, tmp_path, capfd):
    """Runs `rank(number, generation, words)` in the place of each rank; the status, and what was said."""
    monkeypatch.setattr(healing, "LAST_WORDS", 1.0)

    def run(rank, number=3):
        def start(words, environment):
            own = int(environment["RANK"])
            generations = tmp_path / f"generations{own}"
            generation = len(generations.read_text()) if generations.exists() else 0
            generations.write_text("x" * (generation + 1))
            status = rank(own, generation, words)
            sys.stderr.flush()
            os._exit(status)

        monkeypatch.setattr(healing, "_be_a_rank", start)
        status = Healer(number, 5, tmp_path, ["fit", "--run_dir", "r"]).run()
        return status, [line for line in capfd.readouterr().err.splitlines() if line.startswith("lightning-rcnn: ")]

    return run


def save(folder, step):
    atomic_save({"epoch": 0, "global_step": step, "state_dict": {"weight": torch.zeros(1)}}, folder / NAME)


def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_nothing_is_said_where_nothing_happens(heal):
    assert heal(lambda rank, generation, words: 0) == (0, [])


@pytest.mark.parametrize("victim", [0, 2])
def test_all_ranks_start_again_from_memory_when_one_is_killed(heal, tmp_path, victim):
    def rank(number, generation, words):
        resumes = words == ["fit", "--run_dir", "r", "--ckpt_path", "last"]
        if generation == 0:
            assert not resumes
            if number == victim:
                time.sleep(0.2)
                save(tmp_path, 7)
                killed()
            time.sleep(60)
        return 0 if resumes else 3

    start = time.monotonic()
    status, (line,) = heal(rank)
    assert status == 0
    assert line == f"lightning-rcnn: rank {victim} was killed by SIGKILL; all 3 ranks start again after step 7"
    assert time.monotonic() - start < 10


def test_a_failure_is_healed_and_wrong_input_is_not(heal):
    status, lines = heal(lambda rank, generation, words: FAILED if (rank, generation) == (1, 0) else 0)
    assert (status, len(lines)) == (0, 1)
    assert "rank 1 failed with status 70; all 3 ranks" in lines[0]


def test_wrong_input_ends_all_ranks(heal):
    assert heal(lambda rank, generation, words: 1 if rank == 1 else time.sleep(60)) == (1, [])


@pytest.mark.end_to_end
def test_ranks_that_are_lost_before_a_step_is_done_are_given_up(heal, tmp_path):
    status, lines = heal(lambda rank, generation, words: killed() if rank == 0 else time.sleep(60))
    assert status == 1
    assert len(lines) == 4
    assert lines[-1].startswith(
        "lightning-rcnn: error: rank 0 was killed by SIGKILL, 4 times after step -1: look at it"
    )


@pytest.mark.end_to_end
def test_a_step_between_two_losses_counts(heal, tmp_path):
    def rank(number, generation, words):
        if number == 0 and generation < 6:
            save(tmp_path, generation)
            killed()
        return 0 if generation == 6 else time.sleep(60)

    status, lines = heal(rank)
    assert (status, len(lines)) == (0, 6)


def test_a_signal_reaches_all_ranks_whose_status_it_ends_with(heal, tmp_path):
    def rank(number, generation, words):
        stop_signals.listen()
        (tmp_path / f"listens{number}").touch()
        for _ in range(400):
            if stop_signals.received() == "SIGTERM":
                return EXIT_STATUS if number == 0 else 0
            time.sleep(0.05)
        return 3

    def stop():
        while len(list(tmp_path.glob("listens*"))) < 3:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    assert heal(rank) == (EXIT_STATUS, [])


def test_a_signal_before_there_are_ranks_asks_for_another_start(monkeypatch, tmp_path):
    before = {number: signal.getsignal(number) for number in stop_signals.SIGNALS}
    monkeypatch.setattr(healing, "_MEMORY", tmp_path)
    monkeypatch.setattr(Healer, "run", lambda self: signal.raise_signal(signal.SIGTERM))
    try:
        with pytest.raises(SystemExit) as stop:
            healing.main(["--ranks", "2", "fit", "--config", "a.yaml"])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert stop.value.code == EXIT_STATUS
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_launcher_that_was_killed_is_removed(tmp_path):
    with healing.memory_folder(tmp_path) as own:
        left = tmp_path / f"{healing._PREFIX}left"
        left.mkdir()
        (left / NAME).touch()
        with healing.memory_folder(tmp_path) as other:
            assert set(tmp_path.iterdir()) == {own, other}
    assert list(tmp_path.iterdir()) == []


def test_a_launcher_that_has_not_locked_its_folder_yet_keeps_it(tmp_path, monkeypatch):
    """Another one starts between the making of the folder and its lock."""
    make, second = tempfile.mkdtemp, []

    def make_while_another_starts(**options):
        folder = make(**options)
        if not second:
            second.append(threading.Thread(target=lambda: healing.memory_folder(tmp_path).__enter__()))
            second[0].start()
            second[0].join(0.3)
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", make_while_another_starts)
    with healing.memory_folder(tmp_path) as own:
        second[0].join()
        assert (own / healing._LOCK).exists()


RANKS, KILLS = 3, 5
"""With three, the sum of their gradients depends on its order."""
CONFIG = """
model:
  class_path: FasterRCNN
  init_args:
    preprocessing: {min_size: 64, max_size: 96}
    backbone: {class_path: ResNetFPN, init_args: {name: resnet18, channels: 32}}
    rpn: {pre_nms_top_n: [100, 100], post_nms_top_n: [50, 50]}
    box: {head: {width: 64}, samples_per_image: 32}
    schedule: {class_path: StepSchedule, init_args: {warmup_steps: 0}}
trainer:
  accelerator: cpu
  precision: 32-true
  max_epochs: 4
  log_every_n_steps: 1
  logger: {class_path: DetectionCSVLogger}
  callbacks: [{class_path: EMA, init_args: {decay: 0.9}}]
  num_sanity_val_steps: 0
  check_val_every_n_epoch: 2
  enable_model_summary: false
data: {batch_size: 2, num_workers: 1}
"""


def launch(folder, name, log):
    words = ["--ranks", str(RANKS), "--every_n_steps", "5", "fit", "--config", "config.yaml", "--run_dir", name]
    words += ["--data.train", "train", "--data.val", "val", "--background_checkpoints", "true"]
    return subprocess.Popen(
        [sys.executable, "-m", "lightning_rcnn.healing", *words], cwd=folder, stdout=log, stderr=log
    )


def saved_step(folder):
    """The step of the checkpoint in memory; -1 if there is none."""
    try:
        return torch.load(folder / NAME, weights_only=True, mmap=True)["global_step"]
    except OSError:
        return -1


def losses(folder):
    """Losses by step; a step that was done again has the loss of the first time."""
    found = {}
    for row in csv.DictReader((folder / "csv" / "metrics.csv").open()):
        if row["train/loss"]:
            assert found.setdefault(int(row["step"]), row["train/loss"]) == row["train/loss"]
    return found


@pytest.mark.slow
def test_a_training_that_loses_ranks_ends_as_one_that_lost_none(tmp_path):
    from lightning_rcnn.data.pack.shapes import shapes_source
    from lightning_rcnn.data.pack.write import write_shards

    write_shards(shapes_source(72, seed=0), tmp_path / "train", name="shapes", workers=1)
    write_shards(shapes_source(4, seed=1), tmp_path / "val", name="shapes", workers=1)
    (tmp_path / "config.yaml").write_text(CONFIG)
    with (tmp_path / "log").open("w") as log:
        assert launch(tmp_path, "undisturbed", log).wait(900) == 0
        known = set(healing._MEMORY.glob(f"{healing._PREFIX}*"))
        process = launch(tmp_path, "healed", log)
        while not (new := set(healing._MEMORY.glob(f"{healing._PREFIX}*")) - known):
            assert process.poll() is None
            time.sleep(0.1)
        (memory,) = new
        launcher = psutil.Process(process.pid)
        chance, pauses, reached = random.Random(0), [], 0
        for _ in range(KILLS):
            while saved_step(memory) <= reached:
                assert process.poll() is None
                time.sleep(0.05)
            reached = saved_step(memory)
            time.sleep(chance.random())
            ranks = launcher.children()
            lost = chance.choice(ranks)
            os.kill(lost.pid, signal.SIGKILL)
            start = time.monotonic()
            while {child.pid for child in launcher.children()} & {rank.pid for rank in ranks}:
                time.sleep(0.02)
            while saved_step(memory) <= reached:
                assert process.poll() is None
                time.sleep(0.05)
            pauses.append(time.monotonic() - start)
            reached = saved_step(memory)
        assert process.wait(900) == 0
    text = (tmp_path / "log").read_text()
    assert text.count(f"was killed by SIGKILL; all {RANKS} ranks start again after step") == KILLS
    print("seconds to the next checkpoint in memory:", [round(pause, 1) for pause in pauses])
    assert losses(tmp_path / "healed") == losses(tmp_path / "undisturbed")
    assert losses(tmp_path / "healed").keys() == set(range(4 * 72 // (2 * RANKS)))
    found, expected = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
        for name in ("healed", "undisturbed")
    )
    for key in ("state_dict", "current_model_state"):
        for name, weight in expected[key].items():
            assert weight.equal(found[key][name]), f"{key} {name}"
