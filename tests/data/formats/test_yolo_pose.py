"""Keypoints of YOLO sets: numbers computed by hand, and from generated scenes to YOLO and back."""

import numpy as np
import pytest
import yaml
from PIL import Image

from lightning_rcnn.cli.commands.detected_files import write_detected
from lightning_rcnn.cli.commands.unpack import unpack
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.pack.any_format import find_data
from lightning_rcnn.data.pack.shape_keypoints import SKELETON
from lightning_rcnn.data.pack.shapes import shapes_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.data.pack.write_splits import write_splits
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.skeleton import COCO_PERSON, Skeleton

BOX = "0 .5 .5 .25 .5"  # of 64 x 48: 24..40, 12..36
COCO_FLIPS = "[0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]"


def pose_set(line, **keys):
    """Files of a set of one image, and its image."""
    keys = {"train": "images", "names": "[hand]", "kpt_shape": "[2, 3]", "flip_idx": "[1, 0]"} | keys
    text = "".join(f"{key}: {value}\n" for key, value in keys.items() if value is not None)
    return {"data.yaml": text, "labels/a.txt": line + "\n"}, ["images/a.jpg"]


def keypoints_of(packed):
    return packed.splits["train"].records["images/a.jpg"]["annotations"][0].get("keypoints")


def test_keypoints_become_pixels(write_files, pack):
    root = write_files(*pose_set(BOX + " .5 .25 2.000000 0 0 0", kpt_names="{0: [left tip, right tip]}"))
    packed = pack(root, strict=True)
    assert keypoints_of(packed) == [32, 12, 2, 0, 0, 0]
    assert find_data(root).sources["train"].skeleton == Skeleton(("left tip", "right tip"), (), ((0, 1),))


def test_two_numbers_a_keypoint_say_which_are_labeled(write_files, pack):
    """Nine columns, as oriented boxes have; 0 0 and negative numbers stand for none."""
    root = write_files(*pose_set(BOX + " .5 .25 0 0", kpt_shape="[2, 2]"))
    assert keypoints_of(pack(root, strict=True)) == [32, 12, 2, 0, 0, 0]
    assert find_data(root).sources["train"].skeleton == Skeleton(("keypoint_1", "keypoint_2"), (), ((0, 1),))
    root = write_files(*pose_set(BOX + " -1 -1 0 .5", kpt_shape="[2, 2]"))
    assert keypoints_of(pack(root, strict=True)) == [0, 0, 0, 0, 24, 2]


@pytest.mark.parametrize(
    ("keys", "expected", "note"),
    [
        ({"kpt_shape": "[17, 3]", "flip_idx": COCO_FLIPS}, COCO_PERSON, "taken for COCO's of a person"),
        ({"flip_idx": None}, Skeleton(("keypoint_1", "keypoint_2")), "no flip_idx: a mirrored image exchanges no"),
        ({"flip_idx": "[]"}, Skeleton(("keypoint_1", "keypoint_2")), "no flip_idx: a mirrored image exchanges no"),
        ({"kpt_names": "~"}, Skeleton(("keypoint_1", "keypoint_2"), (), ((0, 1),)), ""),
        ({"kpt_names": "[]"}, Skeleton(("keypoint_1", "keypoint_2"), (), ((0, 1),)), ""),
        ({"kpt_names": "{0: []}"}, Skeleton(("keypoint_1", "keypoint_2"), (), ((0, 1),)), ""),
        ({"kpt_names": "{0: [no, y]}"}, Skeleton(("no", "y"), (), ((0, 1),)), ""),
        ({"kpt_names": "[[1, 2e1]]"}, Skeleton(("1", "2e1"), (), ((0, 1),)), ""),
        (
            {"flip_idx": None, "kpt_names": "[[a_left, a_right]]", "skeleton": "[[0, 1]]"},
            Skeleton(("a_left", "a_right"), ((0, 1),), ((0, 1),)),
            "",
        ),
    ],
)
def test_what_the_file_does_not_state_is_found_or_said(write_files, pack, keys, expected, note):
    root = write_files(*pose_set(BOX, **keys))
    found = find_data(root)
    assert found.sources["train"].skeleton == expected
    assert note in found.title
    assert ("; " in found.title) == bool(note)
    assert keypoints_of(pack(root, strict=True)) is None


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"kpt_shape": "2"}, "kpt_shape is 2; give the number of keypoints"),
        ({"kpt_shape": "[2, 4]"}, "kpt_shape is [2, 4]"),
        ({"flip_idx": "[0]"}, "flip_idx is [0]; give for each of the 2 keypoints"),
        ({"kpt_shape": "[3, 3]", "flip_idx": "[1, 2, 0]"}, "flip_idx is [1, 2, 0]"),
        ({"kpt_names": "[[a]]"}, "kpt_names has 1 name, kpt_shape 2 keypoints"),
        ({"kpt_names": "{0: [a, b], 1: [a, c]}"}, "kpt_names of its classes differ"),
        ({"kpt_names": "3"}, "kpt_names is no list of names"),
        ({"kpt_names": "[[[a], [b]]]"}, "kpt_names is no list of names"),
        ({"kpt_names": "[a, a]"}, "its keypoints cannot be read (Skeleton: names is ['a', 'a']"),
        ({"skeleton": "[[0, 2]]"}, "its keypoints cannot be read (Skeleton: edges has [0, 2]"),
    ],
)
def test_bad_keys_are_one_line_with_the_file(write_files, refusal, keys, words):
    message = refusal(write_files(*pose_set(BOX, **keys)))
    assert words in message
    assert "data.yaml: " in message


def test_lines_that_do_not_fit_are_named(write_files, pack, refusal):
    line = BOX + " .5 .5 2"
    assert "line 1: 8 columns, a box has 5, with keypoints 11" in refusal(write_files(*pose_set(line)))
    packed = pack(write_files(*pose_set(BOX + " .5 .5 3 0 0 0"))).splits["train"]
    assert packed.report == {"bad_keypoints": 1}
    assert "keypoints" not in packed.records["images/a.jpg"]["annotations"][0]


def read(folder):
    shard_set = read_shards(str(folder))
    reader = ShardReader(shard_set, ShardCache(None, 1e9, FetchPolicy()))
    return shard_set.index, {(raw := reader.read(n)).image: raw.content for n in range(len(reader))}


def test_scenes_return_from_yolo_with_their_keypoints_and_without_their_masks(tmp_path, capsys):
    write_shards(shapes_source(8, 3, keypoints=True), tmp_path / "shards", workers=1)
    unpack(str(tmp_path / "shards"), "yolo", tmp_path / "yolo")
    before, originals = read(tmp_path / "shards")
    objects = [each for content in originals.values() for each in content["annotations"]]
    loss = f"{len(objects)} masks are left out and their boxes kept: yolo has no place for them."
    assert loss in capsys.readouterr().out
    content = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert content["kpt_shape"] == [6, 3]
    assert content["flip_idx"] == [0, 1, 3, 2, 5, 4]
    assert content["kpt_names"][3] == list(SKELETON.names)
    found = find_data(tmp_path / "yolo")
    write_splits(found.sources, tmp_path / "back", strict=True)
    after, returned = read(tmp_path / "back")
    assert after.skeleton == before.skeleton == SKELETON
    num_labeled = 0
    for image, original in originals.items():
        for each, again in zip(original["annotations"], returned[image]["annotations"], strict=True):
            assert "segmentation" not in again
            keypoints, packed = each.get("keypoints", []), again.get("keypoints", [])
            assert packed[2::3] == keypoints[2::3]
            assert np.abs(np.subtract(packed, keypoints)).max(initial=0) < 1e-6
            num_labeled += sum(v > 0 for v in keypoints[2::3])
    assert num_labeled > 50


def test_a_set_without_keypoints_has_no_keys_of_them(tmp_path):
    write_shards(shapes_source(2, 3), tmp_path / "shards", workers=1)
    unpack(str(tmp_path / "shards"), "yolo", tmp_path / "yolo")
    assert set(yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())) == {"names"}
    assert find_data(tmp_path / "yolo").sources[""].skeleton is None


def test_detected_keypoints_are_written_behind_their_boxes(tmp_path):
    """By hand: results count pixels, so the center of the first one is half a pixel from the corner of the image."""
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    found = {"category_id": 7, "bbox": [16, 12, 32, 24], "score": 0.9, "keypoints": [31.5, 11.5, 0.8, 3.5, 5.5, 0.01]}
    entries = [{"image": str(tmp_path / "a.png"), "width": 64, "height": 48, "objects": [found]}]
    skeleton = Skeleton(("left", "right"), (), ((0, 1),))
    remarks = write_detected("yolo", tmp_path / "yolo", entries, [7], ["hand"], skeleton, keypoints_above=0.05)
    (line,) = (tmp_path / "yolo" / "labels" / "a.txt").read_text().splitlines()
    assert [float(word) for word in line.split()] == [0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 2, 0, 0, 0]
    assert remarks == ["1 score is left out: yolo has no place for it."]
