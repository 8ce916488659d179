import numpy as np
import pytest
import torch
from PIL import Image

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.detectors.loading import save_detector
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.parts import part


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """An untrained Mask R-CNN that calls every box a dog, with score .7."""
    torch.manual_seed(0)
    model = MaskRCNN(
        ["cat", "dog"],
        backbone=part(ResNetFPN, name="resnet18", channels=16),
        box={"head": {"width": 16}, "detections_per_image": 5},
        mask={"width": 16},
        preprocessing={"min_size": 64, "max_size": 96},
    )
    with torch.no_grad():
        for parameter in model.box.predictor.parameters():
            parameter.zero_()
            if parameter.shape == (3,):
                parameter.copy_(torch.tensor([0.2, 0.1, 0.7]).log())
    path = tmp_path_factory.mktemp("model") / "best.ckpt"
    save_detector(model.eval(), path)
    return path


@pytest.fixture
def photos(tmp_path):
    """Twelve images of two sizes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = rng.integers(0, 256, (90, 120, 3) if number % 3 else (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder
