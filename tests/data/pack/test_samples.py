import numpy as np
import pytest
from PIL import Image

from lightning_rcnn import InputError, pack_samples

BOX = [5, 6, 15, 26]
PIXELS = np.zeros((48, 64, 3), np.uint8)


def sample(**changes):
    return {"image": PIXELS, "boxes": [BOX], "labels": ["cat"]} | changes


def test_every_kind_of_image_box_label_and_mask(tmp_path, encode_image, read_packed):
    (tmp_path / "a.jpg").write_bytes(encode_image())
    mask = np.zeros((1, 48, 64), bool)
    mask[0, 10:20, 30:50] = True

    def samples():
        yield sample(image=str(tmp_path / "a.jpg"), labels=["dog"])
        yield sample(image=encode_image(), file_name="b.jpg", boxes=np.array([BOX, BOX]), labels=("cat", "dog"))
        yield sample(image=Image.fromarray(PIXELS), boxes=None, masks=mask, iscrowd=[0], difficult=[1])
        yield sample(boxes=[], labels=[])
        yield sample(masks=[[[1, 1, 20, 1, 20, 30]]])

    index = pack_samples(samples(), tmp_path / "out", shard_size=2)
    _, packed = read_packed(tmp_path / "out")
    assert [category.name for category in index.categories] == ["dog", "cat"]
    assert [each.record["file_name"] for each in packed] == [
        "a.jpg",
        "b.jpg",
        *(f"{number:09d}.png" for number in (3, 4, 5)),
    ]
    annotations = [each.record["annotations"] for each in packed]
    assert [[each["label"] for each in listed] for listed in annotations] == [[1], [2, 1], [2], [], [2]]
    assert annotations[2][0]["bbox"] == [30, 10, 50, 20]
    assert annotations[2][0]["area"] == 200
    assert annotations[2][0]["difficult"] == 1
    assert (packed[0].image, packed[0].extension) == ((tmp_path / "a.jpg").read_bytes(), "jpg")
    assert index.report["empty_image"] == 1
    assert len(index.shards) == 3


def test_a_set_without_any_class_is_refused(tmp_path):
    """Nothing could be trained on it; with names, images without objects are a set."""
    empty = [sample(boxes=[], labels=[])]
    with pytest.raises(InputError, match="out: no object has a class; name the classes"):
        pack_samples(empty, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert len(pack_samples(empty, tmp_path / "out", classes=["cat"])) == 1


def test_numbers_are_labels_of_the_given_classes(tmp_path, read_packed):
    listed = [sample(labels=np.array([2])), sample(labels=["emu"]), sample(labels=[3])]
    index = pack_samples(listed, tmp_path / "out", classes=["cat", "dog"], max_loss=1)
    _, packed = read_packed(tmp_path / "out")
    assert [[each["label"] for each in sample.record["annotations"]] for sample in packed] == [[2], [], []]
    assert index.report == {"empty_image": 1, "emptied_image": 1, "unknown_class": 1, "other_class": 1}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (3, "sample 2: is int, not a dictionary"),
        ({"image": PIXELS}, "sample 2: has no labels"),
        (sample(box=1), "sample 2: unknown key 'box'; did you mean boxes?"),
        (sample(boxes=[BOX, BOX]), "sample 2: 2 boxes, but 1 labels"),
        (sample(boxes=None), "sample 2: has objects without boxes or masks"),
        (sample(boxes=[[1, 2, 3]]), "sample 2: box [1, 2, 3] is not four numbers"),
        (sample(labels=[2]), "sample 2: label 2 is a number; name the classes"),
        (sample(labels=[None]), "sample 2: label None is neither"),
        (sample(image=object()), "sample 2: its image cannot be stored"),
        (sample(boxes=[[5, 5, 5, 5]]), "out: 1 of 2 objects would be left out"),
        (sample(image="nowhere.jpg"), "out: 1 of 2 images would be left out"),
    ],
)
def test_a_bad_sample_leaves_nothing(tmp_path, bad, message):
    with pytest.raises(InputError) as caught:
        pack_samples([sample(), bad], tmp_path / "out")
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_large_images_are_packed_smaller(tmp_path, read_packed):
    index = pack_samples([sample()], tmp_path / "out", max_edge=32)
    _, (packed,) = read_packed(tmp_path / "out")
    assert (packed.record["width"], packed.record["height"]) == (32, 24)
    assert packed.record["annotations"][0]["bbox"] == [2.5, 3, 7.5, 13]
    assert index.report["made_smaller"] == 1
    with pytest.raises(InputError, match="--max_edge 0"):
        pack_samples([sample()], tmp_path / "other", max_edge=0)
