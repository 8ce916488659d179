"""Masks are never laid out together: dense, those of 100 detections on 4000 x 3000 pixels are 1.2 GB of bytes alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("large_masks.py")


def memory(*arguments):
    done = subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_scoring_needs_little_more_than_one_mask():
    figures = memory("exact")
    assert figures["scored"] < 2000
    assert figures["scored"] - figures["imports"] < 250


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["exact", "integer"])
def test_scoring_writing_and_drawing_stay_below_two_gigabytes(tmp_path, rule):
    assert memory(rule, tmp_path)["drawn"] < 2000
    assert (tmp_path / "large.jpg").exists()
