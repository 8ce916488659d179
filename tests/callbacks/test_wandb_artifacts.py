from dataclasses import replace
from pathlib import Path

import pytest
import torch
import wandb
from torch.utils.data import Dataset

from lightning_rcnn.callbacks.wandb_artifacts import dataset_artifact, use_dataset, warned
from lightning_rcnn.data.index import Category, Shard, ShardIndex
from lightning_rcnn.data.shards import ShardSet
from lightning_rcnn.data.torch_dataset import read_torch_dataset


def shard_set(name, addresses, sha256="ab"):
    shards = [
        Shard(_name(address), f"{sha256}{number}", number, [0, 9], [number], [4], [4], [1], [[1]])
        for number, address in enumerate(addresses)
    ]
    index = ShardIndex(name, [Category(1, "cat", 7)], False, shards, report={})
    return ShardSet(index, tuple(addresses), (), (), (), (), (0,) * len(addresses))


def _name(address):
    return address.split("?")[0].rpartition("/")[2]


def entries(artifact):
    return {path: entry.ref for path, entry in artifact.manifest.entries.items() if path != "fingerprint"}


def test_addresses_of_all_kinds():
    data = shard_set("all", ["a b/0.tar", "https://host/1.tar?signature=secret", "pipe:cat /b/2.tar"])
    assert entries(dataset_artifact(data)) == {
        "0.tar": (Path.cwd() / "a b" / "0.tar").as_uri(),
        "1.tar": "https://host/1.tar",
        "2.tar": "pipe:cat /b/2.tar",
    }


def test_shards_of_two_sources_with_the_same_name():
    data = shard_set("both", ["/a/0.tar", "/b/0.tar"])
    assert entries(dataset_artifact(data)) == {"000000-0.tar": "file:///a/0.tar", "000001-0.tar": "file:///b/0.tar"}


def test_a_version_is_the_data_wherever_they_are():
    data = shard_set("set", ["/a/0.tar", "/a/1.tar"])
    versions = {
        dataset_artifact(one).digest
        for one in (data, shard_set("set", ["http://host/0.tar", "http://host/1.tar"]), replace(data))
    }
    others = [
        shard_set("set", ["/a/0.tar", "/a/1.tar"], "cd"),
        replace(data, index=replace(data.index, categories=[Category(1, "dog", 7)])),
    ]
    assert len(versions) == 1
    assert not versions & {dataset_artifact(one).digest for one in others}


@pytest.mark.parametrize("name", ["bccd/train + voc (2012)", "ä/ö", "x" * 500, "set " * 200])
def test_any_name_of_a_data_set(name):
    assert 0 < len(dataset_artifact(shard_set(name, ["/a/0.tar"])).name) <= 128


class Items(Dataset):
    classes = ("cat",)

    def __init__(self, height):
        self.height = height

    def __len__(self):
        return 2

    def get_height_and_width(self, number):
        return self.height, 4

    def __getitem__(self, number):
        boxes = torch.tensor([[0.0, 0, 2, 2]])
        return torch.zeros(3, self.height, 4, dtype=torch.uint8), {"boxes": boxes, "labels": torch.tensor([1])}


def test_a_torch_data_set_has_a_fingerprint_and_no_files():
    first, same, other = (dataset_artifact(read_torch_dataset(Items(height), "train")) for height in (4, 4, 5))
    assert first.name == "Items"
    assert not entries(first)
    assert first.metadata["fingerprint"] == first.manifest.entries["fingerprint"].digest
    assert first.digest == same.digest != other.digest


def test_a_run_that_is_disabled(tmp_path):
    run = wandb.init(mode="disabled", dir=tmp_path)
    with warned("data"):
        use_dataset(run, dataset_artifact(shard_set("set", ["/a/0.tar"])))
    wandb.finish()
