"""Jobs on the local cluster that `slurm/local_cluster/up.sh` starts; without one these tests are skipped."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from lightning_rcnn.cli.commands.pack import pack_shapes

REPOSITORY = Path(__file__).parents[2]
BASE = Path(os.environ.get("SLURM_BASE", "/tmp/lightning-rcnn-slurm"))
ENDED = {"COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "CANCELLED", "OUT_OF_MEMORY", "PREEMPTED"}
START = float(os.environ.get("SLURM_TEST_PATIENCE", 300))
"""Seconds for a job to start, import and finish; more on a busy machine."""

RUN = """
model:
  class_path: FasterRCNN
  init_args:
    backbone:
      class_path: ResNetFPN
      init_args: {name: resnet18, channels: 16}
    rpn:
      pre_nms_top_n: [50, 50]
      post_nms_top_n: [20, 20]
    box:
      head: {width: 16}
    preprocessing: {min_size: 64, max_size: 96}
    optimizer:
      class_path: AdamW
      init_args: {lr: 1e-4}
    schedule: {class_path: OneCycleSchedule}
trainer:
  accelerator: cpu
  max_epochs: 2
  check_val_every_n_epoch: 2
  num_sanity_val_steps: 0
  enable_model_summary: false
  enable_progress_bar: false
  callbacks:
    - class_path: uneven_ranks.UnevenRanks
data:
  batch_size: 2
  num_workers: 1
  loading: {multiprocessing_context: fork}
last_checkpoint:
  every_n_steps: 4
"""


class Cluster:
    """Two nodes, and a folder for the jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: list[str] = []

    def ask(self, *words: str, node: str = "ctl", check: bool = True) -> str:
        """Run a command on the login node, or within another one."""
        environment = {**os.environ, "SL_NODE": node, "WANDB_MODE": "offline"}
        environment["PYTHONPATH"] = f"{REPOSITORY}:{Path(__file__).parent}"
        outcome = subprocess.run(
            [BASE / "bin" / "sl", *words], env=environment, cwd=self.folder, capture_output=True, text=True, timeout=60
        )
        assert outcome.returncode == 0 or not check, outcome.stderr
        return outcome.stdout.strip()

    def submit(self, *words: str, run: str, options: tuple[str, ...] = (), script: str = "train.sbatch") -> str:
        """Submit a training on two nodes by a script in `slurm/`; the id of the job."""
        size = ("--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=0", "--cpus-per-task=1")
        data = ("--data.train", str(self.folder / "train"), "--data.val", str(self.folder / "val"))
        command = ("--config", "run.yaml", *data, "--run_dir", run, *words)
        answer = self.ask("sbatch", *size, f"--job-name={run}", *options, script, *command)
        self.jobs.append(answer.split()[-1])
        return self.jobs[-1]

    def facts(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says."""
        return dict(re.findall(r"(\w+)=(\S+)", self.ask("scontrol", "show", "job", job)))

    def wait(self, job: str, timeout: float = START, until: set[str] = ENDED) -> dict[str, str]:
        """Wait until a job is in one of some states; its facts."""
        deadline = time.monotonic() + timeout
        while (facts := self.facts(job))["JobState"] not in until:
            assert time.monotonic() < deadline, f"{facts['JobState']} after {timeout} s:\n{self.ending(job)}"
            time.sleep(0.5)
        return facts

    def wait_for_step(self, job: str, run: str, step: int) -> None:
        """Wait until rank 0 has done a step; `UnevenRanks` writes them down."""
        path, deadline = self.folder / run / "steps", time.monotonic() + START
        while not path.exists() or int(path.read_text() or 0) < step:
            assert time.monotonic() < deadline, self.ending(job)
            assert self.facts(job)["JobState"] not in ENDED, self.ending(job)
            time.sleep(0.02)

    def rank_process(self, node: str) -> str:
        """Process id, within its node, of the rank there: the oldest one, its workers are younger."""
        if (BASE / "mode").read_text().strip() != "netns":
            pytest.skip("the nodes of this cluster share their processes")
        return self.ask("pgrep", "--oldest", "-f", "python[^ ]* [^ ]*lightning-rcnn fit", node=node)  # not srun

    def logs(self, job: str) -> str:
        """All that a job wrote."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob(f"*-{job}*/*.log"))) + "\n".join(
            path.read_text() for path in self.folder.glob(f"*-{job}.log")
        )

    def ending(self, job: str) -> str:
        """The last lines of each of its logs and what SLURM says of it, to be shown where it ended badly."""
        paths = [*sorted(self.folder.glob(f"*-{job}*/*.log")), *self.folder.glob(f"*-{job}.log")]
        tails = ["\n".join([f"--- {path.name}", *path.read_text().splitlines()[-12:]]) for path in paths]
        return "\n".join([*tails, self.ask("scontrol", "show", "job", job)])

    def weights(self, run: str) -> dict[str, torch.Tensor]:
        """Of the last checkpoint of a run."""
        return torch.load(self.folder / run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    sl = BASE / "bin" / "sl"
    if not sl.exists() or subprocess.run([sl, "sinfo"], capture_output=True, timeout=60).returncode:
        pytest.skip("no SLURM cluster; slurm/local_cluster/up.sh starts one where SLURM is installed")
    folder = tmp_path_factory.mktemp("cluster")
    # The nodes have root's view of the files; the scripts as users edit them: what activates the environment.
    setup = f"setup=(export PATH={Path(sys.executable).parent}:$PATH)"
    for name in ("train.sbatch", "healing.sbatch"):
        script = (REPOSITORY / "slurm" / name).read_text()
        (folder / name).write_text(re.sub(r"^setup=.*", setup, script, flags=re.MULTILINE))
    (folder / "run.yaml").write_text(RUN)
    pack_shapes(folder / "train", num=32, workers=1)
    pack_shapes(folder / "val", num=4, seed=1, workers=1)
    cluster = Cluster(folder)
    # There are two nodes, and each job takes both: tests in another process have to wait for the end of these.
    with FileLock(BASE / "tests.lock", timeout=1800):
        yield cluster
        if cluster.jobs:  # and no job of anybody else
            subprocess.run([sl, "scancel", *cluster.jobs], capture_output=True, timeout=60)


@pytest.fixture(scope="session")
def undisturbed(cluster):
    """The weights of a job that nobody disturbs."""
    job = cluster.submit(run="undisturbed")
    assert cluster.wait(job)["JobState"] == "COMPLETED", cluster.ending(job)
    return cluster.weights("undisturbed")
