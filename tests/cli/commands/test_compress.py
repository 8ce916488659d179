import pytest
import torch

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.cli.commands.compress import compress
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.loading import load_detector, save_detector
from lightning_rcnn.errors import InputError


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    save_detector(
        FastRCNN(["a", "b"], backbone=PlainBackbone("alexnet"), box={"head": {"width": 48}}), tmp_path / "whole.ckpt"
    )
    return tmp_path / "whole.ckpt"


def test_a_compressed_checkpoint_detects_almost_as_before(checkpoint, tmp_path, capsys):
    compress(checkpoint, tmp_path / "small.ckpt", ranks=(40, 40), regions=3)
    assert "truncated" in capsys.readouterr().out
    whole, small = load_detector(checkpoint), load_detector(tmp_path / "small.ckpt")
    assert small.box.head.fc6.first.weight.shape == (40, 9216)
    pooled = torch.rand(5, 256, 6, 6)
    with torch.no_grad():
        before, after = whole.box.head(pooled), small.box.head(pooled)
    assert (before - after).norm() < 0.5 * before.norm()
    assert before.norm() > 0


def test_what_cannot_be_compressed(checkpoint, tmp_path):
    with pytest.raises(InputError, match="is there already"):
        compress(checkpoint, checkpoint)
    with pytest.raises(InputError, match="--ranks 8: give one for fc6 and one for fc7"):
        compress(checkpoint, tmp_path / "small.ckpt", ranks=[8])
    with pytest.raises(InputError, match="--regions 0: at least 1"):
        compress(checkpoint, tmp_path / "small.ckpt", regions=0)
    with pytest.raises(InputError, match="svd_ranks: 50 is out of range for fc6; give 1 to 48"):
        compress(checkpoint, tmp_path / "small.ckpt", ranks=(50, 8))
    compress(checkpoint, tmp_path / "small.ckpt", ranks=(8, 8), regions=2)
    with pytest.raises(InputError, match="is compressed already"):
        compress(tmp_path / "small.ckpt", tmp_path / "smaller.ckpt")
    faster_rcnn = FasterRCNN(["a"], backbone=ResNetFPN("resnet18", channels=16), box={"head": {"width": 16}})
    save_detector(faster_rcnn, tmp_path / "faster.ckpt")
    with pytest.raises(InputError, match="is a FasterRCNN"):
        compress(tmp_path / "faster.ckpt", tmp_path / "out.ckpt")
    assert not (tmp_path / "out.ckpt").exists()
