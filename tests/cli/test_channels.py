"""Whole runs on 12 bands of floats in TIFF and on 12 bits of gray in 16: packed, trained, resumed, detected, drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from lightning_rcnn import load_detector
from lightning_rcnn.cli import main
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.shards import read_index
from lightning_rcnn.detectors.images import as_images
from lightning_rcnn.errors import InputError
from lightning_rcnn.export.check import graph_inputs
from lightning_rcnn.export.graph import ExportGraph

pytestmark = pytest.mark.slow  # four trainings of 50 steps

STEPS = 50
HEIGHT, WIDTH = 48, 64
MODEL = {
    "class_path": "FasterRCNN",
    "init_args": {
        "preprocessing": {"min_size": 48, "max_size": 64},
        "backbone": {"class_path": "ResNetFPN", "init_args": {"name": "resnet18", "channels": 16}},
        "rpn": {"anchors": {"sizes": [8, 16, 24, 32, 48]}, "pre_nms_top_n": [50, 50], "post_nms_top_n": [30, 20]},
        "box": {"head": {"width": 32}, "samples_per_image": 16, "detections_per_image": 10},
        "optimizer": {"class_path": "AdamW", "init_args": {"lr": 2e-3}},
        "schedule": {"class_path": "ConstantSchedule", "init_args": {"warmup_steps": 5}},
    },
}


def write_scenes(folder: Path, kind: str, num: int) -> None:
    """Write images with one bright rectangle each, and a table of boxes."""
    folder.mkdir(parents=True)
    lines = ["image,xmin,ymin,xmax,ymax,class"]
    for number in range(num):
        random = np.random.default_rng(number)
        x, y = (int(random.integers(2, edge - 22)) for edge in (WIDTH, HEIGHT))
        image = random.normal(300, 40, (HEIGHT, WIDTH, 12)).clip(0)
        image[y : y + 20, x : x + 20] += 2500
        name = f"scene{number}.{'tif' if kind == 'bands' else 'png'}"
        if kind == "bands":
            tifffile.imwrite(folder / name, image.astype(np.float32), photometric="minisblack", planarconfig="contig")
        else:
            Image.fromarray(image[..., 0].astype(np.uint16)).save(folder / name)
        lines.append(f"{name},{x},{y},{x + 20},{y + 20},square")
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")


def fit(folder: Path, run: str, *options: str) -> Path:
    (folder / "model.yaml").write_text(json.dumps({"model": MODEL}))
    arguments = ["--config", str(folder / "model.yaml"), "--run_dir", str(folder / run), "--trainer.logger", "false"]
    arguments += ["--data.train", str(folder / "shards/train"), "--data.val", str(folder / "shards/val")]
    arguments += ["--trainer.accelerator", "cpu", "--data.num_workers", "0", "--trainer.precision", "32-true"]
    arguments += ["--trainer.check_val_every_n_epoch", "1000000", "--seed_everything", "0"]
    arguments += ["--last_checkpoint.every_n_steps", "5", "--ckpt_path", "last"]
    assert main(["fit", *arguments, *options]) == 0
    return folder / run / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module", params=["bands", "gray"])
def trained(request, tmp_path_factory):
    """The folder of a kind of images that were packed and trained on."""
    folder = tmp_path_factory.mktemp(request.param)
    write_scenes(folder / "scenes", request.param, 12)
    options = ["--split", "0.75,0.25", "--group_by", "none"]
    if request.param == "bands":
        options += ["--bands", "5,3,1", "--range", "percentile"]
    main(["pack", "auto", str(folder / "scenes"), "--out", str(folder / "shards"), *options])
    fit(folder, "run", "--trainer.max_steps", str(STEPS))
    return request.param, folder


def test_the_checkpoint_knows_channels_range_and_bands(trained):
    kind, folder = trained
    detector = load_detector(folder / "run/checkpoints/last.ckpt")
    assert detector.pixels == read_index(str(folder / "shards/train")).pixels
    if kind == "gray":
        assert detector.pixels == PixelFormat(1, "uint16", (0.0,), (4095.0,))
    else:
        assert (detector.pixels.channels, detector.pixels.bands) == (12, (5, 3, 1))
    assert detector.backbone.in_channels == detector.pixels.channels


def test_a_resumed_training_ends_with_the_same_bits(trained):
    _, folder = trained
    fit(folder, "interrupted", "--trainer.max_steps", "23")
    resumed = fit(folder, "interrupted", "--trainer.max_steps", str(STEPS))
    one, other = (
        torch.load(path, weights_only=True)["state_dict"] for path in (folder / "run/checkpoints/last.ckpt", resumed)
    )
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_objects_are_found_and_drawn_in_the_bands(trained, tmp_path):
    kind, folder = trained
    checkpoint = str(folder / "run/checkpoints/last.ckpt")
    arguments = ["--checkpoint", checkpoint, "--device", "cpu", "--workers", "0", "--threshold", "0.05"]
    main(["detect", *arguments, "--images", str(folder / "scenes"), "--out", str(tmp_path / "files")])
    main(["detect", *arguments, "--images", str(folder / "shards/train"), "--out", str(tmp_path / "shards")])
    results = [json.loads(line) for line in (tmp_path / "files/results.jsonl").read_text().splitlines()]
    assert len(results) == 12
    found = {Path(one["image"]).name: one["objects"] for one in results}
    sampled = [json.loads(line) for line in (tmp_path / "shards/results.jsonl").read_text().splitlines()]
    assert all(found[one["image"]] == one["objects"] for one in sampled)
    boxes = np.genfromtxt(folder / "scenes/boxes.csv", delimiter=",", skip_header=1, usecols=(1, 2, 3, 4))
    hits = 0
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        for one in found[f"scene{number}.{'tif' if kind == 'bands' else 'png'}"][:1]:
            x, y, w, h = one["bbox"]
            overlap = max(0, min(x + w, x2) - max(x, x1)) * max(0, min(y + h, y2) - max(y, y1))
            hits += overlap / (w * h + 400 - overlap) > 0.3
    assert hits >= 8  # of 12 after 50 steps: the place is learned before the size; 20 x 20 of 48 x 64 pixels
    pictures = sorted((tmp_path / "files/images").rglob("*.*"))
    assert len(pictures) == 12
    assert all(Image.open(path).mode == "RGB" for path in pictures)


def test_from_python_files_and_arrays_are_found_alike(trained):
    kind, folder = trained
    detector = load_detector(folder / "run/checkpoints/last.ckpt")
    file = folder / "scenes" / f"scene0.{'tif' if kind == 'bands' else 'png'}"
    array = tifffile.imread(file) if kind == "bands" else np.asarray(Image.open(file))
    tensor = torch.from_numpy(np.moveaxis(array, -1, 0) if kind == "bands" else array[None])
    [expected] = detector.detect(file, threshold=0.05)
    assert len(expected["scores"])
    for given in (array, tensor):
        [found] = detector.detect(given, threshold=0.05)
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    with pytest.raises(InputError, match=r"image 0: (values of uint8|3 channels), but"):
        detector.detect(np.zeros((20, 20, 3 if kind == "bands" else 1), np.uint8))


def test_validation_report_sheet_and_inspection_show_the_bands(trained, tmp_path, capsys):
    _, folder = trained
    run = ["--run_dir", str(folder / "run"), "--ckpt_path", "last", "--data.val", str(folder / "shards/val")]
    assert main(["validate", *run, "--trainer.accelerator", "cpu", "--data.num_workers", "0"]) == 0
    assert (folder / "run/validate/images/validation.jpg").is_file()
    assert "data:image/jpeg" in (folder / "run/validate/report/index.html").read_text()
    arguments = ["--config", str(folder / "model.yaml"), "--data.train", str(folder / "shards/train")]
    assert main(["show", *arguments, "--data.num_workers", "0", "--out", str(tmp_path / "show"), "--batches", "1"]) == 0
    assert list((tmp_path / "show").glob("*.jpg"))
    arguments = [f"train={folder / 'shards/train'}", "--config", str(folder / "model.yaml")]
    assert main(["inspect", *arguments, "--out", str(tmp_path / "page.html")]) == 0
    assert "data:image/jpeg" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("trained", ["bands"], indirect=True)
def test_an_exported_file_finds_the_same(trained, tmp_path):
    _, folder = trained
    checkpoint, scenes = str(folder / "run/checkpoints/last.ckpt"), folder / "scenes"
    arguments = ["--out", str(tmp_path / "model.pt2"), "--images", str(scenes), "--threshold", "0.05"]
    assert main(["export", "--checkpoint", checkpoint, *arguments]) == 0
    image, model, out = str(scenes / "scene0.tif"), str(tmp_path / "model.pt2"), tmp_path / "found"
    options = ["--device", "cpu", "--workers", "0", "--threshold", "0.05", "--images", image]
    assert main(["detect", "--checkpoint", model, "--out", str(out), *options]) == 0
    objects = json.loads((out / "results.jsonl").read_text())["objects"]
    # The graph of the detector, whose images are padded more than those of `detect`: that moves boxes of so few steps.
    detector = load_detector(Path(checkpoint)).eval()
    with torch.inference_mode():
        expected = ExportGraph(detector)(*graph_inputs(detector, as_images([image], detector.pixels)))
    boxes = expected["boxes"][0, : int(expected["count"][0])].numpy()
    boxes[:, 2:] -= boxes[:, :2]
    assert len(objects) > 0
    assert np.allclose([one["bbox"] for one in objects], boxes, atol=0.1)


def test_other_images_are_refused_in_one_line(trained, tmp_path, capsys):
    kind, folder = trained
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(tmp_path / "rgb.png")
    checkpoint = str(folder / "run/checkpoints/last.ckpt")
    channels = {"bands": "3 channels, but 12", "gray": "3 channels, but 1"}[kind]
    arguments = ["--images", str(tmp_path / "rgb.png"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["detect", "--checkpoint", checkpoint, *arguments, "--workers", "0"]) != 0
    assert channels in capsys.readouterr().err
