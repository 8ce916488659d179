"""From shards with proposals to batches of one shape."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.dataset import BatchRequest, DetectionDataset
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.index import ShardIndex
from lightning_rcnn.data.pack.proposal_shards import FromPixels, write_proposals
from lightning_rcnn.data.plan import EMPTY_SLOT
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.data.transforms import HorizontalFlip
from lightning_rcnn.errors import InputError

RULE = ResizeRule(60, 120)
LIMIT = 6


def tell_number(image):
    """As many proposals as the image's red value modulo 5, each a pixel to the right of the one before."""
    number = int(image[0, 0, 0])
    rows = [[k, 1, k + 3, 1 + number % 7 + 1, 1 / (k + 1)] for k in range(number % 5)]
    return np.array(rows, np.float32).reshape(-1, 5)


@pytest.fixture(scope="module")
def proposed_set(make_set, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("proposed")
    make_set(folder / "plain", (7, 5))
    shard_set = read_shards(str(folder / "plain"))
    write_proposals(
        shard_set,
        open_files(),
        folder / "out",
        FromPixels(tell_number),
        "counting",
        workers=1,
        console=Console(quiet=True),
    )
    return folder / "out"


def open_files():
    """Files of its own for each test: they stay open, and a later test may have others under the same paths."""
    return ShardCache(None, 1e9, FetchPolicy())


def open_dataset(folder, limit=LIMIT, purpose="evaluation", transforms=()):
    reader = ShardReader(read_shards(str(folder)), open_files())
    return DetectionDataset(reader, [RULE], purpose, transforms, proposal_limit=limit)


def request(*samples):
    return BatchRequest(0, 0, (128, 128), samples)


@pytest.mark.parametrize("purpose", ["training", "evaluation", "prediction"])
def test_proposals_are_in_the_frame_of_the_network_and_padded(proposed_set, purpose):
    batch = open_dataset(proposed_set, purpose=purpose)[request(4, EMPTY_SLOT, 5, 8)]
    boxes, scores, is_valid = batch.proposals
    assert (boxes.shape, scores.shape, is_valid.shape) == ((4, LIMIT, 4), (4, LIMIT), (4, LIMIT))
    assert (boxes.dtype, scores.dtype, is_valid.dtype) == (torch.float32, torch.float32, torch.bool)
    assert is_valid.sum(1).tolist() == [4, 0, 0, 3]
    assert (scores[~is_valid] == -torch.inf).all()
    assert (boxes[~is_valid] == 0).all()
    for slot, number in ((0, 4), (3, 8)):
        record = batch.records[slot]
        height, width = batch.image_sizes[slot].tolist()
        pixels = torch.full((3, record.height, record.width), number, dtype=torch.uint8)
        scale = torch.tensor([width / record.width, height / record.height] * 2)
        expected = torch.from_numpy(tell_number(pixels))
        assert torch.allclose(boxes[slot][is_valid[slot]], expected[:, :4] * scale)
        assert torch.equal(scores[slot][is_valid[slot]], expected[:, 4])


def test_the_best_are_kept_where_there_are_more(proposed_set):
    wide, narrow = (open_dataset(proposed_set, limit)[request(4)].proposals for limit in (LIMIT, 2))
    assert torch.equal(narrow.boxes, wide.boxes[:, :2])
    assert narrow.is_valid.all()


def test_flips_take_proposals_along(proposed_set):
    plain, flipped = (
        open_dataset(proposed_set, purpose="training", transforms=[HorizontalFlip(chance)])[request(4)]
        for chance in (0.0, 1.0)
    )
    width = plain.image_sizes[0, 1]
    x1, y1, x2, y2 = plain.proposals.boxes[0, :4].unbind(-1)
    mirrored = torch.stack([width - x2, y1, width - x1, y2], -1)
    assert torch.allclose(flipped.proposals.boxes[0, :4], mirrored, atol=1e-4)
    assert torch.equal(flipped.proposals.scores, plain.proposals.scores)


def test_a_detector_that_makes_its_own_gets_none(proposed_set):
    assert open_dataset(proposed_set, limit=0)[request(4)].proposals is None


def test_batches_with_proposals_travel_as_others(proposed_set):
    batch = open_dataset(proposed_set)[request(4)]
    assert batch.inputs.proposals is batch.proposals
    assert batch.to("meta").proposals.boxes.device.type == "meta"


def rewrite(folder: Path, target: Path, key: str, content: bytes | None) -> Path:
    """The same set with the proposals of one sample replaced, or left out."""
    index = ShardIndex.from_json((folder / "index.json").read_text(), "")
    target.mkdir()
    shards = []
    for shard in index.shards:
        offsets = [0]
        with tarfile.open(folder / shard.name) as before, tarfile.open(target / shard.name, "w") as after:
            for member in before.getmembers():
                data = before.extractfile(member).read()
                if member.name == f"{key}.proposals.npy":
                    data = content
                if data is not None:
                    member.size = len(data)
                    after.addfile(member, io.BytesIO(data))
                if member.name.endswith(".npy"):
                    offsets.append(after.offset)
        shards.append(replace(shard, offsets=offsets))
    replace(index, shards=shards).write(target)
    return target


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no proposals beside the image"),
        (b"rubbish", "not an .npy array"),
        (b"", "not an .npy array"),
    ],
)
def test_a_sample_with_broken_proposals_is_left_out_and_named(proposed_set, tmp_path, content, words):
    folder = rewrite(proposed_set, tmp_path / "broken", "000000004", content)
    batch = open_dataset(folder)[request(4, 8)]
    assert words in batch.records[0].problem
    assert "key 000000004" in batch.records[0].problem
    assert "\n" not in batch.records[0].problem
    assert batch.records[1].problem == ""
    assert batch.proposals.is_valid.sum(1).tolist() == [0, 3]


def open_module(limit, **sources):
    module = DetectionDataModule(**sources, batch_size=2, num_workers=0)
    limits = {f"limit_{split}_batches": 1.0 for split in ("train", "val", "test", "predict")}
    module.trainer = SimpleNamespace(
        **limits,
        state=SimpleNamespace(fn=None),
        max_steps=-1,
        lightning_module=SimpleNamespace(resize_rule=RULE, proposal_limit=limit),
        strategy=SimpleNamespace(broadcast=lambda value: value),
        global_rank=0,
        world_size=1,
        num_devices=1,
        accelerator=None,
    )
    return module


@pytest.mark.parametrize(("stage", "split"), [("validate", "val"), ("test", "test"), ("predict", "predict")])
def test_a_detector_that_needs_proposals_gets_them_in_every_split(proposed_set, stage, split):
    module = open_module(LIMIT, **{split: str(proposed_set)})
    module.setup(stage)
    for batch in getattr(module, f"{split}_dataloader")():
        assert batch.proposals.boxes.shape == (2, LIMIT, 4)


@pytest.mark.parametrize("stage", ["validate", "predict"])
def test_shards_without_proposals_are_refused_in_one_line(uneven_set, stage):
    split = {"validate": "val"}.get(stage, stage)
    with pytest.raises(
        InputError, match=rf"data\.{split}: uneven has no proposals.*`lightning-rcnn propose`"
    ) as caught:
        open_module(LIMIT, **{split: str(uneven_set)}).setup(stage)
    assert "\n" not in str(caught.value)
    open_module(0, **{split: str(uneven_set)}).setup(stage)


def test_of_several_sets_the_one_without_proposals_is_named(make_set, proposed_set, tmp_path):
    other = make_set(tmp_path / "other", (2,), first_id=5000)
    with pytest.raises(InputError, match=r"data\.val: other has no proposals"):
        open_module(LIMIT, val=[str(proposed_set), str(other)]).setup("validate")


def test_the_index_says_where_proposals_come_from(proposed_set, uneven_set):
    index = read_shards(str(proposed_set)).index
    assert index.proposals.method == "counting"
    assert index.proposals.source == read_shards(str(proposed_set.parent / "plain")).index.fingerprint
    assert ShardIndex.from_json(index.to_json(), "") == index
    assert "proposals" not in ShardIndex.from_json((uneven_set / "index.json").read_text(), "").to_json()
