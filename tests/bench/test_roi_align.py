import json

import pytest
import torch

from lightning_rcnn.bench.roi_align import Workload, cpu_contenders
from lightning_rcnn.cli.commands.bench_roi_align import roi_align
from lightning_rcnn.cli.tools import run_tool
from lightning_rcnn.errors import InputError

WORKLOAD = Workload(2, 64, 96, 4, (8, 16), 12, 3, clustered=True)


def test_contenders_pool_the_same_values():
    contenders = cpu_contenders(WORKLOAD, WORKLOAD.rois())
    expected = contenders[0].pool()
    assert all(torch.allclose(contender.pool(), expected, atol=1e-4) for contender in contenders)


def test_min_traffic_of_one_pixel_by_hand():
    workload = Workload(1, 32, 64, 16, (8,), 1, 1, clustered=False)
    rois = torch.tensor([[0, 32.0, 16.0, 32.0, 16.0]])  # one bin, a pixel wide, over 2 x 2 pixels
    assert workload.min_traffic(rois, 2) == (2 * 2 + 1 + 1 + 4 * 8) * 16 * 2


@pytest.mark.parametrize("repeats", [1, 2])
def test_report_is_written(tmp_path, capsys, repeats):
    report = tmp_path / "report.json"
    roi_align(rois=10, channels=4, height=64, width=96, strides=(8, 16), bins=(7,), repeats=repeats, json=report)
    assert "torchvision NCHW" in capsys.readouterr().out
    results = json.loads(report.read_text())["results"]
    assert [result["placement"] for result in results] == ["random", "clustered"]
    assert len(results[0]["contenders"]) == 4
    assert results[0]["contenders"][0]["ratio"] == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_an_input_error():
    with pytest.raises(InputError, match="--device cpu"):
        roi_align(device="cuda")


@pytest.mark.parametrize(
    ("options", "flag"),
    [({"rois": 0}, "--rois 0"), ({"bins": (7, 0)}, "--bins 0"), ({"repeats": -1}, "--repeats -1")]
    + [({"strides": strides}, "--strides .*: have to be powers of two") for strides in ((4, 12), (3, 6), (0,), (8, 4))],
)
def test_impossible_options_are_named(options, flag):
    with pytest.raises(InputError, match=flag):
        roi_align(**options)


def test_strides_come_from_the_command_line():
    with pytest.raises(InputError, match="--strides 4 12: have to be powers of two"):
        run_tool("bench roi-align", roi_align, ["--strides", "4", "12"])
