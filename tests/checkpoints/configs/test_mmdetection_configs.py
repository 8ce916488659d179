"""Configurations of mmdetection 2.x and 3.x: parsed, never executed; each key against its value here."""

import json

import pytest

from lightning_rcnn.checkpoints.configs.mmdetection_files import read_config
from lightning_rcnn.errors import InputError

MODEL = """
_base_ = ['../schedule.py', './data.py']
scale = 8
norm = dict(type='BN')
model = dict(
    type='FasterRCNN',
    backbone=dict(type='ResNet', depth=50, norm_cfg=norm, strides=(1, 2, 2, 2)),
    neck=[dict(type='FPN', num_outs=5), dict(**norm, extra=-1)],
    beta=1.0 / 9.0, scales=[scale * 2, scale - 1], name=f'r{scale}' + '_x', first=[4, 5][0])
"""
OWN = """
_base_ = 'models/base.py'
model = dict(backbone=dict(_delete_=True, type='ResNeXt', depth=101), roi_head=dict(num={{_base_.optimizer.lr}}))
optimizer = dict(lr=0.5)
val = _base_.optimizer
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "schedule.py").write_text("optimizer = dict(type='SGD', lr=0.02)\nepochs = 12\n")
    (tmp_path / "models" / "data.py").write_text("data = dict(samples_per_gpu=2)\n")
    (tmp_path / "models" / "base.py").write_text(MODEL)
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path


def test_files_build_on_each_other(files):
    config = read_config(files / "own.py")
    assert config["optimizer"] == {"type": "SGD", "lr": 0.5}
    assert config["val"] == {"type": "SGD", "lr": 0.02}
    assert (config["epochs"], config["data"]["samples_per_gpu"]) == (12, 2)
    model = config["model"]
    assert model["backbone"] == {"type": "ResNeXt", "depth": 101}
    assert model["roi_head"] == {"num": 0.02}
    assert model["neck"] == [{"type": "FPN", "num_outs": 5}, {"type": "BN", "extra": -1}]
    assert (model["beta"], model["scales"], model["name"], model["first"]) == (1 / 9, [16, 7], "r8_x", 4)


def test_files_of_the_new_style_build_on_each_other(files):
    (files / "new.py").write_text(
        '"""A text."""\nfrom mmengine.config import read_base\n\nwith read_base():\n    from .models.base import *\n'
    )
    assert read_config(files / "new.py")["model"]["beta"] == 1 / 9


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model = __import__('os').system('touch was_here')", r"own\.py:1: `__import__\('os'\).* computes a value"),
        ("model = dict(a=[open('x')])", "computes a value"),
        ("x = 'a' * 999999999", "computes a value"),
        ("x = [0] * 99999 * 99999", "computes a value"),
        (
            "model = dict(depth=50)\nmodel.update(depth=101)",
            r"own\.py:2: `model\.update\(depth=101\)` computes a value",
        ),
        ("model = dict(depth=50)\nmodel['depth'] = 101", r"own\.py:2: `model\['depth'\] = 101` computes a value"),
        ("model = dict(depth=50)\ndel model['depth']", r"own\.py:2: `del model\['depth'\]` computes a value"),
        ("with read_base():\n    model = dict(depth=50)", r"own\.py:1: `with read_base\(\):` computes a value"),
        ("with open('x'):\n    from .models.base import *", r"own\.py:1: `with open\('x'\):` computes a value"),
        ("for i in range(3):\n    x = i", r"own\.py:1: `for i in range\(3\):` computes a value"),
        ("model = dict(a=unknown)", "computes a value"),
        ("model = 1 / 0", "computes a value"),
        ("model = (", r"own\.py:1: not a configuration"),
        ("_base_ = 'own.py'", "leads in a circle"),
        ("_base_ = ['own.py', 3]", r"own\.py: _base_ \['own\.py', 3\]: give a file, or a list of files"),
        ("_base_ = 'nowhere.py'", r"its _base_ .*nowhere\.py: cannot be read \(No such file"),
    ],
)
def test_what_computes_is_refused_in_one_line(files, monkeypatch, text, problem):
    monkeypatch.chdir(files)
    (files / "own.py").write_text(text)
    with pytest.raises(InputError, match=problem) as caught:
        read_config(files / "own.py")
    assert "\n" not in str(caught.value)
    assert not (files / "was_here").exists()


@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_files_without_python(files, ending):
    """mmcv reads YAML and JSON, too; JSON is YAML."""
    own = {"_base_": ["models/base.py"], "model": {"backbone": {"depth": 101}}, "epochs": 3}
    (files / f"own.{ending}").write_text(json.dumps(own))
    config = read_config(files / f"own.{ending}")
    assert (config["model"]["backbone"]["depth"], config["model"]["backbone"]["type"]) == (101, "ResNet")
    assert (config["epochs"], config["optimizer"]["lr"]) == (3, 0.02)
    (files / f"own.{ending}").write_text("{")
    with pytest.raises(InputError, match="not YAML"):
        read_config(files / f"own.{ending}")
    (files / f"own.{ending}").write_text("{a: &a {b: *a}}")
    with pytest.raises(InputError, match="nested too deeply, or in itself"):
        read_config(files / f"own.{ending}")
