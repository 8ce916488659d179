import pytest
import torch
from rich.console import Console

from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.bench.compare.comparison import curve_of
from lightning_rcnn.cli.commands.bench_passes import passes
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.detectors.rcnn.rcnn import RCNN
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part

SMALL = {
    "class_names": ["a"],
    "backbone": part(PlainBackbone, name="alexnet"),
    "preprocessing": {"min_size": 64, "max_size": 64},
}
HEAD = {"head": {"width": 8}}


@pytest.mark.parametrize(("limits", "numbers"), [((12, 40), [10, 12]), ((7, 7), [7])])
def test_the_curve_ends_with_the_most_proposals_that_both_look_at(limits, numbers):
    rcnn = RCNN(**SMALL, regions={"size": 63, **HEAD}, proposals={"limit": limits[0]}).eval()
    fast_rcnn = FastRCNN(**SMALL, box=HEAD, proposals={"limit": limits[1]}).eval()
    curve = curve_of(rcnn, fast_rcnn, torch.zeros(3, 64, 64, dtype=torch.uint8), Console(quiet=True), repeats=1)
    assert [point.num_proposals for point in curve] == numbers
    for point in curve:
        for key in ("rcnn", "fast_rcnn"):
            assert 0 < point.network_ms[key] < point.total_ms[key]


def test_numbers_that_time_nothing():
    with pytest.raises(InputError, match="--repeats 0: has to be above 0"):
        passes(repeats=0)
