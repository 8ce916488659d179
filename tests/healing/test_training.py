"""Whole trainings that lose ranks and nodes, and end as one that lost none."""

import csv
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import torch

from lightning_rcnn.checkpoints.in_memory import NAME
from lightning_rcnn.healing import memory

EPOCHS, IMAGES, BATCH = 8, 72, 6
STEPS = EPOCHS * IMAGES // BATCH
RANKS = 3
"""With three, the sum of their gradients depends on its order."""
CONFIG = f"""
model:
  class_path: FasterRCNN
  init_args:
    preprocessing: {{min_size: 64, max_size: 96}}
    backbone: {{class_path: ResNetFPN, init_args: {{name: resnet18, channels: 32}}}}
    rpn: {{pre_nms_top_n: [100, 100], post_nms_top_n: [50, 50]}}
    box: {{head: {{width: 64}}, samples_per_image: 32}}
    schedule: {{class_path: StepSchedule, init_args: {{warmup_steps: 0}}}}
trainer:
  accelerator: cpu
  precision: 32-true
  max_epochs: {EPOCHS}
  log_every_n_steps: 1
  logger: {{class_path: DetectionCSVLogger}}
  callbacks: [{{class_path: EMA, init_args: {{decay: 0.9}}}}, {{class_path: seen_samples.SeenSamples}}]
  num_sanity_val_steps: 0
  check_val_every_n_epoch: 4
  enable_model_summary: false
data: {{batch_size: 2, num_workers: 1}}
"""


class Trainings:
    """Launchers in a folder with data."""

    def __init__(self, folder):
        self.folder = folder
        self.started = []

    def start(self, run, *options):
        """Start a launcher; the process, and the folder of its checkpoint in memory."""
        words = ["--every_n_steps", "5", *options, "fit", "--config", "config.yaml", "--run_dir", run]
        words += ["--data.train", "train", "--data.val", "val", "--background_checkpoints", "true"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
        known = set(memory.MEMORY.glob(f"{memory.PREFIX}*"))
        with (self.folder / f"{run}.log").open("a") as log:
            command = [sys.executable, "-m", "lightning_rcnn.healing", *words]
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        self.started.append(process)
        until(lambda: set(memory.MEMORY.glob(f"{memory.PREFIX}*")) - known, process)
        (place,) = set(memory.MEMORY.glob(f"{memory.PREFIX}*")) - known
        return process, place

    def seen(self, run):
        """Step -> world size and samples of all ranks, as rank 0 has done it at last."""
        done = {}
        for path in sorted((self.folder / run).glob("seen*")):
            for line in path.read_text().splitlines():
                world, step, *names = line.split()
                done.setdefault(path.name, {})[int(world), int(step)] = names
        last = {step: world for world, step in self.steps(run)}
        return {
            step: (world, [name for rank in range(world) for name in done[f"seen{rank}"][world, step]])
            for step, world in last.items()
        }

    def steps(self, run):
        """World size and step of all steps that rank 0 has done, in their order."""
        path = self.folder / run / "seen0"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(line.split()[0]), int(line.split()[1])) for line in lines]

    def losses(self, run):
        """Losses by step; a step that was done again with as many ranks has the loss of the first time."""
        found = {}
        for row in csv.DictReader((self.folder / run / "csv" / "metrics.csv").open()):
            if row["train/loss"]:
                assert found.setdefault(int(row["step"]), row["train/loss"]) == row["train/loss"]
        return found

    def reached(self, run):
        return self.steps(run)[-1][1] if self.steps(run) else 0

    def log(self, run):
        return (self.folder / f"{run}.log").read_text()

    def assert_same(self, run, other):
        assert self.losses(run) == self.losses(other)
        assert self.losses(run).keys() == set(range(STEPS))
        assert self.seen(run) == self.seen(other)
        found, expected = (
            torch.load(self.folder / name / "checkpoints" / "last.ckpt", weights_only=True) for name in (run, other)
        )
        for key in ("state_dict", "current_model_state"):
            for name, weight in expected[key].items():
                assert weight.equal(found[key][name]), f"{key} {name}"

    def assert_each_sample_once(self, run):
        seen = self.seen(run)
        assert seen.keys() == set(range(1, STEPS + 1))
        for epoch in range(EPOCHS):
            steps = range(epoch * IMAGES // BATCH + 1, (epoch + 1) * IMAGES // BATCH + 1)
            assert set(Counter(name for step in steps for name in seen[step][1]).values()) == {1}


def until(condition, *processes):
    deadline = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


def kill_node(process):
    """With all its ranks, as if the machine had gone."""
    launcher = psutil.Process(process.pid)
    for each in [launcher, *launcher.children(recursive=True)]:
        each.kill()
    process.wait()


def nodes(number):
    """Options of launchers on this machine that are `number` nodes."""
    taken = [socket.socket() for _ in range(number)]
    for each in taken:
        each.bind(("127.0.0.1", 0))
    text = ",".join(f"127.0.0.1:{each.getsockname()[1]}" for each in taken)
    for each in taken:
        each.close()
    return [("--ranks", "1", "--nodes", text, "--node", str(node)) for node in range(number)]


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    from lightning_rcnn.data.pack.shapes import shapes_source
    from lightning_rcnn.data.pack.write import write_shards

    folder = tmp_path_factory.mktemp("trainings")
    write_shards(shapes_source(IMAGES, seed=0), folder / "train", name="shapes", workers=1)
    write_shards(shapes_source(4, seed=1), folder / "val", name="shapes", workers=1)
    (folder / "config.yaml").write_text(CONFIG)
    trainings = Trainings(folder)
    process, _ = trainings.start("undisturbed", "--ranks", str(RANKS))
    assert process.wait(900) == 0
    yield trainings
    for process in trainings.started:
        if process.poll() is None:
            kill_node(process)


def pause(trainings, run, before, *processes):
    """Wait for the next step after a loss; the seconds."""
    start = time.monotonic()
    until(lambda: len(trainings.steps(run)) > before, *processes)
    return round(time.monotonic() - start, 1)


@pytest.mark.slow
def test_ten_ranks_are_killed(trainings):
    process, place = trainings.start("ranks", "--ranks", str(RANKS))
    chance, pauses = random.Random(0), []
    for number in range(10):
        until(lambda reached=9 * number + 2: trainings.reached("ranks") >= reached, process)
        time.sleep(chance.random())
        (prepared,) = psutil.Process(process.pid).children()
        lost = chance.choice(prepared.children())
        lost.send_signal(signal.SIGKILL)
        lost.wait()
        pauses.append(pause(trainings, "ranks", len(trainings.steps("ranks")), process))
    assert process.wait(900) == 0
    print("seconds from a killed rank to the next step:", pauses)
    assert trainings.log("ranks").count("was killed by SIGKILL; 3 ranks with 2 images each start again") == 10
    trainings.assert_same("ranks", "undisturbed")
    trainings.assert_each_sample_once("ranks")
    assert not (place / NAME).exists()


@pytest.mark.slow
def test_nodes_are_killed_and_a_spare_one_takes_their_place(trainings):
    options = [(*each, "--spares", "1") for each in nodes(RANKS + 1)]
    processes = [trainings.start("spare", *each)[0] for each in options]
    chance, pauses = random.Random(1), []
    for number in range(3):
        until(lambda reached=20 * number + 7: trainings.reached("spare") >= reached, *processes)
        until(lambda spares=number + 1: trainings.log("spare").count("is here") >= spares, *processes)
        time.sleep(chance.random())
        lost = chance.randrange(RANKS) if number else 0
        kill_node(processes[lost])
        pauses.append(pause(trainings, "spare", len(trainings.steps("spare"))))
        if number < 2:  # it will be the spare one; the last one would come back to a training that has ended
            processes[lost], _ = trainings.start("spare", *options[lost])
    del processes[lost]
    assert [process.wait(900) for process in processes] == [0] * len(processes)
    print("seconds from a killed node, with a spare one, to the next step:", pauses)
    trainings.assert_same("spare", "undisturbed")
    trainings.assert_each_sample_once("spare")


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 2])
def test_a_node_is_killed_and_comes_back(trainings, lost):
    run = f"node{lost}"
    options = nodes(RANKS)
    processes = [trainings.start(run, *each)[0] for each in options]
    until(lambda: trainings.reached(run) >= 27, *processes)
    kill_node(processes[lost])
    before = len(trainings.steps(run))
    print("seconds from a killed node to the next step:", pause(trainings, run, before))
    processes[lost], _ = trainings.start(run, *options[lost])
    assert [process.wait(900) for process in processes] == [0, 0, 0]
    assert f"node {lost} is gone; 2 x 1 ranks with 3 images each start again after step" in trainings.log(run)
    assert "3 of 3 nodes are here; 3 x 1 ranks with 2 images each start again after step" in trainings.log(run)
    trainings.assert_each_sample_once(run)
    # Images of a step are the same, divided among fewer ranks; steps before the loss are those of the other run.
    seen, expected = trainings.seen(run), trainings.seen("undisturbed")
    assert {step: sorted(names) for step, (_, names) in seen.items()} == {
        step: sorted(names) for step, (_, names) in expected.items()
    }
    worlds = [seen[step][0] for step in sorted(seen)]
    assert worlds[0] == worlds[-1] == 3
    assert 2 in worlds
