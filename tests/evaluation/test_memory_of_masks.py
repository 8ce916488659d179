"""Masks are never held together: dense, those of 100 detections on 4000 x 3000 pixels are 1.2 GB of bytes alone."""

import json
import subprocess
import sys

import pytest


def peaks(tmp_path, *options):
    """Run `bench masks` in a process of its own; returns MB."""
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "lightning_rcnn", "bench", "masks", "--json", report, *options]
    subprocess.run([str(word) for word in command], capture_output=True, check=True)
    return {step: peak / 2**20 for step, peak in json.loads(report.read_text())["peak_bytes"].items()}


@pytest.mark.end_to_end
def test_scoring_needs_little_more_than_one_mask(tmp_path):
    figures = peaks(tmp_path, "--mask_paste", "exact")
    assert figures["scored"] < 2000
    assert figures["scored"] - figures["imports"] < 250


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["exact", "integer"])
def test_scoring_writing_and_drawing_stay_below_two_gigabytes(tmp_path, rule):
    assert peaks(tmp_path, "--mask_paste", rule, "--image", tmp_path / "large.jpg")["drawn"] < 2000
    assert (tmp_path / "large.jpg").exists()
