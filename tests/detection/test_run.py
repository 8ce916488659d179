"""Whole runs: killed and continued, in several processes, watched; the same as from Python."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from pickle import PicklingError

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask

from lightning_rcnn.cli import main
from lightning_rcnn.cli.commands.detect import detect
from lightning_rcnn.detection.loading import Prepared, load_stills, prepare_whole
from lightning_rcnn.detection.processes import Detection
from lightning_rcnn.detection.running import DetectionProcess, Job
from lightning_rcnn.detection.sources import find_sources
from lightning_rcnn.detection.stills import Pixels, UnreadableImage
from lightning_rcnn.detection.watching import Watch
from lightning_rcnn.detectors.loading import load_detector, save_detector
from lightning_rcnn.detectors.tiles_and_views import TilesAndViews
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import merge

OPTIONS = {"device": "cpu", "precision": "32-true", "no_images": True}


def entries(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def assert_equal(found, expected):
    """The same images, each once, with the same objects."""
    found, expected = ({entry["image"]: entry["objects"] for entry in one} for one in (found, expected))
    assert found.keys() == expected.keys()
    for image, objects in expected.items():
        assert len(found[image]) == len(objects) > 0
        for one, other in zip(found[image], objects, strict=True):
            assert one["bbox"] == pytest.approx(other["bbox"], abs=0.01)
            assert one["category_id"] == other["category_id"]


@pytest.mark.end_to_end
def test_batches_workers_and_processes_change_nothing(checkpoint, photos, tmp_path):
    detect(checkpoint, [str(photos)], tmp_path / "one", workers=0, **OPTIONS)
    one = entries(tmp_path / "one")
    assert [entry["image"] for entry in one] == sorted(str(path) for path in photos.iterdir())
    detect(checkpoint, [str(photos)], tmp_path / "many", workers=1, batch_size=3, **OPTIONS)
    assert [entry["image"] for entry in entries(tmp_path / "many")] == [entry["image"] for entry in one]
    assert_equal(entries(tmp_path / "many"), one)
    # Two processes share the work, and hold the detector also for what comes later.
    copy = shutil.copy(checkpoint, tmp_path / "copy.ckpt")
    job = Job(copy, "cpu", "32-true", 0.5, 1, TilesAndViews(), 0, None)
    stills, two = find_sources([str(photos)]).stills, []
    with ExitStack() as stack:
        detection = Detection(job, load_detector(copy), tmp_path, ["cpu", "cpu"], stack)
        for part in (stills[:7], stills[7:]):
            two += [outcome.entry for outcome in detection.run(part, [])]
            copy.unlink(missing_ok=True)
    assert len(two) == len(one)
    assert_equal(two, one)


@pytest.mark.end_to_end
def test_a_killed_run_is_continued_with_each_image_once(checkpoint, photos, tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    for number in range(120):
        shutil.copy(photos / f"{number % 12:02}.png", many / f"{number:04}.png")
    out, lines = tmp_path / "out", tmp_path / "out" / "results.jsonl"
    words = ["--checkpoint", checkpoint, "--images", many, "--out", out, "--device", "cpu", "--workers", "1"]
    command = [sys.executable, "-m", "lightning_rcnn", "detect", *map(str, words), "--no_images", "--batch_size", "4"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (lines.exists() and lines.stat().st_size > 8_000):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = lines.read_bytes().count(b"\n")
    assert 0 < done < 120
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"Results are there already for {done} image" in printed
    assert f", and missing for {120 - done}." in printed
    assert Counter(entry["image"] for entry in entries(out)) == Counter(str(path) for path in many.iterdir())
    assert len(json.loads((out / "images.json").read_text())["images"]) == 120


@pytest.mark.end_to_end
def test_tiles_and_views_are_those_of_python(checkpoint, photos, tmp_path, capsys):
    options = {"tile": 80, "overlap": 0.25, "tta": "flip"}
    detect(checkpoint, [str(photos)], tmp_path / "out", workers=0, **OPTIONS, **options)
    assert "Not cut, as no larger than a tile of 80 pixels: 4 images." in capsys.readouterr().out
    found = entries(tmp_path / "out")
    model = load_detector(checkpoint)
    for entry, expected in zip(found, model.detect([one["image"] for one in found], **options), strict=True):
        assert len(entry["objects"]) == len(expected["boxes"])
        for one, box, pixels in zip(entry["objects"], expected["boxes"], expected["masks"], strict=True):
            x, y, width, height = one["bbox"]
            torch.testing.assert_close(torch.tensor([x, y, x + width, y + height]), box, rtol=0, atol=0.01)
            assert (mask.decode(one["segmentation"]) == pixels.numpy()).all()
    assert sum(len(entry["objects"]) for entry in found) > 0
    boxes = torch.tensor([one["bbox"] for entry in found if entry["width"] == 120 for one in entry["objects"]])
    assert (boxes[:, :2] + boxes[:, 2:]).amax(0).tolist() > [80, 80]


def test_an_object_has_one_class_if_asked(checkpoint, photos, tmp_path):
    model = load_detector(checkpoint)
    model = type(model)(**merge(model.init_args, {"box": {"init_args": {"detections_per_image": 500}}}))
    with torch.no_grad():  # every box is a cat, and a dog with a higher score
        for parameter in model.box.predictor.parameters():
            parameter.zero_()
            if parameter.shape == (3,):
                parameter.copy_(torch.tensor([0.2, 0.3, 0.5]).log())
    save_detector(model.eval(), tmp_path / "both.ckpt")
    arguments = str(tmp_path / "both.ckpt"), [str(photos / name) for name in ("01.png", "02.png")]
    options = OPTIONS | {"threshold": 0.25, "workers": 0, "batch_size": 2}
    detect(*arguments, tmp_path / "two", **options)
    detect(*arguments, tmp_path / "one", nms_across_classes=True, **options)
    for both, one in zip(entries(tmp_path / "two"), entries(tmp_path / "one"), strict=True):
        dogs = [found for found in both["objects"] if found["class"] == "dog"]
        assert one["objects"] == dogs
        assert 0 < len(dogs) < len(both["objects"])
    with pytest.raises(InputError, match="holds results with nms_across_classes True, not False"):
        detect(*arguments, tmp_path / "one", **options)


def test_a_watched_file_is_taken_once_and_only_when_it_is_whole(photos, tmp_path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    shutil.copy(photos / "00.png", inbox / "a.png")
    looks = []

    def find():
        """Two files come in, the second one in two steps."""
        looks.append(len(looks))
        if looks[-1] == 3:
            (inbox / "b.png").write_bytes((photos / "01.png").read_bytes()[:50])
        if looks[-1] == 4:
            shutil.copy(photos / "01.png", inbox / "b.png")
        if looks[-1] == 8:
            shutil.copy(photos / "02.png", inbox / "c.png")
        return find_sources([str(inbox)])

    watch = iter(Watch(find, seconds=0.001))
    for look, name in ((1, "a.png"), (5, "b.png"), (9, "c.png")):
        stills, videos = next(watch)
        assert looks[-1] == look
        assert [still.key for still in stills] == [str(inbox / name)]
        assert not videos


def test_a_watched_folder_may_be_gone_for_a_while(photos, tmp_path):
    said, looks = [], []

    def find():
        """The folder is there, gone for three looks, there again, and gone again."""
        looks.append(len(looks))
        if looks[-1] in (2, 3, 4, 7):
            raise InputError("inbox: no such file or folder")
        return find_sources([str(photos / "0[01].png" if looks[-1] < 2 else photos / "0[0-2].png")])

    watch = iter(Watch(find, 0.001, said.append))
    assert len(next(watch)[0]) == 2
    ((still,), _) = next(watch)
    assert still.key == str(photos / "02.png")
    assert said == ["inbox: no such file or folder; looking again every 0.001 seconds"]


def test_watching_takes_what_comes_until_it_is_interrupted(checkpoint, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(checkpoint, "best.ckpt")
    inbox, lines = Path("inbox"), Path("out/results.jsonl")
    inbox.mkdir()

    def fill():
        """Copy one image after the other, each when the one before has its results; then press Ctrl-C."""
        last = time.monotonic() + 60
        for number in range(3):
            shutil.copy(photos / f"{number:02}.png", inbox)
            while time.monotonic() < last and not (lines.exists() and lines.read_bytes().count(b"\n") > number):
                time.sleep(0.01)
            Path("best.ckpt").unlink(missing_ok=True)  # the detector is loaded once
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    thread = threading.Thread(target=fill, daemon=True)
    try:
        thread.start()
        words = "detect --checkpoint best.ckpt --images inbox --out out --device cpu --workers 0 --no_images"
        assert main([*words.split(), "--watch", "--watch_seconds", "0.02"]) == 0
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    printed = capsys.readouterr().out
    assert "Waiting for images; Ctrl-C ends." in printed
    assert "objects in 3 images. Results are in out" in printed
    assert [entry["image"] for entry in entries(Path("out"))] == [f"inbox/{number:02}.png" for number in range(3)]
    assert len(json.loads(Path("out/images.json").read_text())["images"]) == 3
    assert json.loads(Path("out/results.json").read_text())


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"overlap": 0.3}, "--overlap 0.3: only tiles overlap; give a tile, too"),
        ({"overlap": 1.0, "tile": 800}, "--overlap 1: a share of a tile, from 0 to less than 1"),
        ({"tile": 8}, "--tile 8: the side of a tile in pixels, at least 32"),
        ({"tta": "flips"}, "--tta 'flips': unknown; give some of flip, vertical_flip, scales"),
        ({"batch_size": 0}, "--batch_size 0: a whole number, at least 1"),
        ({"processes": 0}, "--processes 0: a whole number, at least 1"),
        ({"watch_seconds": 0.0}, "--watch_seconds 0: more than 0"),
    ],
)
def test_mistakes_are_one_line_before_any_work(checkpoint, photos, tmp_path, options, line):
    with pytest.raises(InputError) as caught:
        detect(checkpoint, [str(photos)], tmp_path / "out", **options)
    assert str(caught.value).startswith(line)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pattern", ["photos/images/*.png", "photos/images/00.png"])
def test_drawn_images_never_replace_their_input(checkpoint, photos, tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    (photos / "images").mkdir()
    shutil.copy(photos / "00.png", photos / "images")
    with pytest.raises(InputError, match=r"00\.png: lies in .*images, where drawn images go and would replace it"):
        detect(checkpoint, [pattern], photos, workers=0, device="cpu")
    assert (photos / "images" / "00.png").read_bytes() == (photos / "00.png").read_bytes()
    detect(checkpoint, [pattern], photos, workers=0, **OPTIONS)


def test_no_call_replaces_the_drawing_of_another(checkpoint, photos, tmp_path, capsys):
    options = {**OPTIONS, "workers": 0, "no_images": False}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    shutil.copy(photos / "00.png", tmp_path / "a" / "x.png")
    shutil.copy(photos / "01.png", tmp_path / "b" / "x.png")
    out = tmp_path / "out"
    drawn = []
    for name in ("a", "b"):
        detect(checkpoint, [str(tmp_path / name / "x.png")], out, **options)
        drawn.append((out / "images" / "x.png").read_bytes())
    assert [entry["drawn"] for entry in entries(out)] == ["x.png", "x-2.png"]
    assert drawn[0] == drawn[1]
    assert (out / "images" / "x-2.png").read_bytes() != drawn[0]
    # Results of a call that has drawn nothing are told.
    lines = (out / "results.jsonl").read_text()
    (out / "results.jsonl").write_text(lines.replace('"drawn":"x.png",', ""))
    capsys.readouterr()
    detect(checkpoint, [str(tmp_path / "a" / "x.png")], out, **options)
    assert "1 of them are not drawn; another --out draws them." in capsys.readouterr().out


def test_no_drawing_replaces_a_file_of_another_origin(checkpoint, photos, tmp_path):
    out = tmp_path / "mine"
    (out / "images").mkdir(parents=True)
    shutil.copy(photos / "00.png", out / "images")
    with pytest.raises(InputError, match=r"mine: its images/ is of another origin, since there is no detect\.json"):
        detect(checkpoint, [str(photos / "00.png")], out, device="cpu")


def test_a_watched_folder_that_holds_the_results_is_refused(checkpoint, photos):
    with pytest.raises(InputError, match=r"photos: lies in .*, where results go"):
        detect(checkpoint, [str(photos)], photos.parent, watch=True)


@pytest.mark.parametrize("side", [64, 400])
def test_images_cross_to_this_process_unchanged(tmp_path, side):
    """Small ones through a pipe, others in shared memory."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, 2 * side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    stills = find_sources([str(tmp_path)]).stills
    (image,) = load_stills(stills, lambda tensor: Prepared(tensor, tensor.float()[:, ::2]), 1)
    expected = torch.from_numpy(pixels).permute(2, 0, 1)
    assert torch.equal(image.pixels, expected)
    assert torch.equal(image.resized, expected.float()[:, ::2])


def test_why_a_process_cannot_start_is_said(tmp_path):
    job = Job(lambda: "no path", "cpu", "32-true", 0.5, 1, TilesAndViews(), 0, None)
    with pytest.raises((AttributeError, PicklingError), match="pickle"), ExitStack() as stack:
        Detection(job, None, tmp_path, ["cpu", "cpu"], stack)


class Numbered:
    """An image of one color, its number; every seventh cannot be read."""

    drawn = Path()

    def __init__(self, number):
        self.number, self.key = number, str(number)

    def read(self, pixels):
        if self.number % 7 == 6:
            raise UnreadableImage("no color")
        return Pixels(torch.full((3, 2, 3), self.number, dtype=torch.uint8), self.key, self.drawn, "")


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_images_that_cross_together_keep_their_order(num_workers):
    loaded = list(load_stills([Numbered(number) for number in range(200)], prepare_whole, num_workers))
    assert [(image.number, image.key) for image in loaded] == [(number, str(number)) for number in range(200)]
    assert [image.number for image in loaded if image.problem] == list(range(6, 200, 7))
    read = [image for image in loaded if not image.problem]
    assert all(image.size == (2, 3) and (image.pixels == image.number).all() for image in read)


@pytest.mark.end_to_end
@pytest.mark.parametrize("victim", ["loads", "finishes"])
def test_a_worker_that_dies_ends_the_run_in_one_line(checkpoint, tmp_path, victim):
    for number in range(60):  # more pixels than the pipes to the workers hold
        Image.new("RGB", (400, 300)).save(tmp_path / f"{number:02}.png")
    job = Job(checkpoint, "cpu", "32-true", 0.5, 1, TilesAndViews(), 1, tmp_path / "drawn")
    before = set(multiprocessing.active_children())
    with ExitStack() as stack:
        process = DetectionProcess(job, load_detector(checkpoint), stack)
        finishing = set(multiprocessing.active_children()) - before
        outcomes = process.stills(find_sources([str(tmp_path)]).stills)
        next(outcomes)
        loading = set(multiprocessing.active_children()) - before - finishing
        (lost,) = loading if victim == "loads" else finishing
        lost.kill()
        with pytest.raises(InputError, match=r"a process died, perhaps for memory; the same command goes on"):
            list(outcomes)


def test_a_drawn_image_that_cannot_be_written_is_one_line(checkpoint, photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "images").write_text("a file in the place of the folder")
    with pytest.raises(InputError, match=r"00\.png: cannot be written \(.*\); make room, and the same command goes on"):
        detect(checkpoint, [str(photos)], tmp_path / "out", workers=0, device="cpu")


def test_damaged_images_are_named_and_large_ones_taken_if_asked(checkpoint, photos, tmp_path, capsys, monkeypatch):
    Image.open(photos / "01.png").save(photos / "01.jpg", quality=95)
    content = bytearray((photos / "01.jpg").read_bytes())
    content[900:1100] = bytes(200)
    (photos / "01.jpg").write_bytes(content)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)  # Pillow refuses twice as many
    images = [str(photos / name) for name in ("00.png", "01.png", "01.jpg")]
    detect(checkpoint, images, tmp_path / "out", workers=0, **OPTIONS)
    assert [entry["image"] for entry in entries(tmp_path / "out")] == images[:1]
    assert "limit of 10000; give --max_pixels, or cut" in " ".join(capsys.readouterr().out.replace("│", " ").split())
    detect(checkpoint, images, tmp_path / "out", workers=0, max_pixels=120 * 90, **OPTIONS)
    assert [entry["image"] for entry in entries(tmp_path / "out")] == images
    printed = capsys.readouterr().out
    assert "skipped" not in printed
    assert "damaged, but used" in printed
    assert "Corrupt JPEG data" in printed
