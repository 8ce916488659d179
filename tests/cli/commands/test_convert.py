import os
import pickle

import numpy as np
import pytest
import torch
import torchvision.models
import yaml

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.torchvision import export
from lightning_rcnn.cli import main
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.loading import load_detector, save_detector
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.parts import part
from lightning_rcnn.plain_data import merge
from tests.seeded import seeded

SMALL = {
    "backbone": part(ResNetFPN, name="resnet18", channels=16),
    "box": {"head": {"width": 16}},
    "rpn": {"post_nms_top_n": [20, 20]},
    "mask": {"width": 16},
}


@pytest.fixture(scope="module")
def detector():
    return seeded(MaskRCNN, ["cat", "dog", "N/A"], **SMALL)


@pytest.fixture
def source(detector, tmp_path):
    """A file as torchvision's users save it."""
    torch.save(export(WeightFile(tmp_path, detector.state_dict())), tmp_path / "theirs.pth")
    return tmp_path / "theirs.pth"


def run(*words):
    return main(["convert", *map(str, words)])


def test_there_and_back_again(detector, source, tmp_path, capsys):
    assert run(source, "--out", tmp_path / "ours.ckpt", "--class_names", "cat, dog, N/A") == 0
    printed = capsys.readouterr().out
    assert "torchvision's Mask R-CNN, version 1, as MaskRCNN with 3 classes" in printed
    assert "--only_used_classes" in printed
    ours = load_detector(tmp_path / "ours.ckpt")
    assert ours.class_names == ["cat", "dog", "N/A"]
    assert all(ours.state_dict()[name].equal(value) for name, value in detector.state_dict().items())
    assert run(tmp_path / "ours.ckpt", "--to", "torchvision", "--out", tmp_path / "back.pth") == 0
    assert "num_classes=4" in capsys.readouterr().out
    back, original = (torch.load(path, weights_only=True) for path in (tmp_path / "back.pth", source))
    assert back.keys() == original.keys()
    assert all(back[name].equal(value) for name, value in original.items())


def test_the_conventions_stand_in_a_file_for_fine_tuning(source, tmp_path):
    assert (
        run(source, "--out", tmp_path / "ours.ckpt", "--set", "backbone.norm_epsilon=1e-3", "preprocessing.min_size=64")
        == 0
    )
    model = yaml.safe_load((tmp_path / "ours.yaml").read_text())["model"]
    assert model["class_path"] == "MaskRCNN"
    assert "class_names" not in model["init_args"]
    wanted = {
        "backbone": {"init_args": {"norm_epsilon": 1e-3}},
        "rpn": {"anchors": {"rounding": "rounded"}},
        "preprocessing": {"init_args": {"resize": "bilinear", "min_size": 64}},
    }
    assert merge(model["init_args"], wanted) == model["init_args"]
    tuned = MaskRCNN(["circle"], **model["init_args"])
    assert tuned.backbone.body.bn1.eps == 1e-3


def test_classes_that_are_not_used_can_be_left_out(source, tmp_path):
    out = tmp_path / "ours.ckpt"
    assert run(source, "--out", out, "--class_names", "cat,dog,N/A", "--only_used_classes") == 0
    assert load_detector(out).class_names == ["cat", "dog"]


def test_a_detector_with_other_parts_needs_a_word(detector, tmp_path, capsys):
    state = export(WeightFile(tmp_path, detector.state_dict()))
    torch.save(state | {"roi_heads.pose_head.0.weight": torch.zeros(1)}, tmp_path / "theirs.pth")
    out = tmp_path / "ours.ckpt"
    assert run(tmp_path / "theirs.pth", "--out", out) == 1
    assert "--allow roi_heads.pose_head.0.weight" in capsys.readouterr().err
    assert run(tmp_path / "theirs.pth", "--out", out, "--allow", "roi_heads.pose_head") == 0
    assert "dropped: allowed" in " ".join(capsys.readouterr().out.split())


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def bad_file(kind, state, detector, folder):
    path = folder / f"{kind.replace(' ', '_')}.pth"
    if kind == "another architecture":
        torch.save({"features.0.weight": torch.zeros(3)}, path)
    elif kind == "missing keys":
        torch.save({name: value for name, value in state.items() if "layer3.1.conv2" not in name}, path)
    elif kind == "a pickle with a call":
        path.write_bytes(pickle.dumps({"model": {"w": np.zeros(2)}, "x": Touch(folder / "was_here")}))
    elif kind == "half a file":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "not a number":
        name = next(name for name in state if name.endswith("rpn.head.conv.0.0.weight"))
        torch.save({**state, name: torch.full_like(state[name], torch.nan)}, path)
    elif kind == "one of ours":
        save_detector(detector, path)
    elif kind == "missing":
        pass
    return path


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("another architecture", "neither a Faster or Mask R-CNN of torchvision, detectron2 or mmdetection"),
        ("missing keys", "'backbone.body.layer3.1.conv2.weight'"),
        ("a pickle with a call", "posix.system"),
        ("half a file", "the end of the file is missing"),
        ("not a number", "'rpn.head.conv.0.0.weight' is not finite"),
        ("one of ours", "already a checkpoint of lightning-rcnn"),
        ("missing", "neither a file, nor a URL"),
    ],
)
def test_bad_input_is_one_line(detector, tmp_path, capsys, kind, problem):
    path = bad_file(kind, export(WeightFile(tmp_path, detector.state_dict())), detector, tmp_path)
    before = sorted(tmp_path.iterdir())
    assert run(path, "--out", tmp_path / "ours.ckpt") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert problem in error
    assert str(path) in error
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--format", "detectron2"], "not weights of detectron2"),
        (["--class_names", "cat,dog"], "2 names for the 3 classes"),
        (["--set", "backbone.norm_epsilon"], "give KEY=VALUE"),
        (["--set", "backbone.norm_epsilom=0"], "takes no backbone.norm_epsilom; did you mean backbone.norm_epsilon?"),
        (["--set", "backbone.norm_epsilon=abc"], "'abc' is no value of backbone.norm_epsilon"),
        (["--set", "preprocessing.pixel_mean=[1,"], "--set preprocessing.pixel_mean=[1,: '[1,' is no value"),
        (["--set", "rpn.anchors.rounding=round"], "'round' is no value of rpn.anchors.rounding"),
        (["--set", "backbone=ResNetC4"], "--allow"),
    ],
)
def test_wrong_options_are_one_line(source, tmp_path, capsys, words, problem):
    assert run(source, "--out", tmp_path / "ours.ckpt", *words) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert problem in error
    assert not (tmp_path / "ours.ckpt").exists()


def test_a_file_that_is_there_is_kept(source, tmp_path, capsys):
    out = tmp_path / "ours.ckpt"
    out.write_text("mine")
    assert run(source, "--out", out) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert run(source, "--out", out, "--overwrite") == 0


def test_a_configuration_that_is_there_is_kept(source, tmp_path, capsys):
    """It may be anybody's: `mask.ckpt` beside `mask.yaml`."""
    (tmp_path / "ours.yaml").write_text("mine")
    assert run(source, "--out", tmp_path / "ours.ckpt") == 1
    assert "ours.yaml: is there already" in capsys.readouterr().err
    assert (tmp_path / "ours.yaml").read_text() == "mine"
    assert not (tmp_path / "ours.ckpt").exists()


def test_unwritable_output_paths_are_refused(source, tmp_path, capsys):
    for out, problem in (
        (tmp_path / "x.yaml", "give it another ending"),
        (tmp_path, "is a folder"),
        (source / "x.ckpt", "cannot be written"),
    ):
        assert run(source, "--out", out, "--overwrite") == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert problem in error


def test_the_configuration_names_the_checkpoint_wherever_it_is_read(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(source, "--out", "ours.ckpt") == 0
    model = yaml.safe_load((tmp_path / "ours.yaml").read_text())["model"]
    assert model["init_args"]["weights"] == str(tmp_path / "ours.ckpt")


def test_conventions_that_torchvision_has_not_are_said(source, tmp_path, capsys):
    run(source, "--out", tmp_path / "same.ckpt")
    run(source, "--out", tmp_path / "other.ckpt", "--set", "preprocessing.channel_order=bgr", "rpn.box_loss.beta=0")
    capsys.readouterr()
    assert run(tmp_path / "same.ckpt", "--to", "torchvision", "--out", tmp_path / "same.pth") == 0
    assert "not find the same" not in capsys.readouterr().out
    assert run(tmp_path / "other.ckpt", "--to", "torchvision", "--out", tmp_path / "other.pth") == 0
    assert "made with preprocessing.channel_order bgr (rgb there).\n" in capsys.readouterr().out


def test_frozen_norms_leave_a_question(source, tmp_path, capsys):
    assert run(source, "--out", tmp_path / "live.ckpt") == 0
    assert "norm_epsilon" not in capsys.readouterr().out
    state = torch.load(source, weights_only=True)
    torch.save({k: v for k, v in state.items() if "num_batches_tracked" not in k}, tmp_path / "frozen.pth")
    assert run(tmp_path / "frozen.pth", "--out", tmp_path / "frozen.ckpt") == 0
    assert "--set backbone.norm_epsilon=1e-5" in capsys.readouterr().out


def test_a_backbones_table_has_a_row_for_each_stage(tmp_path, capsys):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    assert run(tmp_path / "resnet18.pth", "--out", tmp_path / "ours.ckpt") == 0
    rows = [line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [row for row in rows if row.startswith("layer")] == 2 * ["layer1", "layer2", "layer3", "layer4"]


def test_only_ours_go_to_torchvision(source, tmp_path, capsys):
    assert run(source, "--to", "torchvision", "--out", tmp_path / "x.pth") == 1
    assert "not a checkpoint of lightning-rcnn" in capsys.readouterr().err
    save_detector(FasterRCNN(["a"], backbone=ResNetC4("resnet18")), tmp_path / "c4.ckpt")
    assert run(tmp_path / "c4.ckpt", "--to", "torchvision", "--out", tmp_path / "x.pth") == 1
    assert "they have a ResNetFPN" in capsys.readouterr().err
