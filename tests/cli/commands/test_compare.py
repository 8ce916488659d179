import json

import pytest
from PIL import Image

from lightning_rcnn.bench.compare import data_sets
from lightning_rcnn.checkpoints.header import read_header
from lightning_rcnn.cli.commands.compare import compare
from lightning_rcnn.cli.commands.pack import pack_shapes
from lightning_rcnn.errors import InputError


@pytest.mark.end_to_end
def test_four_detectors_a_table_and_a_chart(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data_sets, "NUM_TRAIN", 8)
    monkeypatch.setattr(data_sets, "NUM_VAL", 2)
    monkeypatch.setattr(data_sets, "SMALLEST", 128)
    out = tmp_path / "comparison"
    compare(out, minutes=0.002, width=100, proposal_limit=12, timed_images=1, batch_size=2, num_workers=0)

    report = json.loads((out / "comparison.json").read_text())
    names = [row["name"] for row in report["detectors"]]
    assert names == ["R-CNN", "Fast R-CNN", "Faster R-CNN", "Mask R-CNN"]
    rcnn, *others = report["detectors"]
    assert rcnn["passes"] > 1
    assert [row["passes"] for row in others] == [1, 1, 1]
    assert [row["mask_ap"] is None for row in report["detectors"]] == [True, True, True, False]  # scenes have masks
    assert 0 <= others[-1]["mask_ap"] <= 1
    for row in report["detectors"]:
        assert 0 <= row["ap"] <= row["ap50"] <= 1
        assert 0 < row["training_seconds"] < 60
        assert min(row["proposals_ms"], row["network_ms"], row["heads_ms"]) > 0
    assert [point["num_proposals"] for point in report["proposals"]] == [10, 12]
    assert "Faster R-CNN" in capsys.readouterr().out
    with Image.open(out / "comparison.png") as picture:
        assert picture.width > picture.height
    checkpoints = [sorted((out / row["key"]).glob("*.ckpt"))[-1] for row in report["detectors"]]
    classes = ["RCNN", "FastRCNN", "FasterRCNN", "MaskRCNN"]
    assert [read_header(path).class_path.rpartition(".")[2] for path in checkpoints] == classes


@pytest.mark.end_to_end
def test_the_detectors_that_came_later(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data_sets, "NUM_TRAIN", 4)
    monkeypatch.setattr(data_sets, "NUM_VAL", 1)
    monkeypatch.setattr(data_sets, "SMALLEST", 64)
    later = ("cascade_rcnn", "cascade_mask_rcnn", "point_rend", "keypoint_rcnn")
    out = tmp_path / "comparison"
    compare(out, detectors=later, minutes=0.001, timed_images=1, batch_size=2, num_workers=0)
    report = json.loads((out / "comparison.json").read_text())
    assert [row["key"] for row in report["detectors"]] == list(later)
    assert [row["mask_ap"] is not None for row in report["detectors"]] == [False, True, True, False]
    assert [row["keypoint_ap"] is not None for row in report["detectors"]] == [False, False, False, True]
    assert report["proposals"] == []  # no curve without R-CNN and Fast R-CNN
    assert not (out / "proposals").exists()
    with Image.open(out / "comparison.png") as picture:
        assert picture.width > picture.height


def test_what_does_not_go(tmp_path):
    pack_shapes(tmp_path / "set", 2)
    for chosen in ((), ("mask_rcnn", "mask_rcnn")):
        with pytest.raises(InputError, match="give one or more, each once"):
            compare(tmp_path / "out", detectors=chosen)
    with pytest.raises(InputError, match="--detectors keypoint_rcnn: the data have no keypoints"):
        compare(
            tmp_path / "out", str(tmp_path / "set"), str(tmp_path / "set"), detectors=("fast_rcnn", "keypoint_rcnn")
        )
    assert not (tmp_path / "out").exists()  # so that the corrected command has an empty folder
    with pytest.raises(InputError, match="give --train and --val, or neither"):
        compare(tmp_path / "out", train=str(tmp_path / "set"))
    (tmp_path / "file").touch()
    for out in ("set", "file"):
        with pytest.raises(InputError, match="is not an empty folder"):
            compare(tmp_path / out)
    with pytest.raises(InputError, match="above 0"):
        compare(tmp_path / "out", minutes=0)
