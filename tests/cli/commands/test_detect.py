import json
import os
import shutil

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from pycocotools import mask

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.checkpoints.header import write_thresholds
from lightning_rcnn.cli.commands.detect import detect
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part
from lightning_rcnn.visualization import class_color
from tests.seeded import seeded

SMALL = {
    "backbone": part(ResNetFPN, name="resnet18", channels=16),
    "box": {"head": {"width": 16}, "detections_per_image": 5},
    "preprocessing": {"min_size": 64, "max_size": 96},
}


def only_dogs(model):
    """Untrained; the last layer's bias makes every box a dog, score 0.7."""
    with torch.no_grad():
        for parameter in model.box.predictor.parameters():
            parameter.zero_()
            if parameter.shape == (3,):
                parameter.copy_(torch.tensor([0.2, 0.1, 0.7]).log())
    return model.eval()


def save(model, folder):
    path = folder / "best.ckpt"
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path, weights_only=True)
    return path


@pytest.fixture(scope="module")
def detector():
    return only_dogs(seeded(FasterRCNN, ["cat", "dog"], category_ids=[17, 18], **SMALL))


@pytest.fixture(scope="module")
def checkpoint(detector, tmp_path_factory):
    return save(detector, tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def photos(tmp_path):
    """Two images of different sizes and kinds, and one file that is none."""
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for name, size in (("a.jpg", (90, 120)), ("inner/b.bmp", (64, 64))):
        pixels = torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    return folder


def test_images_and_results(detector, checkpoint, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "out"
    detect(checkpoint, [photos], out, threshold=0.5, device="cpu", precision="32-true")

    named = json.loads((out / "images.json").read_text())
    assert named["categories"] == [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}]
    assert named["images"] == [
        {"id": 1, "file_name": str(photos / "a.jpg"), "width": 120, "height": 90},
        {"id": 2, "file_name": str(photos / "inner" / "b.bmp"), "width": 64, "height": 64},
    ]

    # The same boxes as from Python.
    (expected, _) = detector.detect([photos / "a.jpg", photos / "inner" / "b.bmp"], threshold=0.5)
    results = [entry for entry in json.loads((out / "results.json").read_text()) if entry["image_id"] == 1]
    assert len(results) == len(expected["boxes"]) > 0
    for entry, (x1, y1, x2, y2), score in zip(results, expected["boxes"].tolist(), expected["scores"], strict=True):
        assert entry["category_id"] == 18
        assert entry["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1e-3)
        assert entry["score"] == pytest.approx(score.item(), abs=1e-5) == pytest.approx(0.7, abs=1e-3)

    pictures = sorted(path.relative_to(out / "images") for path in (out / "images").rglob("*.*"))
    assert [str(path) for path in pictures] == ["photos/a.jpg", "photos/inner/b.bmp.jpg"]
    assert Image.open(out / "images" / "photos" / "a.jpg").width >= 120

    shown = capsys.readouterr().out
    assert "broken.png" in shown
    assert "dog" in shown
    assert "objects in 2 images" in shown


def test_masks_in_images_and_results(photos, tmp_path, monkeypatch):
    """The same as from Python, but never as large as the image; and each mask leaves its color in the image."""
    model = only_dogs(seeded(MaskRCNN, ["cat", "dog"], mask={"width": 16}, **SMALL))
    checkpoint = save(model, tmp_path)
    [expected] = model.detect([photos / "a.jpg"], threshold=0.5)
    assert 0 < expected["masks"].float().mean() < 1

    monkeypatch.setattr("lightning_rcnn.detectors.base.paste_densely", pytest.fail)
    detect(checkpoint, [photos / "a.jpg"], tmp_path / "out", threshold=0.5, device="cpu", precision="32-true")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(results) == len(expected["masks"]) > 0
    for entry, pixels in zip(results, expected["masks"], strict=True):
        assert (mask.decode(entry["segmentation"]) == pixels.numpy()).all()
    picture = np.asarray(Image.open(tmp_path / "out" / "images" / "a.jpg").convert("RGB")).astype(int)
    assert (abs(picture - class_color(2)).max(axis=2) < 40).sum() > 500


def test_a_threshold_that_nothing_reaches(checkpoint, photos, tmp_path, capsys):
    detect(checkpoint, [photos / "a.jpg"], tmp_path / "out", threshold=0.9, device="cpu")
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == []
    assert "0 objects in 1 image; a lower --threshold may find some" in capsys.readouterr().out


def test_the_best_threshold_is_that_of_the_checkpoint(checkpoint, photos, tmp_path, capsys):
    validated = shutil.copy(checkpoint, tmp_path / "validated.ckpt")
    with pytest.raises(InputError, match=r"--threshold best: .*validated\.ckpt holds none; `validate --ckpt_path"):
        detect(validated, [photos / "a.jpg"], tmp_path / "out", threshold="best", device="cpu")
    for score, is_found in ((0.69, True), (0.71, False)):
        write_thresholds(validated, {"score": score, "f1": 0.5, "per_class": {"dog": score}})
        out = tmp_path / str(score)
        detect(validated, [photos / "a.jpg"], out, threshold="best", device="cpu", workers=0)
        assert bool(json.loads((out / "results.json").read_text())) == is_found
        assert f"--threshold best: {score:.3f}." in capsys.readouterr().out


def test_each_class_has_a_threshold_of_its_own(checkpoint, photos, tmp_path, capsys):
    """All boxes are dogs with .7; a class without a true positive takes the threshold over all classes."""
    validated = shutil.copy(checkpoint, tmp_path / "validated.ckpt")
    for overall, per_class, is_found, said in (
        (0.9, {"cat": 0.9, "dog": 0.6}, True, "0.600 to 0.900 for 2 classes."),
        (0.1, {"cat": 0.1, "dog": 0.71}, False, "0.100 to 0.710 for 2 classes."),
        (0.71, {"cat": 0.1}, False, "0.100 to 0.100 for 1 class; the one over all classes, 0.710, for the 1 without"),
    ):
        write_thresholds(validated, {"score": overall, "f1": 0.5, "per_class": per_class})
        out = tmp_path / f"{overall}{len(per_class)}"
        detect(validated, [photos / "a.jpg"], out, threshold="best_per_class", device="cpu", workers=0)
        assert bool(json.loads((out / "results.json").read_text())) == is_found
        assert f"--threshold best_per_class: {said}" in capsys.readouterr().out


def test_what_cannot_be_done(checkpoint, photos, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"none of 1 files can be read; .*broken\.png: "):
        detect(checkpoint, [photos / "broken.png"], out)
    with pytest.raises(InputError, match="--threshold 50: a score is from 0 to 1"):
        detect(checkpoint, [photos], out, threshold=50)
    with pytest.raises(InputError, match=r"no such checkpoint"):
        detect(tmp_path / "none.ckpt", [photos], out)
    assert not out.exists()


def test_what_a_folder_holds_beside_images_is_named(checkpoint, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    (photos / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(40))
    shutil.copy(photos / "a.jpg", photos / "plain")
    (photos / "README").write_text("hello")
    for name in ("1.txt", "2.txt"):
        (photos / name).write_text("hello")
    shutil.copy(photos / "a.jpg", photos / os.fsdecode(b"caf\xe9.jpe"))
    detect(checkpoint, [photos], tmp_path / "out", device="cpu")
    lines = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines()]
    rows = {tuple(cell.strip() for cell in cells) for cells in lines if len(cells) == 4}
    skipped = {cells[0].strip(): cells[1].strip() for cells in lines if len(cells) == 2}
    unknown, by_its_suffix = "not an image of a known format", "an image, but not by its suffix: rename it, or give the"
    assert rows == {
        (".txt", "2", str(photos / "1.txt"), unknown),
        ("no suffix", "1", str(photos / "README"), unknown),
        ("no suffix", "1", str(photos / "plain"), f"{by_its_suffix} file itself to --images"),
    }
    assert skipped[str(photos / "clip.mp4")].startswith("not a video: ")
    assert len(list((tmp_path / "out" / "images").rglob("*.jp*"))) == 3


def test_files_of_label_tools_beside_the_results(checkpoint, photos, tmp_path):
    detect(checkpoint, [photos], tmp_path / "out", device="cpu", format="labelme")
    content = json.loads((tmp_path / "out" / "labelme" / "a.json").read_text())
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(content["shapes"]) == sum(entry["image_id"] == 1 for entry in results) > 0
    assert (tmp_path / "out" / "labelme" / "a.jpg").read_bytes() == (photos / "a.jpg").read_bytes()
