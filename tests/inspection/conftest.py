"""Two sets of generated pictures that look like those of one microscope: one clean, one with planted defects."""

import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from lightning_rcnn import pack_samples, read_index
from lightning_rcnn.cli import main

HEIGHT, WIDTH = 128, 160
CLASSES = ["red cell", "blue cell", "platelet"]
LOOKS = [((190, 90, 90), 13), ((70, 60, 160), 13), ((120, 190, 110), 8)]
"""Color and radius of the objects of each class."""


class Picture:
    """A picture with its annotations; each of its 4 x 3 cells may hold an object."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.rng, self.seed = rng, seed
        ramp = np.linspace(0, 12, WIDTH)[None, :, None] + np.linspace(0, 8, HEIGHT)[:, None, None]
        self.pixels = (205 + ramp + rng.normal(0, 5, (HEIGHT, WIDTH, 3))).clip(0, 255).astype(np.uint8)
        self.boxes, self.labels = [], []
        labels = [0, 1, 2, *rng.integers(0, 3, rng.integers(6, 9))]
        for cell, label in zip(rng.permutation(12), labels, strict=False):
            self.add(int(label), 20 + 40 * (cell % 4), 22 + 42 * (cell // 4))

    def add(self, label, x, y):
        color, radius = LOOKS[label]
        x, y = x + int(self.rng.integers(-3, 4)), y + int(self.rng.integers(-3, 4))
        across, down = (int(radius + self.rng.integers(-2, 3)) for _ in range(2))
        shade = tuple(int(channel + self.rng.integers(-12, 13)) for channel in color)
        cv2.ellipse(self.pixels, (x, y), (across, down), 0, 0, 360, shade, -1)
        self.boxes.append([x - across, y - down, x + across + 1, y + down + 1])
        self.labels.append(CLASSES[label])

    def sample(self, quality=92, scale=1.0, pixels=None):
        image = Image.fromarray(self.pixels if pixels is None else pixels)
        image = image.resize((round(WIDTH * scale), round(HEIGHT * scale)), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        boxes = (np.array(self.boxes, float).reshape(-1, 4) * scale).tolist()
        return {"image": file.getvalue(), "boxes": boxes, "labels": list(self.labels)}


def pictures(first, number):
    return [Picture(seed) for seed in range(first, first + number)]


def named(samples, name):
    return [{**sample, "file_name": f"{name}{number}.jpg"} for number, sample in enumerate(samples)]


@pytest.fixture(scope="session")
def clean(tmp_path_factory):
    """Folders of 240 and 60 pictures without any defect."""
    folder = tmp_path_factory.mktemp("clean")
    for name, first, number in (("train", 0, 240), ("val", 240, 60)):
        samples = named([picture.sample() for picture in pictures(first, number)], name)
        pack_samples(samples, folder / name, classes=CLASSES)
    return folder


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """Folders of the same pictures, some of them spoiled; and kind of defect -> the names that it must be found by."""
    folder = tmp_path_factory.mktemp("planted")
    train, val = pictures(0, 240), pictures(240, 60)
    classes = [*CLASSES, "parasite", "unicorn"]
    x1, y1, x2, y2 = train[20].boxes[0]
    train[20].boxes.append([x1, y1, x2 + 1, y2])
    train[20].labels.append(train[20].labels[0])
    train[21].boxes.append([value + 0.5 for value in train[21].boxes[0]])
    train[21].labels.append(CLASSES[(CLASSES.index(train[21].labels[0]) + 1) % 3])
    swapped = train[22].labels.index("red cell")
    train[22].labels[swapped] = "blue cell"
    train[23].boxes.append([80, 64, 82, 66])
    train[24].boxes.append([0, 0, WIDTH, HEIGHT])
    train[25].boxes.append([10, 60, 150, 65])
    for picture in train[23:26]:
        picture.labels.append("red cell")
    train[26].boxes, train[26].labels = [], []
    train[27].boxes, train[27].labels = train[27].boxes[:1], train[27].labels[:1]
    train_samples = [picture.sample() for picture in train]
    train_samples[28] = train[28].sample(pixels=np.full((HEIGHT, WIDTH, 3), 40, np.uint8))
    train_samples[29] = train[30].sample(quality=60)
    val_samples = [picture.sample() for picture in val]
    val_samples[5] = train[31].sample(quality=70, scale=0.85)
    val_samples[6]["labels"][0] = "parasite"
    for name, samples in (("train", train_samples), ("val", val_samples)):
        pack_samples(named(samples, name), folder / name, classes=classes)
    shard = read_index(str(folder / "train")).shards[0]
    with (folder / "train" / shard.name).open("r+b") as file:  # the middle of an image, after it was packed
        file.seek(shard.offsets[32] + 512 + 1500)
        file.write(b"\xff\xd9" * 300)
    return folder, {
        "leak": {"train31.jpg", "val5.jpg"},
        "duplicate_image": {"train29.jpg", "train30.jpg"},
        "duplicate_box": {"train20.jpg"},
        "box_of_two_classes": {"train21.jpg"},
        "other_look": {"train21.jpg", "train22.jpg"},
        "tiny_box": {"train23.jpg"},
        "whole_image_box": {"train24.jpg"},
        "elongated_box": {"train25.jpg"},
        "images_without_objects": {"train26.jpg"},
        "few_objects": {"train27.jpg"},
        "flat_image": {"train28.jpg"},
        "damaged_image": {"train32.jpg"},
        "no_anchor": {"train23.jpg", "train25.jpg"},
        "usual_class_missing": {"train27.jpg"},
        "class_without_objects": set(),
        "class_not_in_training": set(),
    }


@pytest.fixture(scope="session")
def inspect(tmp_path_factory):
    """Runs the command on a folder of sets; gives its JSON and its page."""

    def run(folder, *options):
        out = tmp_path_factory.mktemp("inspected")
        words = [f"train={folder / 'train'}", f"val={folder / 'val'}", "--workers", "1", *options]
        assert main(["inspect", *words, "--json", str(out / "a.json"), "--out", str(out / "page.html")]) == 0
        return json.loads((out / "a.json").read_text()), out / "page.html"

    return run


@pytest.fixture(scope="session")
def of_clean(clean, inspect):
    return inspect(clean)


@pytest.fixture(scope="session")
def of_planted(planted, inspect):
    return inspect(planted[0])
