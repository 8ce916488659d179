"""Detectors of every kind reproduce pinned numbers on any machine."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

HERE = Path(__file__).parent
GOLDEN = SimpleNamespace(**runpy.run_path(str(HERE / "golden.py")))
PINNED = json.loads((HERE / "golden.json").read_text())
SLOWEST = ("c4", "dc5")
"""Backbones whose heads are stages of a ResNet."""


def test_every_kind_of_detector_is_pinned():
    assert list(PINNED) == list(GOLDEN.DETECTORS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.end_to_end) if name.endswith(SLOWEST) else name for name in PINNED]
)
def test_losses_gradients_and_detections_are_those_that_were_pinned(name):
    found = GOLDEN.values_of(name, GOLDEN.pinned_batch(name), torch.float32)
    assert found.keys() == PINNED[name].keys()
    for what, pinned in PINNED[name].items():
        assert found[what] == pytest.approx(pinned, rel=1e-4), what
