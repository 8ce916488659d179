"""`slurm/healing.sbatch` with stand-ins for SLURM and Python."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "slurm" / "healing.sbatch"
PROGRAMS = {
    "scontrol": "echo node1",
    "srun": 'while [ "$1" != bash ]; do shift; done; exec "$@"',
    "sleep": "exit 0",
    "python": 'echo start >>starts; [ $(wc -l <starts) = 2 ] || kill -9 $$; exit "$END"',
}


@pytest.mark.parametrize("status", [0, 1, 75, 130])
def test_a_killed_launcher_is_started_again_and_the_job_ends_as_the_training(tmp_path, status):
    for name, line in PROGRAMS.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/bash\n{line}\n")
        program.chmod(0o755)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "job", "SLURM_JOB_NODELIST": "node1", "SLURM_NNODES": "1"}
    done = subprocess.run(
        ["bash", SCRIPT, "--config", "a.yaml"],
        env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(tmp_path), "END": str(status)}
        | slurm,
        timeout=60,
        check=False,
    )
    assert done.returncode == status
    assert (tmp_path / "starts").read_text() == "start\n" * 2
    assert (tmp_path / "job-7.nodes" / "node1.status").read_text() == f"{status}\n"


def test_it_can_be_started_as_the_other_scripts():
    for script in (SCRIPT, SCRIPT.with_name("train.sbatch")):
        assert os.access(script, os.X_OK), script
