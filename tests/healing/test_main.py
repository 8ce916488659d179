"""`python -m lightning_rcnn.healing`, before it has imported what it needs."""

import os
import subprocess
import sys

import pytest

from lightning_rcnn.stop_signals import EXIT_STATUS


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_among_the_imports_asks_for_another_start(tmp_path, name):
    """They take seconds. A module that swallows exceptions stands in the place of the first large one."""
    send = f"os.kill(os.getpid(), signal.{name}); time.sleep(30)"
    (tmp_path / "torch.py").write_text(
        f"import os, signal, time\ntry:\n    {send}\nexcept BaseException:\n    raise ImportError('lost') from None\n"
    )
    here = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    words = [sys.executable, "-m", "lightning_rcnn.healing", "--ranks", "1", "fit", "--config", "a.yaml"]
    outcome = subprocess.run(words, env=os.environ | {"PYTHONPATH": here}, capture_output=True, text=True, timeout=25)
    assert outcome.returncode == EXIT_STATUS, outcome.stderr
