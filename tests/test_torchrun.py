"""torchrun with our exit status: small programs in the place of ranks, and whole trainings on two nodes (slow)."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lightning_rcnn import launchers, torchrun
from lightning_rcnn.cli.commands.pack import pack_shapes

TRAINING = """
model:
  class_path: FasterRCNN
  init_args:
    preprocessing: {min_size: 64, max_size: 96}
    backbone:
      class_path: ResNetFPN
      init_args: {name: resnet18, channels: 16}
    rpn:
      pre_nms_top_n: [50, 50]
      post_nms_top_n: [20, 20]
    box:
      head: {width: 16}
    optimizer:
      class_path: AdamW
      init_args: {lr: 1e-4}
    schedule: {class_path: OneCycleSchedule}
trainer:
  accelerator: cpu
  max_epochs: 2
  logger: false
  num_sanity_val_steps: 0
  enable_model_summary: false
  enable_progress_bar: false
  callbacks: [{class_path: pace.Pace}]
data: {batch_size: 2, num_workers: 0}
last_checkpoint: {every_n_steps: 1000}
"""
PACE = """
import time
from lightning.pytorch import Callback


class Pace(Callback):
    def on_train_batch_end(self, trainer, *_):
        print("after step", trainer.global_step, flush=True)
        time.sleep(0.3)
"""


@pytest.fixture
def run_program(monkeypatch):
    """Runs torchrun in this process with shells as its ranks; the status. `RANK` is set in each."""
    monkeypatch.setattr(os, "environ", os.environ.copy())

    def run(program: str, *words: str) -> int:
        return torchrun.main(["--standalone", "--monitor-interval=0.05", *words, "--no-python", "sh", "-c", program])

    return run


@pytest.mark.parametrize(
    ("own", "status", "words"), [(75, 75, ""), (0, 0, ""), (3, 1, "rank 0 ended first of its node, with status 3")]
)
@pytest.mark.end_to_end
def test_the_status_is_75_where_all_ranks_that_failed_have_saved(run_program, capfd, own, status, words):
    assert run_program(f"exit {own}") == status
    assert words in capfd.readouterr().err


@pytest.mark.end_to_end
def test_a_signal_to_the_node_reaches_the_ranks_and_asks_for_another_start(run_program, tmp_path):
    trap = f"trap 'touch {tmp_path}/saved; exit 75' TERM"
    program = f"{trap}; sleep 0.3; kill -TERM $PPID; for turn in $(seq 100); do sleep 0.05; done"
    assert run_program(program) == 75
    assert (tmp_path / "saved").exists()


@pytest.mark.end_to_end
@pytest.mark.parametrize(("answer", "status"), [("exit 3", 1), ("exit 0", 75), ("kill -9 $$$$", 1)])
def test_ranks_that_have_not_saved_ask_for_no_other_start(run_program, capfd, answer, status):
    """`$$$$` is `$$`, the process of a shell: torchrun replaces names in its words."""
    program = f"trap '{answer}' TERM; sleep 0.3; kill -TERM $PPID; for turn in $(seq 100); do sleep 0.05; done"
    assert run_program(program) == status
    assert ("asked to stop, a rank has not saved" in capfd.readouterr().err) == (status == 1)


@pytest.mark.end_to_end
def test_ctrl_c_asks_for_no_other_start(run_program):
    assert run_program("sleep 0.3; kill -INT $PPID; sleep 5") == 130


def test_restarts_by_torchrun_are_refused(run_program, capfd):
    assert run_program("exit 0", "--max-restarts=2") == 1
    assert "--max-restarts 2 would start ranks that have saved again" in capfd.readouterr().err


@pytest.mark.slow
def test_a_node_that_waits_for_others_leaves_when_it_is_told_to(tmp_path):
    """It waits in C++, for a quarter of an hour; a second node never comes."""
    words = ["--nnodes=2", "--node-rank=0", "--master-addr=localhost", f"--master-port={free_port()}"]
    program = [sys.executable, "-X", "importtime", "-m", "lightning_rcnn.torchrun", *words, "--no-python", "true"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with (tmp_path / "log").open("w") as log:
        node = subprocess.Popen(program, env=environment, stderr=log)
    while "torch.distributed.elastic.agent.server.local_elastic_agent" not in (tmp_path / "log").read_text():
        assert node.poll() is None
        time.sleep(0.1)
    time.sleep(3)
    assert node.poll() is None
    node.terminate()
    assert node.wait(5) == 75


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TORCHELASTIC_RUN_ID": "a"}, True),
        ({"TORCHELASTIC_RUN_ID": f"{launchers.HEALING} a"}, False),  # it has its own way
        ({"SLURM_JOB_ID": "7", "SLURM_NODEID": "1"}, False),
        ({}, False),
    ],
)
def test_only_ranks_of_torchrun_outlive_it(environment, expected):
    assert launchers.outlives_its_launcher(environment) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TORCHELASTIC_RUN_ID": "a", "GROUP_RANK": "1"}, True),
        ({"TORCHELASTIC_RUN_ID": "a", "GROUP_RANK": "0"}, False),  # its agent would end rank 0
        ({"SLURM_JOB_ID": "7", "SLURM_NODEID": "1"}, False),  # srun --kill-on-bad-exit
        ({}, False),
    ],
)
def test_only_the_ranks_beside_rank_zero_must_not_fail(environment, expected):
    assert launchers.may_fail_alone(environment) is expected


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Nodes:
    """Two agents of torchrun on this machine, with a rank each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agents: list[subprocess.Popen] = []

    def start(self, run: str) -> None:
        port = free_port()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
        common = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=localhost", f"--master-port={port}"]
        fit = ["-m", "lightning_rcnn", "fit", "--config=run.yaml", "--data.train=train", f"--run_dir={run}"]
        for node in range(2):
            words = [*common, f"--node-rank={node}", *fit, "--ckpt_path=last"]
            with (self.folder / f"{run}.{node}.log").open("a") as log:
                self.agents.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "lightning_rcnn.torchrun", *words],
                        cwd=self.folder,
                        env=environment,
                        stdout=log,
                        stderr=log,
                    )
                )

    def wait_for_step(self, run: str, step: int) -> None:
        deadline = time.monotonic() + 200
        while f"after step {step}\n" not in self.log(run, 0):
            assert time.monotonic() < deadline, self.log(run, 0)
            assert all(agent.poll() is None for agent in self.agents), self.log(run, 0)
            time.sleep(0.05)

    def statuses(self) -> list[int]:
        statuses = [agent.wait(200) for agent in self.agents]
        self.agents.clear()
        return statuses

    def log(self, run: str, node: int) -> str:
        return (self.folder / f"{run}.{node}.log").read_text()

    def weights(self, run: str) -> dict[str, torch.Tensor]:
        return torch.load(self.folder / run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nodes")
    pack_shapes(folder / "train", num=16, workers=1)
    (folder / "run.yaml").write_text(TRAINING)
    (folder / "pace.py").write_text(PACE)
    two = Nodes(folder)
    yield two
    for agent in two.agents:
        agent.kill()


@pytest.fixture(scope="module")
def undisturbed(nodes):
    nodes.start("undisturbed")
    assert nodes.statuses() == [0, 0], nodes.log("undisturbed", 0)
    return nodes.weights("undisturbed")


@pytest.mark.slow
@pytest.mark.parametrize("told", [(0,), (1,), (0, 1)], ids=["the first node", "the second node", "both"])
def test_nodes_that_are_told_to_go_save_once_and_resume_to_the_same_weights(nodes, undisturbed, told):
    run = "told" + "".join(map(str, told))
    nodes.start(run)
    nodes.wait_for_step(run, 3)
    for node in told:
        nodes.agents[node].terminate()
    assert nodes.statuses() == [75, 75]
    assert nodes.log(run, 0).count("saved after step") == 1
    assert nodes.log(run, 1).count("saved after step") == 0
    nodes.start(run)
    assert nodes.statuses() == [0, 0]
    for name, tensor in undisturbed.items():
        assert torch.equal(tensor, nodes.weights(run)[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1], ids=["the first node", "the second node"])
def test_ranks_save_when_the_torchrun_of_a_node_is_killed(nodes, undisturbed, killed):
    run = f"killed{killed}"
    nodes.start(run)
    nodes.wait_for_step(run, 3)
    nodes.agents[killed].kill()
    statuses = nodes.statuses()
    assert (statuses[killed], statuses[1 - killed]) == (-9, 75), nodes.log(run, 1 - killed)
    assert nodes.log(run, 0).count("saved after step") == 1
    nodes.start(run)
    assert nodes.statuses() == [0, 0]
    for name, tensor in undisturbed.items():
        assert torch.equal(tensor, nodes.weights(run)[name]), name
