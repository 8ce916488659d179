"""What a process makes of who started it, before anything heavy is imported."""

import os

import pytest

from lightning_rcnn.cli import one_voice, world
from lightning_rcnn.cli.rank_environment import environment_of_launcher
from lightning_rcnn.cli.world import take_sizes_from_launcher
from lightning_rcnn.errors import InputError
from lightning_rcnn.launchers import HEALING, read_launch, waits_for_nobody

STEP = {
    "SLURM_JOB_ID": "42",
    "SLURM_JOB_NAME": "train",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_PROCID": "0",
}
SHELL = {**STEP, "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}
SCRIPT = {"SLURM_JOB_ID": "42", "SLURM_JOB_NAME": "train", "SLURM_NNODES": "1", "SLURM_NTASKS": "1"}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "a",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_WORLD_SIZE": "2",
    "RANK": "0",
}
ALONE = {**TORCHRUN, "WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "1"}
HEALED = {**ALONE, "TORCHELASTIC_RUN_ID": f"{HEALING} 1234"}
OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "6", "OMPI_COMM_WORLD_LOCAL_SIZE": "3", "OMPI_COMM_WORLD_RANK": "4"}
JSRUN = {"JSM_NAMESPACE_SIZE": "6", "JSM_NAMESPACE_LOCAL_SIZE": "3", "JSM_NAMESPACE_RANK": "4"}
GPUS = {"SLURM_GPUS_ON_NODE": "4", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}


@pytest.fixture
def settle(tmp_path, monkeypatch):
    def run(environment, *words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(world, "HEAD_START", 0.0)
        for name in [
            name
            for name in os.environ
            if name.startswith(("SLURM", "CUDA_VISIBLE", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR"))
        ]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "")  # set within, and so put back afterwards
        return take_sizes_from_launcher(["fit", *words])

    return run


def test_an_option_counts_in_the_place_of_a_files_value(settle, tmp_path):
    (tmp_path / "one.yaml").write_text("trainer: {devices: 1}\n")
    for value in ("2", "auto"):
        assert settle(ALONE, "--config", "one.yaml", "--trainer.devices", value)[-1] == "--trainer.devices=2"
    with pytest.raises(InputError, match=r"^one\.yaml:1: trainer\.devices is 1, but"):
        settle(ALONE, "--config", "one.yaml")


def test_sizes_come_from_slurm(settle):
    words = settle(STEP, "--trainer.max_epochs", "3")
    assert words[-2:] == ["--trainer.num_nodes=2", "--trainer.devices=4"]
    assert os.environ["SLURM_NTASKS_PER_NODE"] == "4"


@pytest.mark.parametrize("environment", [{}, {**SHELL, "SLURM_JOB_NAME": "zsh"}, {**SHELL, "SLURM_PTY_PORT": "3"}])
def test_elsewhere_nothing_changes(settle, environment):
    assert settle(environment, "--trainer.devices", "3") == ["fit", "--trainer.devices", "3"]


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        ({}, ["--trainer.devices", "2"], "--trainer.devices: trainer.devices is 2, but SLURM .*--ntasks-per-node=4"),
        ({}, ["--trainer.num_nodes=3"], "--trainer.num_nodes: trainer.num_nodes is 3, but SLURM .*--nodes=2"),
        ({}, ["--config", "one.yaml"], "one.yaml:2: trainer.devices is 1, but SLURM"),
        ({"SLURM_STEP_TASKS_PER_NODE": "4,3"}, [], "distributes the tasks as 4,3 .* --ntasks-per-node instead of"),
        ({**GPUS, "SLURM_GPUS_ON_NODE": "8"}, [], "8 GPUs and 4 tasks to a node"),
        ({**GPUS, "CUDA_VISIBLE_DEVICES": "0"}, [], "sees 1 of the 4 GPUs of its node.*--gpus-per-node instead of"),
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


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("", None, None, 0)),
        (STEP, ("srun", 2, 4, 0)),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "8", "SLURM_JOB_NAME": "bash"}, ("srun", 2, 4, 0)),
        (SHELL, ("srun", 1, 1, 0)),
        ({**SHELL, "SLURM_JOB_NAME": "fish"}, ("", None, None, 0)),
        (SCRIPT, ("sbatch", 1, 1, 0)),
        (TORCHRUN, ("torchrun", 2, 2, 0)),
        ({**SCRIPT, **ALONE}, ("torchrun", 1, 2, 0)),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "2", **TORCHRUN, "RANK": "3"}, ("torchrun", 2, 2, 3)),
        ({**STEP, **HEALED}, ("lightning_rcnn.healing", 1, 2, 0)),  # of the job's two nodes one is lost
        ({**SCRIPT, **OPEN_MPI}, ("mpirun", 2, 3, 4)),
        ({"PMI_SIZE": "4", "MPI_LOCALNRANKS": "4", "PMI_RANK": "1"}, ("mpirun", 1, 4, 1)),
        (JSRUN, ("jsrun", 2, 3, 4)),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "1", "NODE_RANK": "0"}, ("WORLD_SIZE", None, None, 1)),
    ],
)
def test_who_launched(environment, expected):
    launch = read_launch(environment)
    assert (launch.launcher, launch.nodes, launch.processes, launch.rank) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, True),
        (SCRIPT, True),
        (SHELL, True),
        ({**SHELL, "SLURM_JOB_NAME": "fish"}, True),
        ({**ALONE, "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}, True),
        (STEP, False),
        (ALONE, False),
        ({**HEALED, "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}, False),  # its launcher forks it
        ({"LOCAL_RANK": "1"}, False),  # Lightning's own
        ({"NODE_RANK": "1", "MASTER_ADDR": "host"}, False),
        ({"MASTER_ADDR": "host"}, False),
        ({"WORLD_SIZE": "2"}, False),
    ],
)
def test_a_process_that_others_may_wait_for(environment, expected):
    assert waits_for_nobody(environment) is expected


@pytest.mark.parametrize(
    ("environment", "words", "message"),
    [
        (
            SCRIPT,
            ["--trainer.devices", "2"],
            "script of the SLURM job starts one process: give sbatch --ntasks-per-node=2 ",
        ),
        (SHELL, ["--trainer.devices", "2"], "--ntasks-per-node=1; leave .* put SLURM_JOB_NAME=interactive before the"),
        ({**SCRIPT, "SLURM_GPUS_ON_NODE": "2"}, [], "2 GPUs and 1 tasks to a node, but each GPU needs one task"),
        (
            TORCHRUN,
            ["--trainer.devices=4"],
            "devices is 4, but torchrun has 2 for --nproc-per-node; leave trainer.devices",
        ),
        (TORCHRUN, ["--trainer.devices", "[0,1]"], r"trainer.devices is \[0,1\], but torchrun has 2"),
        (TORCHRUN, ["--config", "one.yaml"], "one.yaml:2: trainer.devices is 1, but torchrun has 2"),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "8", **ALONE}, [], "srun starts torchrun 8 times, and each trains alone"),
        ({**SCRIPT, "SLURM_NNODES": "2", **ALONE}, [], "the SLURM job has 2 nodes, and torchrun trains on one"),
        (
            {**TORCHRUN, "WORLD_SIZE": "3"},
            [],
            "torchrun starts 3 processes, 2 of them here: each node needs equally many",
        ),
        (
            {**OPEN_MPI, "OMPI_COMM_WORLD_RANK": "0"},
            [],
            "mpirun started this process, but the package mpi4py is missing",
        ),
        (
            {},
            ["--trainer.num_nodes", "2"],
            "trainer.num_nodes is 2, but nothing starts the others: use srun, or torchrun",
        ),
    ],
)
def test_another_world_than_asked_for_is_refused(settle, tmp_path, environment, words, message):
    (tmp_path / "one.yaml").write_text("trainer:\n  devices: 1\n")
    with pytest.raises(InputError, match=message) as caught:
        settle(environment, *words)
    assert "\n" not in str(caught.value)


def test_the_world_is_torchruns_inside_a_job(settle):
    assert settle({**SCRIPT, **ALONE})[-2:] == ["--trainer.num_nodes=1", "--trainer.devices=2"]
    assert type(environment_of_launcher()).__name__ == "TorchElasticEnvironment"


def test_a_shell_of_a_job_starts_its_own_processes(settle):
    settle({**SHELL, "SLURM_JOB_NAME": "zsh", "SLURM_NTASKS": "1"}, "--trainer.devices", "2")
    assert type(environment_of_launcher()).__name__ == "LightningEnvironment"


def test_ranks_say_the_same_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(one_voice.tempfile, "gettempdir", lambda: str(tmp_path))
    for name, value in {**ALONE, "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    for rank, message in (("0", "no data"), ("1", "no data"), ("1", "rank 1 finds other shards")):
        monkeypatch.setenv("LOCAL_RANK", rank)
        one_voice.say(message)
    assert capsys.readouterr().err == "no data\nrank 1 finds other shards\n"


def test_one_process_may_repeat_itself(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(one_voice.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    one_voice.say("no data")
    one_voice.say("no data")
    assert capsys.readouterr().err == "no data\n" * 2
