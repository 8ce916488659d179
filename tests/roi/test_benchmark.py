import json

import torch

from lightning_rcnn.commands.bench_roi_align import roi_align
from lightning_rcnn.roi.benchmark import Workload, cpu_contenders


def test_contenders_pool_the_same_values():
    contenders = cpu_contenders(Workload(2, 64, 96, 4, (8, 16), 12, 3, clustered=True))
    expected = contenders[0].pool()
    assert all(torch.allclose(contender.pool(), expected, atol=1e-4) for contender in contenders)


def test_report_is_written(tmp_path, capsys):
    report = tmp_path / "report.json"
    roi_align(rois=10, channels=4, height=64, width=96, strides=(8, 16), bins=(7,), repeats=2, json=report)
    assert "torchvision NCHW" in capsys.readouterr().out
    results = json.loads(report.read_text())["results"]
    assert [result["placement"] for result in results] == ["random", "clustered"]
    assert len(results[0]["contenders"]) == 4
