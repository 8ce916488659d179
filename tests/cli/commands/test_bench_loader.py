import json
import statistics

import pytest
import torch

from lightning_rcnn.bench.loader import LoaderBenchmark, resize_plainly
from lightning_rcnn.cli.commands.bench_loader import loader
from lightning_rcnn.cli.commands.pack import pack_shapes
from lightning_rcnn.data.batch_images import RenderedImages, UnrenderedImages
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.padded_set import pad_set
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.errors import InputError


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards") / "set"
    pack_shapes(folder, num=10, workers=1)
    return str(folder)


def test_all_stages_see_the_same_images(shards, tmp_path, capsys):
    loader([shards], images=8, batch_size=3, min_size=64, max_size=96, repeats=2, json=tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    stages = report["stages"]
    assert [stage["images"] for stage in stages] == [6] * 10
    assert [stage["name"].partition(":")[0] for stage in stages] == [
        "decoding alone",
        "raw",
        "decoded",
        "resized by torch's plain call",
        "resized",
        "whole",
        "the same, resize and flip left to the device",
        "whole, with masks and copy-paste",
        "1 worker, with masks",
        "1 worker, with masks, resize left to the device",
    ]
    assert all(len(stage["seconds"]) == len(stage["core_seconds"]) == 2 for stage in stages)
    assert all(seconds > 0 for stage in stages for seconds in stage["core_seconds"])
    assert [start["batch"] for start in report["starts"]] == [0, 1]
    printed = capsys.readouterr().out
    cores = 181 * statistics.median(stages[-2]["core_seconds"]) / 6
    assert f"{cores:.1f} of these cores" in " ".join(printed.split())
    assert "1.00" in printed


@pytest.mark.parametrize("images", [RenderedImages, UnrenderedImages])
def test_buffers_have_the_bytes_of_the_largest_batch(shards, images, monkeypatch):
    """Slots of the largest padded shape, or the three largest images as they were decoded."""
    shard_set, cache = read_shards([shards]), ShardCache(None, 1e9, FetchPolicy())
    contents = [ShardReader(shard_set, cache).read(number).content for number in range(10)]
    largest = sorted(content["width"] * content["height"] for content in contents)[-3:]
    seen = []
    monkeypatch.setattr("lightning_rcnn.bench.loader.PlannedLoader", lambda *_, **options: seen.append(options))
    padded = pad_set(shard_set, [ResizeRule(64, 96)])
    LoaderBenchmark(padded, cache, 3, 6).loading(1, images)
    assert seen[0]["image_bytes"] == 3 * (3 * 96 * 96 if images is RenderedImages else sum(largest))


def test_both_ways_to_resize_give_the_same_pixels():
    image = torch.randint(0, 256, (60, 80, 3), dtype=torch.uint8).permute(2, 0, 1)
    for rule in (ResizeRule(96, 160), ResizeRule(32, 64)):
        assert torch.equal(resize_plainly(rule, image), rule(image))


def test_too_few_images_are_named(shards):
    with pytest.raises(InputError, match="10 images are fewer than one batch"):
        loader([shards], batch_size=11)


@pytest.mark.parametrize("options", [{"repeats": 0}, {"images": 0}, {"workers": -1}])
def test_impossible_options_are_named(shards, options):
    with pytest.raises(InputError, match=f"--{next(iter(options))} "):
        loader([shards], **options)
