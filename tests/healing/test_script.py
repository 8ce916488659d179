"""`slurm/healing.sbatch` with stand-ins for SLURM and Python."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "slurm" / "healing.sbatch"
PROGRAMS = {
    "scontrol": "printf '%s\\n' $NODES",
    "srun": """while [ "$1" != bash ]; do
  case $1 in --nodelist=*) export NODE=${1#*=} ;; esac
  shift
done
exec "$@"
""",
    "sleep": "exit 0",
}
KILLED_ONCE = 'echo start >>starts; [ $(wc -l <starts) = 2 ] || kill -9 $$; exit "$END"'
ONE_NODE_FAILS = """echo $NODE >>starts
wait_for() { until "$@"; do [ $SECONDS -lt 30 ] || exit 9; done; }
is_started_again() { [ $(grep -c node2 starts) = 2 ]; }
[ $NODE = node1 ] || wait_for test -e job-7.nodes/node1.status
case $NODE in
  node1) exit 1 ;;
  node2) is_started_again || kill -9 $$ ;;
  node3) wait_for is_started_again ;;
esac
exit "$END"
"""
"""Launchers: one that is killed at first, and three of which one fails, one is killed after that, and one goes on."""


@pytest.fixture
def run(tmp_path):
    """Runs the script with stand-ins, of which the launcher's is given; returns its status."""

    def run_script(launcher, status, nodes):
        for name, text in {**PROGRAMS, "python": launcher}.items():
            program = tmp_path / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f"#!/bin/bash\n{text}\n")
            program.chmod(0o755)
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        (tmp_path / ".venv" / "bin" / "activate").touch()
        names = " ".join(f"node{number}" for number in range(1, nodes + 1))
        slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "job", "SLURM_JOB_NODELIST": names, "SLURM_NNODES": str(nodes)}
        path = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(tmp_path)}
        script = subprocess.Popen(
            ["bash", SCRIPT, "--config", "a.yaml"],
            env=path | slurm | {"END": str(status), "NODES": names},
            start_new_session=True,
        )
        try:
            return script.wait(timeout=60)
        finally:  # its launchers are started again and again as long as it lives
            with contextlib.suppress(ProcessLookupError):
                os.killpg(script.pid, signal.SIGKILL)

    return run_script


@pytest.mark.parametrize("status", [0, 1, 75, 130])
def test_a_killed_launcher_is_started_again_and_the_job_ends_as_the_training(run, tmp_path, status):
    assert run(KILLED_ONCE, status, nodes=1) == status
    assert (tmp_path / "starts").read_text() == "start\n" * 2
    assert (tmp_path / "job-7.nodes" / "node1.status").read_text() == f"{status}\n"


@pytest.mark.parametrize("status", [0, 75])
def test_a_fault_of_one_node_ends_neither_the_training_nor_its_status(run, tmp_path, status):
    """The others go on, and one that is killed later is started again."""
    assert run(ONE_NODE_FAILS, status, nodes=3) == status
    starts = (tmp_path / "starts").read_text().split()
    assert sorted(starts) == ["node1", "node2", "node2", "node3"]


def test_it_can_be_started_as_the_other_scripts():
    for script in (SCRIPT, SCRIPT.with_name("train.sbatch")):
        assert os.access(script, os.X_OK), script
