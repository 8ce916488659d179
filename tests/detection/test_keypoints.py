"""`detect` with keypoints: results, COCO's files, and pictures."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from lightning_rcnn import KeypointRCNN
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.cli.commands.detect import detect
from lightning_rcnn.data.pack.shapes import CLASS_NAMES, SKELETON, generate_scene
from lightning_rcnn.detectors.loading import save_detector
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint and one photo."""
    path = tmp_path_factory.mktemp("keypoints")
    torch.manual_seed(0)
    detector = KeypointRCNN(
        list(CLASS_NAMES),
        skeleton=SKELETON,
        backbone=part(ResNetFPN, name="resnet18", channels=32),
        rpn={"pre_nms_top_n": [50, 50], "post_nms_top_n": [20, 20]},
        box={"head": {"width": 32}, "score_threshold": 0.0},
        keypoint={"num_layers": 1, "width": 8},
        preprocessing={"min_size": 64, "max_size": 128},
    )
    save_detector(detector, path / "best.ckpt")
    Image.fromarray(np.ascontiguousarray(generate_scene(3, 5).image)).save(path / "photo.png")
    return path


def test_results_have_keypoints_in_cocos_numbers(folder):
    out = folder / "out"
    photo = str(folder / "photo.png")
    detect(
        folder / "best.ckpt", [photo], out, threshold=0.0, workers=0, device="cpu", precision="32-true", format="coco"
    )
    (line,) = (out / "results.jsonl").read_text().splitlines()
    objects = json.loads(line)["objects"]
    expected = KeypointRCNN.load_from_checkpoint(folder / "best.ckpt").eval().detect(photo, threshold=0.0)[0]
    assert len(objects) == len(expected["boxes"]) > 0
    for found, keypoints in zip(objects, expected["keypoints"], strict=True):
        wanted = (keypoints - torch.tensor([0.5, 0.5, 0.0])).flatten()  # the index of a pixel, not its center
        torch.testing.assert_close(torch.tensor(found["keypoints"]), wanted, atol=2e-3, rtol=0)
    results = json.loads((out / "results.json").read_text())
    assert [each["keypoints"] for each in results] == [each["keypoints"] for each in objects]
    coco = COCO(str(out / "coco" / "annotations.json"))
    assert coco.loadCats([1])[0]["keypoints"] == list(SKELETON.names)
    annotations = coco.loadAnns(coco.getAnnIds())
    assert len(annotations) == len(objects)
    assert set(annotations[0].get("keypoints", [0] * 18)[2::3]) <= {0, 2}
    assert any((out / "images").iterdir())


def test_tiles_are_refused(folder):
    with pytest.raises(InputError, match="KeypointRCNN: keypoints of tiles and views are not merged; leave out tile"):
        detect(folder / "best.ckpt", [str(folder / "photo.png")], folder / "tiled", tile=64, workers=0, device="cpu")
