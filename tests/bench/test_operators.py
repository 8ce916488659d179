import json

import pytest
import torch

from lightning_rcnn.bench import operators
from lightning_rcnn.bench.detectors import Scene
from lightning_rcnn.bench.roi_align import Workload
from lightning_rcnn.cli.commands import bench_operators
from lightning_rcnn.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_mask_targets_are_the_same():
    case = operators.mask_targets(Scene.random(2, 60, 80, 3, 2), 10, CPU)
    theirs = torch.stack(case.contenders["torchvision"]())
    assert torch.allclose(case.contenders["align_bitmaps"](), theirs, atol=1e-5)


def test_outlines_fill_what_the_bitmaps_cover():
    case = operators.mask_targets(Scene.random(2, 200, 300, 3, 2, sides=(0.4, 0.6)), 10, CPU)
    covered = torch.stack(case.contenders["torchvision"]()) >= 0.5
    filled = case.contenders["fill_polygons"]().bool()
    assert (filled != covered).float().mean() < 0.03  # cells at the outline; torchvision's grid lies half a pixel off
    assert filled.any()


def test_roi_pool_has_the_same_values_and_gradients():
    case = operators.roi_pool(Workload(2, 64, 96, 4, (8, 16), 12, 3, clustered=True), torch.float32, CPU)
    for ours, theirs in zip(case.contenders["multiscale_roi_pool"](), case.contenders["torchvision"](), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_same_boxes_are_kept():
    case = operators.suppression(2, 300, 3, CPU)
    kept = case.contenders["batched_nms"]()
    for image, expected in enumerate(case.contenders["torchvision"]()):
        assert kept.indices[image][kept.is_valid[image]].tolist() == expected.tolist()


def test_report_and_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench_operators, "cases", lambda *_: iter([operators.suppression(1, 50, 2, CPU)]))
    bench_operators.operators(operator="nms", repeats=1, json=tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["name"] for row in report["results"][0]["contenders"]] == ["torchvision", "batched_nms"]
    assert report["results"][0]["contenders"][0]["ratio"] == 1
    assert "NMS, 1 x 50 boxes in 2 groups" in capsys.readouterr().out


def test_impossible_options_are_named():
    with pytest.raises(InputError, match="--repeats 0"):
        bench_operators.operators(repeats=0)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="--device cuda"):
            bench_operators.operators(device="cuda")
