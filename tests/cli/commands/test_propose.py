"""The command on generated scenes: from a packed set to proposals that a training reads."""

import json

import numpy as np
import pytest
import torch

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.cli import main
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.decoded_image import decode_image
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.pack.shapes import shapes_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.loading import save_detector
from lightning_rcnn.proposals.selective_search import SelectiveSearch


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "scenes"
    write_shards(shapes_source(3, 0), folder, shard_size=2, workers=1)
    return folder


@pytest.fixture(scope="module")
def faster_rcnn(tmp_path_factory):
    torch.manual_seed(0)
    detector = FasterRCNN(
        ["a", "b"],
        backbone=ResNetFPN("resnet18", channels=16),
        rpn={"post_nms_top_n": (20, 10)},
        box={"head": {"width": 16}},
        preprocessing={"min_size": 64, "max_size": 96},
    )
    path = tmp_path_factory.mktemp("faster") / "best.ckpt"
    save_detector(detector, path)
    return path


def samples_of(folder):
    reader = ShardReader(read_shards(str(folder)), ShardCache(None, 1e9, FetchPolicy()))
    return [reader.read(number) for number in range(len(reader))]


def propose(*words):
    return main(["propose", *map(str, words)])


def test_selective_search_is_stored_and_its_recall_shown(scenes, tmp_path, capsys):
    options = ("--shards", scenes, "--out", tmp_path / "out", "--width", 48, "--limit", 20, "--workers", 1)
    assert propose(*options) == 0
    shown = capsys.readouterr().out
    assert all(f"@{limit}" in shown for limit in (100, 300, 1000, 2000))
    assert "3 images with" in shown
    search = SelectiveSearch("fast", 48, 20)
    for sample in samples_of(tmp_path / "out"):
        assert np.array_equal(sample.proposals, search(decode_image(sample.image, apply_exif=False)))
    assert propose(*options) == 0  # all is done: the recall again
    assert "@2000" in capsys.readouterr().out


def test_a_region_proposal_network_proposes_in_the_original_frame(scenes, faster_rcnn, tmp_path):
    assert propose("--shards", scenes, "--out", tmp_path / "out", "--checkpoint", faster_rcnn, "--limit", 30) == 0
    assert "FasterRCNN's RPN in best.ckpt" in read_shards(str(tmp_path / "out")).index.proposals.method
    for sample in samples_of(tmp_path / "out"):
        boxes, scores = sample.proposals[:, :4], sample.proposals[:, 4]
        assert 10 < len(boxes) <= 30  # more than the detector itself looks at
        assert (np.diff(scores) <= 0).all()
        size = [sample.content["width"], sample.content["height"]] * 2
        assert ((boxes >= 0) & (boxes <= np.array(size))).all()
        assert boxes[:, 2].max() > 0.8 * size[0]  # so they are not in the smaller frame of the network
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def refusal(capsys, *words):
    assert propose(*words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("flag", ["--width", "--limit", "--workers"])
def test_numbers_below_one_are_refused(scenes, tmp_path, capsys, flag):
    assert f"{flag} 0" in refusal(capsys, "--shards", scenes, "--out", tmp_path / "out", flag, 0)


def test_proposals_by_something_else_are_not_mixed(scenes, faster_rcnn, tmp_path, capsys):
    options = ("--shards", scenes, "--out", tmp_path / "out")
    assert propose(*options, "--width", 32, "--workers", 1) == 0
    capsys.readouterr()
    line = refusal(capsys, *options, "--checkpoint", faster_rcnn)
    assert "holds proposals of selective search, fast, width 32" in line


def test_a_checkpoint_without_a_region_proposal_network_is_refused(scenes, tmp_path, capsys):
    torch.manual_seed(0)
    path = tmp_path / "fast.ckpt"
    save_detector(FastRCNN(["a"], backbone=ResNetFPN("resnet18", channels=16), box={"head": {"width": 16}}), path)
    line = refusal(capsys, "--shards", scenes, "--out", tmp_path / "out", "--checkpoint", path)
    assert "FastRCNN has no region proposal network" in line
    assert not (tmp_path / "out").exists()


def test_boxes_of_a_file_are_stored(scenes, tmp_path, capsys):
    image_id = samples_of(scenes)[1].content["image_id"]
    boxes = [{"image_id": image_id, "bbox": [1, 2, 30, 40], "score": 0.5}]
    boxes += [{"image_id": image_id, "bbox": [5000, 2, 30, 40], "score": 0.4}]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    options = ("--shards", scenes, "--out", tmp_path / "out", "--boxes", tmp_path / "boxes.json")
    assert propose(*options) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Without proposals: 2 images" in shown
    assert "1 proposals lie outside their images" in shown
    found = [len(sample.proposals) for sample in samples_of(tmp_path / "out")]
    assert found == [0, 2, 0]
    assert "one of them" in refusal(capsys, *options, "--checkpoint", tmp_path / "boxes.json")
