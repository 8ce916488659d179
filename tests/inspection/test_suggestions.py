"""Suggested settings do what they promise."""

import json

import numpy as np
import pytest

from lightning_rcnn import pack_samples
from lightning_rcnn.cli import main

SMALL = """
model:
  class_path: FasterRCNN
  init_args:
    preprocessing: {min_size: 128, max_size: 256}
    backbone: {class_path: ResNetFPN, init_args: {name: resnet18, channels: 16}}
    rpn: {anchors: {sizes: [256, 300, 350, 400, 512]}}
    box: {detections_per_image: 5, nms_iou: 0.3}
    optimizer: {class_path: AdamW, init_args: {lr: 1e-4}}
"""


@pytest.mark.end_to_end
def test_they_are_better(clean, inspect, tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(SMALL)
    before, _ = inspect(clean, "--config", str(config), "--memory", "8")
    kinds = {finding["kind"] for finding in before["findings"]}
    assert kinds == {"no_anchor", "anchors_do_not_fit", "more_objects_than_detections"}
    assert before["recipe"] == {
        "name": str(config),
        "detector": "FasterRCNN",
        "min_size": 128,
        "max_size": 256,
        "anchors": [256, 300, 350, 400, 512],
    }
    (size,) = before["batch_sizes"]
    assert size["memory_gb"] == 8
    assert size["in_16_bits"] // 2 == size["in_32_bits"] > 100
    better = {one["key"]: one["better"] for one in before["suggestions"] if one["better"] != one["now"]}
    assert set(better) == {"model.rpn.anchors.sizes", "model.box.detections_per_image"}
    config.write_text(
        SMALL.replace("[256, 300, 350, 400, 512]", better["model.rpn.anchors.sizes"]).replace(
            "image: 5", f"image: {better['model.box.detections_per_image']}"
        )
    )
    after, _ = inspect(clean, "--config", str(config))
    assert after["findings"] == []
    assert after["sets"][0]["anchor_recall"]["0.5"] > 0.99
    assert all(one["better"] == one["now"] for one in after["suggestions"])


def test_a_value_does_not_fit_because_nothing_is_better(tmp_path, inspect):
    """A wire in a picture of 1 to 250 is a pixel high for the network, whatever its anchors."""
    pixels = np.random.default_rng(0).integers(0, 255, (4, 1000, 3), np.uint8)
    wire = {"image": pixels, "boxes": [[10, 1, 900, 3]], "labels": ["wire"]}
    for split in ("train", "val"):
        pack_samples([wire, wire], tmp_path / split)
    report, page = inspect(tmp_path)
    anchors = next(one for one in report["suggestions"] if one["key"] == "model.rpn.anchors.sizes")
    assert anchors["better"] == anchors["now"]
    assert not anchors["fits"]
    assert "none is better" in page.read_text()


@pytest.mark.end_to_end
def test_a_detector_without_anchors(clean, inspect, tmp_path):
    config = tmp_path / "fast.yaml"
    config.write_text(
        "model: {class_path: FastRCNN, init_args: {backbone: {class_path: ResNetFPN, init_args: {name: resnet18}}}}"
    )
    report, page = inspect(clean, "--config", str(config))
    assert report["recipe"]["anchors"] is None
    assert report["findings"] == []
    assert {one["key"] for one in report["suggestions"]} == {
        "model.preprocessing.min_size",
        "model.box.detections_per_image",
    }
    assert "Recall of the anchors" not in page.read_text()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["{0}/nowhere"], "nowhere: no such file or folder; give a packed folder, shards or URLs"),
        (["{0}/train", "{0}/../train"], "another set is called train, too; give them names"),
        (["{0}/train", "--config", "nothing.yaml"], "nothing.yaml: no such configuration file"),
        (["{0}/train", "--memory", "0"], "--memory 0: has to be above 0"),
        (["{0}/train", "--workers", "0"], "--workers 0: has to be 1 or more"),
        (["{0}/train", "--out", "{0}"], "is a folder; give the name of a file in it"),
        (["{0}/train", "--out", "{0}/page"], "/page.html"),
        ([], "shards"),
        (["train={0}/cut"], "was cut off or changed since it was packed"),
        (["train={0}/junk"], "train: 240 samples, none of which can be read; "),
        (["train={0}/empty"], "has no images; pack a set with images"),
    ],
)
def test_wrong_input_is_one_line(words, line, clean, tmp_path, capsys):
    (tmp_path / "train").symlink_to(clean / "train")
    for name in ("cut", "junk", "empty"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.json").write_text((clean / "train" / "index.json").read_text())
    (shard,) = (clean / "train").glob("*.tar")
    (tmp_path / "cut" / shard.name).write_bytes(shard.read_bytes()[:5000])
    (tmp_path / "junk" / shard.name).write_bytes(bytes(shard.stat().st_size))
    index = json.loads((clean / "train" / "index.json").read_text())
    from lightning_rcnn.data.index import Category, ShardIndex

    categories = [Category(**category) for category in index["categories"]]
    ShardIndex("empty", categories, False, [], {}).write(tmp_path / "empty")
    assert main(["inspect", *(word.format(tmp_path) for word in words)]) == 1
    error = [row for row in capsys.readouterr().err.splitlines() if row.startswith("lightning-rcnn: error: ")]
    assert len(error) == 1
    assert line in error[0]
