"""Keypoints of COCO files: to shards, into batches, and back to files that pycocotools reads."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from torch.utils.data import Dataset

from lightning_rcnn import DetectionDataModule, Skeleton
from lightning_rcnn.cli.commands.unpack import unpack
from lightning_rcnn.data.dataset import BatchRequest, DetectionDataset
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.combine import combine
from lightning_rcnn.data.pack.smaller import with_max_edge
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.data.torch_dataset import TorchDatasetReader
from lightning_rcnn.data.transforms import HorizontalFlip
from lightning_rcnn.errors import InputError

HAND = {"id": 3, "name": "hand", "keypoints": ["left_tip", "right_tip", "wrist"], "skeleton": [[1, 3], [2, 3]]}
CAR = {"id": 9, "name": "car"}
IMAGES = [{"id": 5, "file_name": "a.jpg", "width": 64, "height": 48}, {"id": 6, "file_name": "b.jpg"}]


def hand(number: int, *keypoints: float, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": 5, "category_id": 3, "bbox": [8, 4, 40, 40], "keypoints": list(keypoints), **more}


OBJECTS = [
    hand(1, 10, 5, 2, 40, 6, 1, 20, 40, 2),
    hand(2, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    hand(3, 10, 5, 2, 30, 6, 0, 63, 47, 2),
    {"id": 4, "image_id": 5, "category_id": 9, "bbox": [1, 1, 5, 5]},
]


@pytest.fixture
def pack(make_coco, encode_image, tmp_path):
    def pack(annotations, categories=(HAND, CAR), images=IMAGES, name="packed", **options):
        files = {image["file_name"]: encode_image() for image in images}
        source = coco_source(*make_coco(files, images, annotations, categories), **options)
        write_shards(source, tmp_path / name, workers=1, max_loss=1, name=name)
        return tmp_path / name

    return pack


def batch_of(folder: Path, skeleton: Skeleton | None, transforms=()):
    module = DetectionDataModule(train=str(folder), batch_size=2, num_workers=0, train_transforms=list(transforms))
    module.resize_rule, module.skeleton = ResizeRule(96, 200), skeleton
    module.setup("fit")
    return next(iter(module.train_dataloader()))


def test_keypoints_are_packed_with_their_skeleton_and_reach_the_batch(pack, read_packed):
    folder = pack(OBJECTS)
    index, samples = read_packed(folder)
    assert index.skeleton == Skeleton(("left_tip", "right_tip", "wrist"), ((0, 2), (1, 2)), ((0, 1),))
    first, second, third, car = samples[0].record["annotations"]
    assert first["keypoints"] == [10.5, 5.5, 2, 40.5, 6.5, 1, 20.5, 40.5, 2]  # a pixel's center lies at .5
    assert third["keypoints"] == [10.5, 5.5, 2, 0, 0, 0, 63.5, 47.5, 2]
    assert "keypoints" not in second
    assert "keypoints" not in car
    for mirror in (0.0, 1.0):
        batch = batch_of(folder, index.skeleton, [HorizontalFlip(mirror)])
        slot = batch.image_ids.tolist().index(5)
        keypoints = batch.targets.keypoints[slot]
        assert keypoints.shape == (8, 3, 3)
        plain = torch.tensor([[21.0, 11, 2], [81, 13, 1], [41, 81, 2]])
        flipped = torch.tensor([[128 - 81.0, 13, 1], [128 - 21, 11, 2], [128 - 41, 81, 2]])
        assert torch.equal(keypoints[0], flipped if mirror else plain)
        assert not keypoints[1].any()
        assert not keypoints[3:].any()
        assert batch.to("cpu").targets.keypoints.shape == (*keypoints.shape[:0], 2, 8, 3, 3)
    assert batch_of(folder, None).targets.keypoints is None


def test_unpacked_files_are_those_that_were_packed(pack, tmp_path, capsys):
    pairs = {**HAND, "flip_pairs": [[1, 3]]}
    folder = pack(OBJECTS, (pairs, CAR))
    unpack(str(folder), format="coco", out=tmp_path / "out")
    coco = COCO(str(tmp_path / "out" / "annotations.json"))
    category = coco.loadCats([3])[0]
    assert {key: category[key] for key in pairs} == pairs
    for before, after in zip(OBJECTS, coco.loadAnns(coco.getAnnIds(imgIds=[5])), strict=True):
        labeled = [value for value in before.get("keypoints", [])[2::3] if value]
        if labeled:
            assert after["num_keypoints"] == len(labeled)
            given = np.array(before["keypoints"]).reshape(3, 3)
            assert after["keypoints"] == np.where(given[:, 2:] > 0, given, 0).ravel().tolist()
        else:
            assert "keypoints" not in after
    again = coco_source(tmp_path / "out" / "images", tmp_path / "out" / "annotations.json")
    assert again.skeleton == read_shards(str(folder)).index.skeleton
    for name in ("voc", "labelme", "csv"):
        unpack(str(folder), format=name, out=tmp_path / name)
        assert f"2 objects lose their keypoints: {name} has no place for them." in capsys.readouterr().out


def test_an_object_that_states_no_keypoints_keeps_that_statement(pack, read_packed, tmp_path):
    objects = [hand(1, *[9.5, 4.5, 2] * 3) | {"num_keypoints": number} for number in (0, 3, 2)]
    folder = pack([each | {"id": number} for number, each in enumerate(objects, start=1)])
    annotations = read_packed(folder)[1][0].record["annotations"]
    assert [each.get("num_keypoints") for each in annotations] == [0, None, None]
    unpack(str(folder), format="coco", out=tmp_path / "out")
    coco = COCO(str(tmp_path / "out" / "annotations.json"))
    assert [each["num_keypoints"] for each in coco.loadAnns(coco.getAnnIds())] == [0, 3, 3]


def test_bad_keypoints_are_counted_and_those_outside_are_not_labeled(pack, read_packed):
    bad = [
        hand(1, 1, 2, 2),
        hand(2, 1, 2, 3, 4, 5, 2, 1, 1, 1),
        hand(3, float("nan"), 2, 2, 4, 5, 2, 1, 1, 1),
        hand(4, 100, 5, 2, 40, 6, 1, 20, 40, 2),
        {**hand(5), "keypoints": None},
    ]
    index, samples = read_packed(pack(bad))
    assert index.report == {"bad_keypoints": 3, "keypoint_outside": 1, "empty_image": 1, "category_ids": 1} | {
        key: index.report[key] for key in index.report if key.startswith("size_")
    }
    keypoints = [each.get("keypoints") for each in samples[0].record["annotations"]]
    assert keypoints == [None, None, None, [0, 0, 0, 40.5, 6.5, 1, 20.5, 40.5, 2], None]


def test_relative_and_scaled_keypoints_are_in_pixels_of_the_file(pack, read_packed):
    half = [{"id": 5, "file_name": "a.jpg", "width": 32, "height": 24}]
    objects = [hand(1, 9.5, 4.5, 2, 19.5, 5.5, 2, 9.5, 19.5, 2) | {"bbox": [4, 2, 20, 20]}]
    _, samples = read_packed(pack(objects, images=half))
    assert samples[0].record["annotations"][0]["keypoints"] == [20, 10, 2, 40, 12, 2, 20, 40, 2]
    relative = hand(1, 0.25, 0.5, 2, 0.5, 0.5, 2, 0.75, 0.25, 2) | {"bbox": [0.1, 0.1, 0.7, 0.7]}
    _, samples = read_packed(pack([relative], images=IMAGES[:1], name="relative"))
    assert samples[0].record["annotations"][0]["keypoints"] == [16, 24, 2, 32, 24, 2, 48, 12, 2]


def test_a_smaller_image_has_smaller_keypoints(make_coco, encode_image, tmp_path, read_packed):
    source = coco_source(*make_coco({"a.jpg": encode_image()}, IMAGES[:1], OBJECTS[:1], [HAND]))
    write_shards(with_max_edge(source, 32), tmp_path / "small", workers=1)
    _, samples = read_packed(tmp_path / "small")
    expected = [5.25, 2.75, 2, 20.25, 3.25, 1, 10.25, 20.25, 2]
    assert samples[0].record["annotations"][0]["keypoints"] == expected


def test_two_skeletons_in_one_set_are_refused(pack, tmp_path):
    paw = {"id": 9, "name": "paw", "keypoints": ["a", "b"], "skeleton": []}
    with pytest.raises(InputError, match=r"categories 'hand' and 'paw' have different keypoints \(3 keypoints and 2\)"):
        pack(OBJECTS, (HAND, paw))
    assert read_shards(str(pack(OBJECTS, (HAND, paw), classes=["paw"]))).index.skeleton == Skeleton(("a", "b"))
    broken = {**HAND, "skeleton": [[1, 9]]}
    with pytest.raises(InputError, match=r"the skeleton of category 'hand' cannot be read .*\[0, 8\].*numbers from 1"):
        pack(OBJECTS, (broken, CAR))
    report = read_shards(str(pack(OBJECTS[:1], ({"id": 3, "name": "hand"},), name="bare"))).index.report
    assert report["keypoints"] == 1


def test_sets_of_other_skeletons_do_not_fit_together(pack):
    ours = pack(OBJECTS)
    skeleton = read_shards(str(ours)).index.skeleton
    other = pack(OBJECTS, ({**HAND, "keypoints": ["left_tip", "right_tip", "palm"]}, CAR), name="other")
    with pytest.raises(InputError, match=r"other and packed cannot be one data set.*keypoint 3 is 'wrist' and 'palm'"):
        read_shards([str(ours), str(other)])
    with pytest.raises(InputError, match=r"^data.train: other has other keypoints than the skeleton: keypoint 3 is"):
        batch_of(other, skeleton)
    plain = pack(OBJECTS[3:], (CAR,), name="plain")
    with pytest.raises(InputError, match=r"^data.train: plain has no keypoints, which the skeleton needs; use another"):
        batch_of(plain, skeleton)


def test_combined_sets_have_one_skeleton(make_coco, encode_image, tmp_path):
    def source(category):
        return coco_source(*make_coco({"a.jpg": encode_image()}, IMAGES[:1], OBJECTS[:1], [category]))

    other = {**HAND, "flip_pairs": [[1, 3]]}
    with pytest.raises(
        InputError, match=r"a and b have different keypoints \(the same keypoints with other flip pairs"
    ):
        combine([{"": source(HAND)}, {"": source(other)}], ["a", "b"], "both")
    bare = {"id": 3, "name": "hand"}
    united = combine([{"": source(HAND)}, {"": source(bare)}], ["a", "b"], "both")
    assert united[""].skeleton == source(HAND).skeleton


class Hands(Dataset):
    classes = ("hand",)
    skeleton = Skeleton(("left", "right"), flip_pairs=((0, 1),))

    def __init__(self, keypoints: Any) -> None:
        self.keypoints = keypoints

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> Any:
        boxes = [[2.0, 2.0, 30.0, 30.0], [5.0, 5.0, 5.0, 9.0], [4.0, 4.0, 20.0, 20.0]]
        target = {"boxes": torch.tensor(boxes), "labels": torch.ones(3, dtype=torch.int64), "keypoints": self.keypoints}
        return torch.zeros((3, 32, 32), dtype=torch.uint8), target


def test_a_torch_data_set_gives_keypoints():
    """The second box has no area and is left out, with its keypoints."""
    keypoints = torch.tensor([[[4.0, 5, 2], [20, 6, 1]], [[5, 5, 2], [5, 9, 2]], [[9, 9, 0], [12, 13, 2]]])
    dataset = DetectionDataset(
        TorchDatasetReader(Hands(keypoints)),
        [ResizeRule(32, 32)],
        "training",
        [HorizontalFlip(1.0)],
        0,
        "none",
        0,
        False,
        Hands.skeleton,
    )
    targets = dataset[BatchRequest(0, 0, (32, 32), (0,))].targets
    expected = [[[12.0, 6, 1], [28, 5, 2]], [[20, 13, 2], [0, 0, 0]]]
    assert targets.keypoints[0, :2].tolist() == expected
    module = DetectionDataModule(train=Hands(keypoints[:, :1]), batch_size=1, num_workers=0)
    with pytest.raises(InputError, match=r"item 0: its keypoints are \[3, 1, 3\], not \[3, 2, 3\]"):
        module.setup("fit")
