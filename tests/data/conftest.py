"""Small packed sets, written here by hand so that reading is tested against something other than our own writing."""

import hashlib
import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
import webdataset
from lightning import LightningModule, Trainer
from PIL import Image

from lightning_rcnn.data.index import Category, Shard, ShardIndex
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.structures import Batch

UNEVEN = (13, 7, 11, 3, 9)
SIZES = ((40, 30), (30, 40), (32, 32), (60, 20))  # width, height
CATEGORIES = [Category(1, "cat", 7), Category(2, "dog", 19)]

MakeSet = Callable[..., Path]


def encode_png(width: int, height: int, color: tuple[int, int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), color).save(stream, "PNG")
    return stream.getvalue()


def box_polygon(left: float) -> list[float]:
    return [left, 1.0, left + 10.0, 1.0, left + 10.0, 15.0, left, 15.0]


def write_set(
    folder: Path,
    shard_sizes: Sequence[int] = UNEVEN,
    *,
    first_id: int = 1000,
    categories: Sequence[Category] = CATEGORIES,
    sizes: Sequence[tuple[int, int]] = SIZES,
    broken: Sequence[int] = (),
    masks: bool = False,
) -> Path:
    """Sample i has image id `first_id + i`, one plain color whose red part is i, and i % 4 objects.

    The images of `broken` samples are cut in half. With `masks`, objects have polygons that fill their boxes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards, number = [], 0
    for shard, size in enumerate(shard_sizes):
        first, offsets, records = number, [0], []
        path = folder / f"shard-{shard:06d}.tar"
        with path.open("wb") as file:
            writer = webdataset.TarWriter(file, encoder=False, mtime=0)
            for _ in range(size):
                width, height = random.Random(number).choice(sizes)
                image = encode_png(width, height, (number % 256, 100, 200))
                record = {
                    "image_id": first_id + number,
                    "file_name": f"images/{number}.png",
                    "width": width,
                    "height": height,
                    "apply_exif": False,
                    "annotations": [
                        {
                            "id": number * 10 + k,
                            "bbox": [2.0 * k, 1.0, 2.0 * k + 10.0, 15.0],
                            "label": 1 + k % 2,
                            "iscrowd": int(k == 2),
                            "difficult": 0,
                            "area": 140.0,
                            **({"segmentation": [box_polygon(2.0 * k)]} if masks else {}),
                        }
                        for k in range(number % 4)
                    ],
                }
                image = image[: len(image) // 2] if number in broken else image
                writer.write({"__key__": f"{number:09d}", "png": image, "json": json.dumps(record).encode()})
                records.append(record)
                offsets.append(writer.tarstream.offset)
                number += 1
            writer.close()
        shards.append(
            Shard(
                name=path.name,
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                first=first,
                offsets=offsets,
                image_ids=[record["image_id"] for record in records],
                widths=[record["width"] for record in records],
                heights=[record["height"] for record in records],
                objects=[len(record["annotations"]) for record in records],
                classes=[([], [1], [1, 2], [1, 2])[number % 4] for number in range(first, number)],
            )
        )
    ShardIndex(folder.name, list(categories), masks, shards, {}).write(folder)
    return folder


@pytest.fixture(scope="session")
def make_set() -> MakeSet:
    return write_set


@pytest.fixture(scope="session")
def uneven_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """43 images in shards of 13, 7, 11, 3 and 9; image ids 1000 to 1042. Not to be changed by a test."""
    return write_set(tmp_path_factory.mktemp("sets") / "uneven")


class RecordingModule(LightningModule):
    """Learns one number from the pictures, and writes down what it sees.

    Attributes:
        seen: image ids of each training batch of this rank.
        validated: image ids of each validation batch of this rank.
        asks_for_steps: whether it asks how many steps there will be, as schedules do; Lightning then makes the loader
            before it restores its counters.
    """

    def __init__(self, asks_for_steps: bool = True) -> None:
        super().__init__()
        self.resize_rule = ResizeRule(32, 64)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.asks_for_steps = asks_for_steps
        self.seen: list[list[int]] = []
        self.validated: list[list[int]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.seen.append(batch.image_ids.tolist())
        return (self.weight - batch.images.float().mean() - batch.targets.boxes.mean()) ** 2

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.validated.append(batch.image_ids.tolist())

    test_step = validation_step

    def predict_step(self, batch: Batch, batch_idx: int) -> list[int]:
        return batch.image_ids.tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.asks_for_steps:
            assert self.trainer.estimated_stepping_batches > 0
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


def new_trainer(**options: object) -> Trainer:
    defaults = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return Trainer(**{**defaults, **options})


@pytest.fixture
def recording_module() -> type[RecordingModule]:
    return RecordingModule


@pytest.fixture
def trainer() -> Callable[..., Trainer]:
    return new_trainer
