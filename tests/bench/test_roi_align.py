import json

import pytest
import torch

from lightning_rcnn.bench.roi_align import Workload, cpu_contenders
from lightning_rcnn.cli.commands.bench_roi_align import roi_align
from lightning_rcnn.errors import InputError

WORKLOAD = Workload(2, 64, 96, 4, (8, 16), 12, 3, clustered=True)


def test_contenders_pool_the_same_values():
    contenders = cpu_contenders(WORKLOAD, WORKLOAD.rois())
    expected = contenders[0].pool()
    assert all(torch.allclose(contender.pool(), expected, atol=1e-4) for contender in contenders)


def test_least_traffic_of_one_pixel_by_hand():
    workload = Workload(1, 32, 64, 16, (8,), 1, 1, clustered=False)
    rois = torch.tensor([[0, 32.0, 16.0, 32.0, 16.0]])  # one bin, a pixel wide, over 2 x 2 pixels
    assert workload.least_traffic(rois, 2) == (2 * 2 + 1 + 1 + 4 * 8) * 16 * 2


def test_report_is_written(tmp_path, capsys):
    report = tmp_path / "report.json"
    roi_align(rois=10, channels=4, height=64, width=96, strides=(8, 16), bins=(7,), repeats=2, json=report)
    assert "torchvision NCHW" in capsys.readouterr().out
    results = json.loads(report.read_text())["results"]
    assert [result["placement"] for result in results] == ["random", "clustered"]
    assert len(results[0]["contenders"]) == 4
    assert results[0]["contenders"][0]["ratio"] == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_an_input_error():
    with pytest.raises(InputError, match="--device cpu"):
        roi_align(device="cuda")
