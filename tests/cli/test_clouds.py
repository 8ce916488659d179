"""Runs whose data and folder are on an S3 server: killed, resumed on another machine, and evaluated on a third."""

import io
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.cli.test_resume import KILL
from tests.s3_server import S3Server

RUN = "s3://bucket/runs/mine"
SMALL = """
base: tiny.yaml
model:
  init_args:
    backbone: {class_path: ports.TwoMaps}
    rpn: {anchors: {sizes: [16, 32]}}
trainer: {max_epochs: 2}
data: {num_workers: 1}
last_checkpoint: {every_n_steps: 2}
"""


@pytest.fixture
def place(workplace: Path):
    """The working directory with a detector whose checkpoint is small, and the module that it takes for that."""
    shutil.copy(Path(__file__).with_name("ports.py"), workplace / "ports.py")
    (workplace / "small.yaml").write_text(SMALL)
    yield workplace
    sys.modules.pop("ports", None)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Go to a machine that knows nothing yet; return where it keeps its copy of the run folder."""

    def move(name: str) -> Path:
        for variable in ("XDG_CACHE_HOME", "TORCH_HOME"):
            monkeypatch.setenv(variable, str(tmp_path / name))
        return tmp_path / name / "lightning-rcnn/runs/s3/bucket/runs/mine"

    return move


def words(url: str, run_dir: str) -> list[str]:
    return [
        *("fit", "--config", "small.yaml", "--data.train", f"{url}/train", "--data.val", f"{url}/val"),
        *("--run_dir", run_dir, "--ckpt_path", "last"),
    ]


def checkpoint_of(s3: S3Server, name: str) -> dict:
    content = s3.get(f"runs/mine/checkpoints/{name}")
    assert content is not None
    return torch.load(io.BytesIO(content), weights_only=True)


@pytest.mark.end_to_end
@pytest.mark.end_to_end
def test_a_killed_run_resumes_exactly_on_another_machine(run, place, shards, s3: S3Server, machine):
    url = s3.put_folder(shards, "shapes")
    machine("a")
    assert run(*words(str(shards), "undisturbed")).status == 0
    expected = torch.load(place / "undisturbed/checkpoints/last.ckpt", weights_only=True)

    copy = machine("b")
    killed = subprocess.run([sys.executable, "-c", KILL, *words(url, RUN)], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert checkpoint_of(s3, "last.ckpt")["global_step"] == 4

    copy = machine("c")
    outcome = run(*words(url, RUN))
    assert outcome.status == 0, outcome.err
    resumed = checkpoint_of(s3, "last.ckpt")
    assert resumed["global_step"] == expected["global_step"] == 6
    for name, value in expected["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], value), name
    for name in ("config.yaml", "metrics.json", "checkpoints/best.ckpt"):
        assert s3.get(f"runs/mine/{name}") == (copy / name).read_bytes(), name
    assert f"run_dir: {RUN}" in (copy / "config.yaml").read_text()
    assert s3.get("runs/mine/.lock") is None

    refused = run(*words(url, RUN)[:9])
    assert refused.status == 1
    assert "holds the checkpoints of a run: resume with --ckpt_path last" in refused.err

    machine("d")
    best = f"{RUN}/checkpoints/best.ckpt"
    validated = run("validate", "--ckpt_path", best, "--data.val", f"{url}/val", "--data.batch_size", "2")
    assert validated.status == 0, validated.err
    assert s3.get("runs/mine/validate/metrics.json") is not None


def test_what_cannot_be_written_is_one_line(run, place, shards, s3: S3Server, machine):
    machine("a")
    local = str(shards)
    outcome = run(*words(local, "https://host/runs/mine"))
    assert outcome.status == 1
    assert outcome.err.strip().endswith(
        "--run_dir https://host/runs/mine: nothing can be written there; give a folder, or the URL of a cloud"
    )
    outcome = run(*words(local, "s3://nobodys/runs/mine"))
    assert outcome.status == 1
    assert "s3://nobodys/runs/mine: no such file or bucket; check the address" in outcome.err
