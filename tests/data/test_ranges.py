"""Few samples of remote sets: parts of shards are transferred, and no more."""

import math
from pathlib import Path

import numpy as np
import pytest

from lightning_rcnn import pack_samples
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.loading import FetchingSettings
from lightning_rcnn.data.ranges import ShardRanges
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.data.wanted import wanted_batches
from lightning_rcnn.errors import InputError
from tests.faulty_server import Server, answer_range, drop, half, unavailable
from tests.s3_server import S3Server

PATIENCE = FetchPolicy(timeout=5.0, attempts=3, first_pause=0.01)
SHARDS = ["/shard-000000.tar", "/shard-000001.tar"]


@pytest.fixture(scope="module")
def noise_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images of 18 kB in two shards."""
    folder = tmp_path_factory.mktemp("sets") / "noise"
    random = np.random.default_rng(0)
    samples = [
        {"image": random.integers(0, 255, (64, 96, 3), dtype=np.uint8), "boxes": [[1, 2, 30, 40]], "labels": ["cat"]}
        for _ in range(40)
    ]
    pack_samples(samples, folder, shard_size=20)
    return folder


@pytest.fixture
def url(s3: S3Server, noise_set: Path) -> str:
    return s3.put_folder(noise_set, "noise")


def test_a_sample_costs_little_more_than_its_bytes(s3: S3Server, url: str, noise_set: Path, tmp_path: Path):
    shard_set = read_shards(url, PATIENCE)
    reader = ShardReader(shard_set, ShardRanges(ShardCache(tmp_path, 1e9, PATIENCE)))
    local = ShardReader(read_shards(str(noise_set)), ShardCache(tmp_path, 0, PATIENCE))
    s3.forget()
    size = 0
    for number in (3, 27, 39):
        raw, expected = reader.read(number), local.read(number)
        assert (raw.image, raw.content) == (expected.image, expected.content)
        size += len(raw.image)
    assert s3.received.total() <= 1.2 * size
    assert len(s3.requests) == 3
    assert not list(tmp_path.iterdir())


def test_what_is_fetched_already_is_not_asked_for(s3: S3Server, url: str, tmp_path: Path):
    shard_set = read_shards(url, PATIENCE)
    cache = ShardCache(tmp_path, 1e9, PATIENCE)
    assert ShardReader(shard_set, cache).read(3).content["image_id"] == 4
    s3.forget()
    assert ShardReader(shard_set, ShardRanges(cache)).read(5).content["image_id"] == 6
    assert not s3.requests


def test_faults_end_as_those_of_whole_shards_do(s3: S3Server, url: str, tmp_path: Path):
    reader = ShardReader(read_shards(url, PATIENCE), ShardRanges(ShardCache(tmp_path, 1e9, PATIENCE)))
    shard = "/bucket/noise/shard-000001.tar"
    s3.behaviors[shard] = [unavailable, half]
    assert reader.read(21).content["image_id"] == 22
    s3.behaviors[shard] = [unavailable] * 9
    with pytest.raises(InputError, match=rf"^{url}/shard-000001.tar: .*Unavailable after 3 attempts; check"):
        reader.read(22)


def test_web_servers_with_and_without_ranges(noise_set: Path, tmp_path: Path):
    server = Server(noise_set)
    reader = ShardReader(read_shards(server.url), ShardRanges(ShardCache(tmp_path, 1e9, PATIENCE)))
    server.behaviors[SHARDS[0]] = [answer_range, drop, unavailable, answer_range]
    assert [reader.read(number).content["image_id"] for number in (4, 5)] == [5, 6]
    assert not list(tmp_path.iterdir())
    assert [reader.read(number).content["image_id"] for number in (30, 31, 32)] == [31, 32, 33]
    assert server.requests.count(SHARDS[1]) == 2  # it ignores the range, so the shard is fetched as a whole
    assert [path.suffix for path in tmp_path.glob("*.tar")] == [".tar"]
    server.close()


def test_commands_print_whole_shards(noise_set: Path, tmp_path: Path):
    reader = ShardReader(
        read_shards(f"pipe:cat {noise_set}/index.json"), ShardRanges(ShardCache(tmp_path, 1e9, PATIENCE))
    )
    assert reader.read(4).content["image_id"] == 5
    assert list(tmp_path.glob("*.tar"))


@pytest.mark.end_to_end
def test_a_run_of_few_samples_fetches_no_shard(s3: S3Server, url: str, tmp_path: Path, trainer, recording_module):
    def validated(**limits: object) -> int:
        s3.forget()
        data = DetectionDataModule(
            val=url, batch_size=2, num_workers=1, fetching=FetchingSettings(cache_dir=str(tmp_path))
        )
        module = recording_module()
        trainer(**limits).validate(module, data, verbose=False)
        return len(module.validated)

    assert validated(limit_val_batches=2) == 2
    assert not list(tmp_path.iterdir())
    assert sum(s3.received[f"/bucket/noise{shard}"] for shard in SHARDS) < 8 * 1.2 * 18_500  # two batches ahead
    assert validated() == 20
    assert len(list(tmp_path.glob("*.tar"))) == 2


@pytest.mark.parametrize(
    ("options", "purpose", "stage", "batches"),
    [
        ({"max_epochs": 3, "limit_train_batches": 4}, "training", "fit", 12),
        ({"max_epochs": 3, "limit_train_batches": 0.5}, "training", "fit", 30),
        ({"max_epochs": 3, "limit_train_batches": 400}, "training", "fit", 60),
        ({"max_steps": 5, "accumulate_grad_batches": 2}, "training", "fit", 10),
        ({"max_epochs": -1, "limit_train_batches": 4}, "training", "fit", math.inf),
        ({"max_epochs": 3, "limit_val_batches": 4}, "evaluation", "fit", 12),
        ({"fast_dev_run": 2}, "training", "fit", 2),
        ({"limit_val_batches": 4}, "evaluation", "validate", 4),
        ({"limit_val_batches": 4}, "evaluation", "test", 20),
        ({"limit_predict_batches": 5}, "prediction", "predict", 5),
    ],
)
def test_what_a_run_wants(trainer, options: dict, purpose: str, stage: str, batches: float):
    run = trainer(**options)
    run.state.fn = stage
    assert wanted_batches(run, purpose, 20) == batches


@pytest.mark.parametrize(("batches", "files"), [(2, ShardRanges), (3, ShardCache), (None, ShardCache)])
def test_what_is_wanted_without_a_trainer(noise_set: Path, batches: int | None, files: type):
    data = DetectionDataModule(train=str(noise_set), batch_size=2, num_workers=0)
    data.num_batches = batches
    data.setup("fit")
    assert type(data.train_dataloader().dataset.reader._files) is files
