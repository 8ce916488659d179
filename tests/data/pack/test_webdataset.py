"""WebDataset shards in the forms that people have, written by webdataset itself, indexed, read, trained on."""

import gzip
import io
import json
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from lightning_rcnn.cli import main
from lightning_rcnn.cli.commands.pack_webdataset import pack_webdataset
from lightning_rcnn.cli.commands.unpack import unpack
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.pack.proposal_shards import write_proposals
from lightning_rcnn.data.pack.write import SILENT
from lightning_rcnn.data.reader import ShardReader, UnreadableRecordError
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.errors import InputError

WIDTH, HEIGHT = 64, 48
BOXES = [[4.0, 6.0, 30.0, 40.0], [33.0, 2.0, 60.0, 20.0]]
XYWH = [[4.0, 6.0, 26.0, 34.0], [33.0, 2.0, 27.0, 18.0]]
CENTERS = [[17.0, 23.0, 26.0, 34.0], [46.5, 11.0, 27.0, 18.0]]
TRIANGLE = [[10.0, 10.0, 30.0, 10.0, 20.0, 30.0]]


def jpeg(number=0, kind="JPEG"):
    pixels = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, kind)
    return data.getvalue()


@pytest.fixture
def write_shards(tmp_path):
    """`write_shards([json, ...], [json, ...])` writes a shard for each list; bytes are members' contents."""

    def write(*shards, folder="data", extension="jpg"):
        root = tmp_path / folder
        root.mkdir()
        number = 0
        for position, contents in enumerate(shards):
            with webdataset.TarWriter(str(root / f"{position:03d}.tar"), encoder=False) as writer:
                for content in contents:
                    sample = content if isinstance(content, dict) and "__key__" in content else {"json": content}
                    encoded = {
                        key: value if isinstance(value, bytes | str) else json.dumps(value).encode()
                        for key, value in sample.items()
                    }
                    writer.write({"__key__": f"{number:06d}", extension: jpeg(number), **encoded})
                    number += 1
        return root

    return write


def read(folder):
    shard_set = read_shards(str(folder))
    reader = ShardReader(shard_set, ShardCache(None, 1e9, FetchPolicy()))
    return shard_set.index, [reader.read(number) for number in range(len(reader))]


def objects(raw):
    return [(each["label"], each["bbox"]) for each in raw.content["annotations"]]


RELATIVE = [[x1 / WIDTH, y1 / HEIGHT, x2 / WIDTH, y2 / HEIGHT] for x1, y1, x2, y2 in BOXES]
FORMS = {
    "lists": ({"boxes": BOXES, "labels": ["dog", "cat"]}, {}),
    "entries": ({"annotations": [{"bbox": b, "category": c} for b, c in zip(XYWH, ("dog", "cat"), strict=True)]}, {}),
    "dictionary of lists": ({"objects": {"bbox": XYWH, "category": [1, 0]}}, {"class_names": "0=cat,1=dog"}),
    "centers": ({"shapes": {"rect": CENTERS, "kind": ["dog", "cat"]}},
                {"map": "boxes=shapes.rect,labels=shapes.kind", "boxes": "cxcywh"}),
    "shares": ({"bboxes": RELATIVE, "class": ["dog", "cat"]}, {}),
    "a list": ([{"box": b, "label": c} for b, c in zip(BOXES, ("dog", "cat"), strict=True)], {}),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_people_have(form, write_shards):
    content, options = FORMS[form]
    empty = {
        "lists": {"boxes": [], "labels": []},
        "entries": {"annotations": []},
        "dictionary of lists": {"objects": {"bbox": [], "category": []}},
        "centers": {"shapes": {"rect": [], "kind": []}},
        "shares": {"bboxes": [], "class": []},
        "a list": [],
    }[form]
    root = write_shards([content, empty], [content])
    before = {path: path.read_bytes() for path in root.iterdir()}
    pack_webdataset(str(root), **options)
    assert all(path.read_bytes() == data for path, data in before.items())
    assert sum(path.stat().st_size for path in root.iterdir() if path not in before) < 3000, "no copy of the images"
    index, samples = read(root)
    assert [category.name for category in index.categories] == ["cat", "dog"]
    assert [[label for label, _ in objects(raw)] for raw in samples] == [[2, 1], [], [2, 1]]
    assert np.allclose([box for _, box in objects(samples[2])], BOXES)
    assert [raw.image == jpeg(number) for number, raw in enumerate(samples)] == [True] * 3
    assert samples[2].location == f"{root / '001.tar'}, key 000002"
    assert samples[2].content["file_name"] == "000002.jpg"
    assert (len(index), index.shards[0].objects, index.shards[1].classes) == (3, [2, 0], [[1, 2]])
    assert index.report == {"empty_image": 1}


@pytest.mark.parametrize(
    ("classes", "expected"), [("*=object", {"object": 2}), ("dog;*=other", {"dog": 1, "other": 1}), ("dog", {"dog": 1})]
)
def test_classes_are_chosen_as_of_any_set(write_shards, classes, expected):
    root = write_shards([FORMS["lists"][0]])
    pack_webdataset(str(root), classes=classes)
    index, (sample,) = read(root)
    names = {category.label: category.name for category in index.categories}
    assert Counter(names[label] for label, _ in objects(sample)) == expected


def test_masks_flags_sizes_names_and_ids(write_shards):
    content = {
        "image_id": 7,
        "file_name": "a b.jpg",
        "width": 2 * WIDTH,
        "height": 2 * HEIGHT,
        "annotations": [
            {"bbox": [20, 20, 40, 40], "category_id": 3, "segmentation": [[20, 20, 60, 20, 40, 60]], "iscrowd": 0},
            {"bbox": [0, 0, 128, 96], "category_id": 3, "segmentation": [[0, 0, 90, 0, 90, 90]], "iscrowd": 1},
        ],
    }
    root = write_shards([content, content | {"image_id": 5}])
    pack_webdataset(str(root), boxes="xywh", class_names="3=cat,4=dog")
    index, (raw, other) = read(root)
    assert (index.has_masks, [each.name for each in index.categories]) == (True, ["cat", "dog"])
    assert (raw.content["image_id"], other.content["image_id"], raw.content["file_name"]) == (7, 5, "a b.jpg")
    single, crowd = raw.content["annotations"]
    assert (single["bbox"], single["segmentation"], single["iscrowd"]) == ([10, 10, 30, 30], TRIANGLE, 0)
    assert crowd["iscrowd"] == 1
    assert index.report == {"size_scaled": 2, "crowd": 2, **{key: index.report[key] for key in index.report.keys()
                            - {"size_scaled", "crowd"}}}  # fmt: skip


def test_the_rules_for_bad_data_hold_and_name_shard_and_key(write_shards, capsys):
    good = {"boxes": BOXES, "labels": ["dog", "cat"]}
    bad = [
        {"__key__": "bad0", "json": b"{"},
        {"__key__": "bad1", "txt": b"no json"},
        {"boxes": BOXES, "labels": ["dog"]},
        {"labels": []},
        {"__key__": "bad4", "json": good, "jpg": jpeg()[:1500]},
        {"boxes": [[5, 5, 5, 9], [9, 9, 70, 20]], "labels": ["dog", "dog"]},
    ]
    root = write_shards([good] * 40 + bad, [good])
    with pytest.raises(InputError, match=r"data: 5 of 47 images would be left out.*000.tar, key bad0: malformed JSON"):
        pack_webdataset(str(root))
    assert not (root / "index.json").exists()
    pack_webdataset(str(root), max_loss=0.5)
    index, samples = read(root)
    assert index.report == {
        "truncated_image": 1,
        "image_without_annotation": 1,
        "malformed_labels": 3,
        "zero_area_box": 1,
        "box_partly_outside": 1,
    }
    assert len(index) == 42
    assert [raw.image for raw in samples[-3:]] == [jpeg(39), jpeg(45), jpeg(46)]
    assert "indexed 42 samples in 2 shards; train with --data.train" in capsys.readouterr().out


PAIR = ["a", "b"]
REFUSALS = {
    "no boxes": (
        {"rect": BOXES, "labels": PAIR},
        {},
        "data: no key of the samples is known to hold boxes or masks; they have rect, labels; name them with --map "
        "boxes=KEY,labels=KEY",
    ),
    "no classes": (
        {"boxes": BOXES, "kind": PAIR},
        {},
        "no key beside 'boxes' is known to hold classes; there are boxes, kind; name it with --map labels=KEY",
    ),
    "two keys": (
        {"boxes": BOXES, "bboxes": BOXES, "labels": PAIR},
        {},
        "boxes and bboxes may be the boxes; choose one with --map boxes=boxes",
    ),
    "unknown key": ({"boxes": BOXES, "labels": PAIR}, {"map": "boxes=box"}, "--map boxes=box: no sample has it"),
    "unknown form": (
        {"boxes": [[4.0, 4.0, 5.0, 5.0]], "labels": ["a"]},
        {},
        "data, boxes: its boxes may be xyxy or xywh or cxcywh; say which with --boxes xyxy",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_not_clear_is_refused_in_one_line(case, write_shards):
    content, options, message = REFUSALS[case]
    root = write_shards([content])
    with pytest.raises(InputError) as caught:
        pack_webdataset(str(root), **options)
    assert message in str(caught.value)
    assert [path.name for path in root.iterdir()] == ["000.tar"]


def test_shards_that_cannot_be_read_by_number_are_refused(write_shards, tmp_path):
    root = write_shards([{"boxes": BOXES, "labels": ["a", "b"]}] * 3)
    whole = (root / "000.tar").read_bytes()
    (root / "000.tar").write_bytes(gzip.compress(whole))
    with pytest.raises(
        InputError, match=r"000.tar: a compressed tar file, .*unpack it first, as with `gunzip 000.tar`"
    ):
        pack_webdataset(str(root))
    (root / "000.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"000.tar: .*copy it again"):
        pack_webdataset(str(root))
    with pytest.raises(InputError, match="no such tar file"):
        pack_webdataset(str(root / "{000..003}.tar"))
    two = write_shards([{"__key__": "k", "json": {"boxes": BOXES, "labels": ["a", "b"]}, "png": jpeg()}], folder="two")
    with pytest.raises(InputError, match=r"has several images, jpg and png; choose one with --map image=jpg"):
        pack_webdataset(str(two))
    pack_webdataset(str(two), map="image=png")
    with pytest.raises(InputError, match="these shards have an index; use it, or add --overwrite"):
        pack_webdataset(str(two), map="image=png")
    pack_webdataset(str(two), map="image=jpg", overwrite=True)


@pytest.fixture
def indexed(write_shards):
    """Three shards of 8 samples."""
    shards = [
        [{"boxes": BOXES[: 1 + number % 2], "labels": ["dog", "cat"][: 1 + number % 2]} for number in range(8)]
        for _ in range(3)
    ]
    root = write_shards(*shards)
    pack_webdataset(str(root))
    return root


def test_a_changed_shard_or_annotation_is_noticed(indexed):
    reader = ShardReader(read_shards(str(indexed)), ShardCache(None, 1e9, FetchPolicy()))
    data = bytearray((indexed / "001.tar").read_bytes())
    start = json.loads((indexed / "001.annotations.jsonl").read_text().splitlines()[2])["source"]["start"]
    data[start - 400 : start - 390] = b"0123456789"
    (indexed / "001.tar").write_bytes(data)
    with pytest.raises(UnreadableRecordError, match=r"001.tar, key 000010: a tar header is damaged"):
        reader.read(10)
    assert reader.read(11).content["image_id"] == 12
    path = indexed / "002.annotations.jsonl"
    path.write_text("x" * path.stat().st_size)
    with pytest.raises(
        UnreadableRecordError, match=r"002.annotations.jsonl, line 1: its annotation is not at its posi"
    ):
        reader.read(16)
    path.unlink()
    with pytest.raises(InputError, match=r"002.annotations.jsonl: in the index, but missing"):
        read_shards(str(indexed))


@pytest.mark.parametrize("stop", [2, 5])
def test_training_validation_and_exact_resume(indexed, stop, recording_module, trainer, tmp_path):
    def fit(module, max_steps, ckpt_path=None):
        data = DetectionDataModule(str(indexed), str(indexed / "00[01].tar"), batch_size=4, num_workers=0)
        fitter = trainer(max_steps=max_steps, max_epochs=2, val_check_interval=1.0)
        fitter.fit(module, data, ckpt_path=ckpt_path, weights_only=False)
        return fitter

    whole, first, second = recording_module(), recording_module(), recording_module()
    fit(whole, 12)
    fit(first, stop).save_checkpoint(tmp_path / "last.ckpt")
    fit(second, 12, str(tmp_path / "last.ckpt"))
    assert first.seen[:stop] + second.seen == whole.seen
    assert sorted(image for batch in whole.seen[:6] for image in batch) == list(range(1, 25))
    assert sorted(image for batch in whole.validated for image in batch)[::2] == list(range(1, 17))
    assert float(whole.weight) == float(second.weight)


def test_remote_shards_are_fetched_with_their_annotations(indexed, tmp_path):
    shard_set = read_shards(f"pipe:cat {indexed}/index.json")
    cache = ShardCache(tmp_path / "cache", 1e9, FetchPolicy())
    remote, local = ShardReader(shard_set, cache), ShardReader(read_shards(str(indexed)), cache)
    for number in (0, 9, 23):
        assert (remote.read(number).image, remote.read(number).content) == (local.read(number).image,
                                                                            local.read(number).content)  # fmt: skip
    assert len(list((tmp_path / "cache").glob("*.jsonl"))) == 3


def test_the_set_can_be_unpacked_but_has_no_place_for_proposals(indexed, tmp_path):
    unpack(str(indexed), "coco", tmp_path / "coco")
    assert len(json.loads((tmp_path / "coco" / "annotations.json").read_text())["annotations"]) == 36
    cache = ShardCache(None, 1e9, FetchPolicy())
    with pytest.raises(InputError, match="have no place for proposals; make a copy with `lightning-rcnn unpack SHARDS"):
        write_proposals(
            read_shards(str(indexed)), cache, tmp_path / "out", lambda _: None, "none", workers=1, console=SILENT
        )


def test_webdataset_and_wids_read_our_shards(tmp_path, monkeypatch):
    """The five lines of docs/own-data.md."""
    from lightning_rcnn.cli.commands.pack import pack_shapes

    folder = tmp_path / "set"
    pack_shapes(folder, 6, 0, shard_size=4)
    _, samples = read(folder)
    dataset = webdataset.WebDataset(str(folder / "shard-{000000..000001}.tar"), shardshuffle=False).decode("rgb8")
    streamed = list(dataset)
    assert [sample["json"] for sample in streamed] == [raw.content for raw in samples]
    assert streamed[0]["jpg"].shape[:2] == (samples[0].content["height"], samples[0].content["width"])

    wids = pytest.importorskip("wids", reason="wids comes with webdataset below 1")
    index = json.loads((folder / "index.json").read_text())
    shards = [{"url": str(folder / shard["name"]), "nsamples": len(shard["image_ids"])} for shard in index["shards"]]
    (folder / "wids.json").write_text(json.dumps({"wids_version": 1, "shardlist": shards}))
    indexed = wids.ShardListDataset(str(folder / "wids.json"), cache_dir=str(tmp_path / "cache"), keep=True)
    assert len(indexed) == 6
    assert indexed[5][".json"] == samples[5].content
    shutil.rmtree(Path(tmp_path / "cache"), ignore_errors=True)


def test_shards_that_are_to_be_packed_are_refused_with_the_command_that_takes_them(write_shards, tmp_path, capsys):
    root = write_shards([{"boxes": BOXES, "labels": ["cat", "dog"]}])
    (tmp_path / "sets").mkdir()
    root.rename(tmp_path / "sets" / "data")
    shards = tmp_path / "sets" / "data"
    command = f"index it with `lightning-rcnn pack webdataset {shards / '000.tar'}`"
    for path, way_out in (
        (tmp_path / "sets", f"index them with `lightning-rcnn pack webdataset {shards}`"),
        (shards / "000.tar", command),
    ):
        assert main(["pack", "auto", str(path), "--out", str(tmp_path / "out")]) == 1
        assert way_out in capsys.readouterr().err
    pack_webdataset(str(shards))
    capsys.readouterr()
    for path in (tmp_path / "sets", shards):
        assert main(["pack", "auto", str(path), "--out", str(tmp_path / "out")]) == 1
        error = capsys.readouterr().err
        assert f"packed already; train with `--data.train {shards}`" in error
        assert f"`lightning-rcnn unpack {path} --format coco --out FOLDER`" in error
    assert main(["pack", "auto", str(shards / "000.tar"), "--out", str(tmp_path / "out")]) == 1
    assert f"a shard of a packed set; train with `--data.train {shards}`" in capsys.readouterr().err
    other = shards / "other.json"
    other.write_text("{}")
    assert main(["pack", "auto", str(other), "--out", str(tmp_path / "out")]) == 1
    assert "packed" not in capsys.readouterr().err, "of a file alone, its neighbors say nothing"


def test_an_index_of_something_else_beside_archives_is_no_packed_set(tmp_path, capsys):
    (tmp_path / "index.json").write_text('{"entries": []}')
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a.txt", "")
    assert main(["pack", "auto", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "but archives (images.zip); unpack them first" in capsys.readouterr().err
