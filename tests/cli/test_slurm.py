"""What a task of a SLURM job makes of its environment, before anything heavy is imported."""

import pytest

from lightning_rcnn.cli import slurm
from lightning_rcnn.cli.slurm import take_sizes_from_slurm
from lightning_rcnn.errors import InputError

STEP = {
    "SLURM_JOB_ID": "42",
    "SLURM_JOB_NAME": "train",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_PROCID": "0",
}
GPUS = {"SLURM_GPUS_ON_NODE": "4", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}


@pytest.fixture
def settle(tmp_path, monkeypatch):
    def run(environment, *words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(slurm, "_HEAD_START", 0.0)
        for name in [name for name in slurm.os.environ if name.startswith(("SLURM", "CUDA_VISIBLE"))]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "")  # set within, and so put back afterwards
        return take_sizes_from_slurm(["fit", *words])

    return run


def test_sizes_come_from_slurm(settle):
    words = settle(STEP, "--trainer.max_epochs", "3")
    assert words[-2:] == ["--trainer.num_nodes=2", "--trainer.devices=4"]
    assert slurm.os.environ["SLURM_NTASKS_PER_NODE"] == "4"


@pytest.mark.parametrize("environment", [{}, {**STEP, "SLURM_JOB_NAME": "bash"}, {"SLURM_JOB_ID": "42"}])
def test_elsewhere_nothing_changes(settle, environment):
    assert settle(environment, "--trainer.devices", "3") == ["fit", "--trainer.devices", "3"]


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        ({}, ["--trainer.devices", "2"], "--trainer.devices: trainer.devices is 2, but SLURM .*--ntasks-per-node=4"),
        ({}, ["--trainer.num_nodes=3"], "--trainer.num_nodes: trainer.num_nodes is 3, but SLURM .*--nodes=2"),
        ({}, ["--config", "one.yaml"], "one.yaml:2: trainer.devices is 1, but SLURM"),
        ({"SLURM_STEP_TASKS_PER_NODE": "4,3"}, [], "deals the tasks as 4,3 .* --ntasks-per-node in the place of"),
        ({**GPUS, "SLURM_GPUS_ON_NODE": "8"}, [], "8 GPUs and 4 tasks to a node"),
        ({**GPUS, "CUDA_VISIBLE_DEVICES": "0"}, [], "sees 1 of the 4 GPUs of its node.*--gpus-per-node in the place"),
    ],
)
def test_a_mismatch_is_named(settle, tmp_path, change, words, message):
    (tmp_path / "one.yaml").write_text("trainer:\n  devices: 1\n")
    with pytest.raises(InputError, match=message) as caught:
        settle({**STEP, **change}, *words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("words", [["--trainer.devices", "4"], ["--trainer.devices=auto"], ["--config", "auto.yaml"]])
def test_what_agrees_or_leaves_it_open_is_no_mismatch(settle, tmp_path, words):
    (tmp_path / "auto.yaml").write_text("trainer:\n  devices: auto\n  num_nodes: 2\n")
    assert settle({**STEP, **GPUS}, *words)[-1] == "--trainer.devices=4"


def test_srun_is_missed(settle):
    job = {"SLURM_JOB_ID": "42", "SLURM_NTASKS": "8", "SLURM_NNODES": "2"}
    with pytest.raises(InputError, match="8 tasks on 2 nodes, but only one was started: put `srun` before"):
        settle(job)


def test_only_the_first_task_says_what_all_find(settle):
    with pytest.raises(InputError) as caught:
        settle({**STEP, "SLURM_PROCID": "3"}, "--trainer.devices", "2")
    assert str(caught.value) == ""
