import json

import pytest
import torch

from lightning_rcnn.bench.detectors.compilations import StepFigures, plans
from lightning_rcnn.cli.commands import bench_compilation
from lightning_rcnn.errors import InputError


def test_only_a_gpu_captures():
    labels = [plan.label for plan in plans(torch.device("cpu"))[1:]]
    assert labels == ["parts compiled", "step compiled"]
    assert len(plans(torch.device("cuda"))) == 5


def test_what_fails_is_named_and_the_others_run(tmp_path, monkeypatch, capsys):
    def time_step(architecture, scene, plan, device, repeats, console):
        if plan is not None and plan.scope == "parts":
            raise RuntimeError("no compiler")
        return StepFigures(9.0, [0.5] * repeats, 0)

    monkeypatch.setattr(bench_compilation, "time_step", time_step)
    with pytest.raises(InputError, match="failed: parts compiled"):
        bench_compilation.compilation(batch_size=1, height=64, width=64, json=tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["name"] for row in report["results"]] == ["as written", "step compiled"]
    assert report["failed"] == ["parts compiled"]
    assert "parts compiled: RuntimeError: no compiler" in capsys.readouterr().out


def test_impossible_options_are_named():
    with pytest.raises(InputError, match="--objects 0"):
        bench_compilation.compilation(objects=0)


@pytest.mark.slow
def test_steps_run_as_written_and_compiled(tmp_path):
    bench_compilation.compilation(batch_size=1, height=64, width=96, repeats=1, json=tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["name"] for row in report["results"]] == ["as written", "parts compiled", "step compiled"]
