from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.cli import main
from lightning_rcnn.data.pack.shapes import generate_scene
from lightning_rcnn.detectors.loading import save_detector
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.parts import part

CLASSES = ["circle", "square", "triangle"]


@pytest.fixture(scope="session")
def detector():
    """A small Mask R-CNN; its untrained predictors are scaled, so that scores and masks are not all one half."""
    torch.manual_seed(0)
    model = MaskRCNN(
        CLASSES,
        category_ids=[4, 5, 9],
        backbone=part(ResNetFPN, name="resnet18", channels=32),
        rpn={"pre_nms_top_n": [100, 100], "post_nms_top_n": [50, 50]},
        box={"head": {"width": 64}},
        mask={"width": 16},
        preprocessing={"min_size": 96, "max_size": 160, "resize": "pillow"},
    ).eval()
    with torch.no_grad():
        model.box.predictor.class_logits.weight.mul_(300)
        model.mask.head.logits.weight.mul_(3000)
    return model


@pytest.fixture(scope="session")
def folder(tmp_path_factory, detector):
    """The folder of a checkpoint, of four photos in three sizes, and of what is exported."""
    path = tmp_path_factory.mktemp("export")
    save_detector(detector, path / "best.ckpt")
    (path / "photos").mkdir()
    for index in range(4):
        Image.fromarray(np.ascontiguousarray(generate_scene(7, index).image)).save(path / "photos" / f"{index}.png")
    return path


@pytest.fixture(scope="session")
def onnx_file(folder):
    """The detector as an ONNX file, and what the command printed."""
    printed = StringIO()
    words = f"export --checkpoint {folder / 'best.ckpt'} --images {folder / 'photos'} --out {folder / 'detector.onnx'}"
    with redirect_stdout(printed):
        assert main(words.split()) == 0
    return folder / "detector.onnx", printed.getvalue()
