"""`--split`, several sources and `--max_edge`, from files to shards."""

import io
import json
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from lightning_rcnn.cli import main
from lightning_rcnn.data.decoded_image import decode_image
from lightning_rcnn.data.pack.smaller import smaller_size
from lightning_rcnn.data.resize import ResizeRule


@pytest.fixture
def yolo(tmp_path, encode_image):
    """`yolo("a", {"x_1": "0 .5 .5 .4 .4"}, "cat,dog")`: a YOLO set of JPEGs with these label files."""

    def write(name, texts, names="cat,dog", **image):
        root = tmp_path / name
        root.mkdir(parents=True)
        (root / "classes.txt").write_text(names.replace(",", "\n"))
        for stem, text in texts.items():
            (root / stem).parent.mkdir(exist_ok=True)
            (root / f"{stem}.jpg").write_bytes(encode_image(**image))
            (root / f"{stem}.txt").write_text(text)
        return root

    return write


@pytest.fixture
def pack(tmp_path, capsys, read_packed):
    """`pack("auto", path, "--split", ...)`: split -> samples by file name; or the one line of the refusal."""

    number = count()

    def run(*words):
        out = tmp_path / f"out{next(number)}"
        status = main(["pack", *map(str, words), "--out", str(out)])
        captured = capsys.readouterr()
        if status:
            assert captured.err.count("\n") == 1, captured.err
            assert not out.exists()
            assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
            return captured.err
        packed = {}
        for path in out.rglob("index.json"):
            index, samples = read_packed(path.parent)
            names = {category.label: category.name for category in index.categories}
            packed[path.parent.relative_to(out).as_posix()] = {sample.record["file_name"]: sample for sample in samples}
            for sample in samples:
                sample.report = index.report
                sample.classes = [names[each["label"]] for each in sample.record["annotations"]]
        return packed

    return run


def test_split_keeps_groups(yolo, pack):
    root = yolo("a", {f"scan{group}_{image}": f"{image % 2} .5 .5 .4 .4" for group in range(10) for image in range(3)})
    packed = pack("auto", root, "--split", "0.8,0.1,0.1", "--seed", 3)
    assert {split: len(samples) for split, samples in packed.items()} == {"train": 24, "val": 3, "test": 3}
    scans = {split: {name.partition("_")[0] for name in samples} for split, samples in packed.items()}
    assert [len(scans[split]) for split in ("train", "val", "test")] == [8, 1, 1]
    assert len(set.union(*scans.values())) == 10
    again = pack("yolo", root, "--split", "0.8,0.1,0.1", "--seed", 3)
    assert {split: set(samples) for split, samples in again.items()} == {
        split: set(samples) for split, samples in packed.items()
    }


def test_a_column_says_what_stays_together(tmp_path, pack, encode_image):
    rows = ["image,patient,x1,y1,x2,y2,class"]
    for number in range(20):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / f"{number}.jpg").write_bytes(encode_image())
        rows.append(f"{number}.jpg,{'PQRST'[number % 5]},1,2,30,40,cat")
    (tmp_path / "set" / "boxes.csv").write_text("\n".join(rows))
    packed = pack("csv", tmp_path / "set", "--split", "0.8,0.2")
    patients = [{int(name.partition(".")[0]) % 5 for name in samples} for samples in packed.values()]
    assert sorted(map(len, patients)) == [1, 4]
    assert not patients[0] & patients[1]


def test_impossible_splits_are_refused(yolo, pack):
    sets = {f"{split}/{number}": "0 .5 .5 .4 .4" for split in ("train", "val") for number in range(4)}
    root = yolo("a", sets)
    assert "has splits of its own (train 4, val 4); leave --split out" in pack("auto", root, "--split", ".5,.5")
    assert "has no such split; did you mean train?" in pack("auto", root, "--split", "trian")
    assert set(pack("auto", root, "--split", "val")["."]) == {f"val/{number}.jpg" for number in range(4)}
    small = yolo("b", {"x": "0 .5 .5 .4 .4"})
    assert "1 image in 1 group are too few for 2 splits" in pack("auto", small, "--split", ".5,.5")
    assert "--group_by folder: only shares divide" in pack("auto", small, "--group_by", "folder")
    assert "the sum is 1.1" in pack("yolo", small, "--split", ".8,.3")


def test_a_set_with_one_split_is_divided(yolo, pack):
    root = yolo("a", {f"train/{number}": "0 .5 .5 .4 .4" for number in range(10)})
    packed = pack("auto", root, "--split", "0.8,0.2", "--group_by", "none")
    assert {split: len(samples) for split, samples in packed.items()} == {"train": 8, "val": 2}


def test_generated_scenes_are_divided_and_their_classes_chosen(pack):
    packed = pack("shapes", "--num", 10, "--split", "0.8,0.2", "--classes", "star;ellipse,triangle=round")
    assert {split: len(samples) for split, samples in packed.items()} == {"train": 8, "val": 2}
    classes = {name for samples in packed.values() for sample in samples.values() for name in sample.classes}
    assert classes == {"star", "round"}


@pytest.mark.parametrize(
    ("classes", "expected"),
    [("*=object", ["object", "object"]), ("dog;*=other", ["other", "dog"]), ("*", ["cat", "dog"])],
)
def test_a_star_stands_for_the_other_classes_of_any_format(yolo, pack, classes, expected):
    root = yolo("a", {"x": "0 .5 .5 .4 .4\n1 .2 .2 .1 .1"})
    packed = pack("auto", root, "--classes", classes)
    assert packed["."]["x.jpg"].classes == expected
    assert "a name is empty; give class names" in pack("auto", root, "--classes", "")


def test_several_sets_become_one(yolo, pack):
    first = yolo("one/a", {"x": "0 .5 .5 .4 .4\n1 .2 .2 .1 .1", "y": "1 .5 .5 .4 .4"}, "cat,dog")
    second = yolo("two/a", {"x": "0 .5 .5 .4 .4\n1 .2 .2 .1 .1", "z": "9 .5 .5 .4 .4"}, "emu,cat", width=32)
    (samples,) = pack("auto", first, second, "--max_loss", 1).values()
    assert {name: sample.classes for name, sample in samples.items()} == {
        "one/a/x.jpg": ["cat", "dog"],
        "one/a/y.jpg": ["dog"],
        "two/a/x.jpg": ["emu", "cat"],
        "two/a/z.jpg": [],
    }
    ids = [sample.record["image_id"] for sample in samples.values()]
    assert len(set(ids)) == 4
    annotations = [each["id"] for sample in samples.values() for each in sample.record["annotations"]]
    assert len(set(annotations)) == 5
    assert samples["two/a/x.jpg"].record["width"] == 32
    (chosen,) = pack("auto", first, second, "--classes", "emu,dog=animal", "--max_loss", 1).values()
    assert {name: sample.classes for name, sample in chosen.items()} == {
        "one/a/x.jpg": ["animal"],
        "one/a/y.jpg": ["animal"],
        "two/a/x.jpg": ["animal"],
        "two/a/z.jpg": [],
    }
    assert chosen["two/a/z.jpg"].report["other_class"] == 2


def test_images_of_a_group_in_two_sets_stay_together(yolo, pack):
    names = [f"scan{group}_{image}" for group in range(10) for image in range(4)]
    first = yolo("a", dict.fromkeys(names[::2], "0 .5 .5 .4 .4"))
    second = yolo("b", dict.fromkeys(names[1::2], "0 .5 .5 .4 .4"))
    packed = pack("auto", first, second, "--split", "0.8,0.2")
    scans = [{name.partition("/")[2].partition("_")[0] for name in samples} for samples in packed.values()]
    assert sorted(map(len, scans)) == [2, 8]


def test_sets_that_do_not_go_together_are_refused(yolo, pack, tmp_path):
    line = "0 .5 .5 .4 .4"
    split = yolo("a", {"train/x": line, "val/y": line})
    whole = yolo("b", {"x": line, "in/y": line})
    assert "a has splits, and b has none" in pack("auto", split, whole)
    assert "given twice" in pack("auto", whole, tmp_path / "a" / ".." / "b")
    assert "which is given too" in pack("auto", whole, whole / "in")
    assert "has no class 'dgo'; did you mean dog?" in pack("auto", whole, yolo("c", {"x": line}), "--classes", "dgo")


def test_a_packed_set_is_not_appended_to(yolo, tmp_path, capsys):
    words = ["pack", "auto", str(yolo("a", {"x": "0 .5 .5 .4 .4"})), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    before = (tmp_path / "out" / "index.json").read_bytes()
    assert main(words) == 1
    assert "pack all sources into one" in capsys.readouterr().err
    assert (tmp_path / "out" / "index.json").read_bytes() == before


def coco_set(tmp_path, images, annotations):
    """Write a COCO set of one class: file name -> (bytes, width, height), and annotations."""
    (tmp_path / "images").mkdir()
    listed = []
    for number, (name, (data, width, height)) in enumerate(images.items(), 1):
        (tmp_path / "images" / name).write_bytes(data)
        listed.append({"id": number, "file_name": name, "width": width, "height": height})
    annotations = [{"id": number, "category_id": 1, **each} for number, each in enumerate(annotations, 1)]
    content = {"images": listed, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    return ["coco", "--images", tmp_path / "images", "--annotations", tmp_path / "a.json"]


def test_large_images_are_packed_smaller_with_boxes_and_masks(tmp_path, pack, encode_image):
    pixels = np.zeros((120, 200), np.uint8, order="F")
    pixels[30:90, 20:100] = 1
    rle = coco_mask.encode(pixels)
    polygon = [20.0, 30, 100, 30, 100, 90, 20, 90]
    box = {"image_id": 1, "bbox": [20, 30, 80, 60]}
    small = encode_image(100, 40)
    command = coco_set(
        tmp_path,
        {"large.jpg": (encode_image(200, 120), 200, 120), "small.jpg": (small, 100, 40)},
        [
            box | {"segmentation": [polygon]},
            box | {"segmentation": {"size": [120, 200], "counts": rle["counts"].decode()}, "iscrowd": 1},
            {"image_id": 2, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 4, 2, 4, 6]]},
        ],
    )
    (samples,) = pack(*command, "--max_edge", 100, "--quality", 95).values()
    assert samples["small.jpg"].image == small
    large = samples["large.jpg"]
    assert large.report["made_smaller"] == 1
    image = Image.open(io.BytesIO(large.image))
    assert (image.format, image.size, large.record["width"], large.record["height"]) == ("JPEG", (100, 60), 100, 60)
    expected = Image.open(tmp_path / "images" / "large.jpg").resize((100, 60), Image.Resampling.BOX)
    assert np.abs(np.asarray(image, int) - np.asarray(expected, int)).mean() < 4
    truth = np.zeros((60, 100), bool)
    truth[15:45, 10:50] = True
    for annotation, segmentation in zip(large.record["annotations"], ("polygon", "rle"), strict=True):
        assert annotation["bbox"] == pytest.approx([10, 15, 50, 45])
        assert annotation["area"] == pytest.approx(1200)
        stored = annotation["segmentation"]
        assert isinstance(stored, list if segmentation == "polygon" else dict)
        encoded = coco_mask.frPyObjects(stored, 60, 100)[0] if segmentation == "polygon" else stored
        mask = coco_mask.decode(encoded).astype(bool)
        assert (mask & truth).sum() / (mask | truth).sum() > 0.97
    low = next(iter(pack(*command, "--max_edge", 100, "--quality", 20).values()))["large.jpg"]
    assert len(low.image) < len(large.image)


@pytest.mark.parametrize(
    ("size", "packed"),
    [
        ((200, 150), (107, 80)),  # the shorter edge to 80
        ((150, 200), (80, 107)),
        ((300, 90), (133, 40)),  # the longer edge to 133, although the shorter one is close to 80
        ((133, 80), (133, 80)),
        ((100, 40), (100, 40)),
    ],
)
def test_images_get_the_size_that_a_detector_works_on(tmp_path, pack, encode_image, size, packed):
    command = coco_set(tmp_path, {"a.jpg": (encode_image(*size), *size)}, [])
    (samples,) = pack(*command, "--max_edge", 133, "--max_short_edge", 80).values()
    assert Image.open(io.BytesIO(samples["a.jpg"].image)).size == packed


@given(st.integers(1, 6000), st.integers(1, 6000), st.sampled_from([(800, 1333), (96, 160), (600, 1000), (1, 1)]))
def test_a_size_made_smaller_is_not_resized_in_training(width, height, limits):
    rule = ResizeRule(*limits)
    packed = smaller_size((width, height), limits[1], limits[0])
    if packed != (width, height):
        assert rule.size(*packed[::-1]) == packed[::-1] == rule.size(height, width)


def test_orientation_and_kind_of_smaller_images(tmp_path, pack, encode_image):
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = io.BytesIO()
    values = (np.arange(100 * 50, dtype=np.uint16) * 13).reshape(50, 100)
    Image.fromarray(values).save(deep, "PNG")
    files = {
        "turned.jpg": (encode_image(100, 50, exif=turned), 50, 100),
        "stored.jpg": (encode_image(100, 50, exif=turned), 100, 50),
        "gray.png": (encode_image(100, 50, "PNG", "L"), 100, 50),
        "deep.png": (deep.getvalue(), 100, 50),
        "palette.gif": (encode_image(100, 50, "GIF", "P"), 100, 50),
    }
    (whole,) = pack(*coco_set(tmp_path, files, [])).values()
    (samples,) = pack(
        "coco", "--images", tmp_path / "images", "--annotations", tmp_path / "a.json", "--max_edge", 50
    ).values()
    kinds = {}
    for name, sample in samples.items():
        image = Image.open(io.BytesIO(sample.image))
        kinds[name] = (sample.extension, image.mode)
        before = decode_image(whole[name].image, apply_exif=whole[name].record["apply_exif"]).float()
        after = decode_image(sample.image, apply_exif=sample.record["apply_exif"]).float()
        assert (
            after.shape[1:]
            == (sample.record["height"], sample.record["width"])
            == tuple(s // 2 for s in before.shape[1:])
        )
        halved = before.unfold(1, 2, 2).unfold(2, 2, 2).mean((-1, -2))
        assert (halved - after).abs().mean() < 5, name
    assert kinds == {
        "turned.jpg": ("jpg", "RGB"),
        "stored.jpg": ("jpg", "RGB"),
        "gray.png": ("png", "L"),
        "deep.png": ("png", "I;16"),
        "palette.gif": ("png", "RGB"),
    }
    deep_values = np.asarray(Image.open(io.BytesIO(samples["deep.png"].image)))
    assert deep_values.max() > 60_000


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--max_edge", "0"], "--max_edge 0: give a number of pixels above 0"),
        (["--max_edge", "-5"], "--max_edge -5: give"),
        (["--max_short_edge", "80"], "--max_short_edge 80: give --max_edge too"),
        (["--max_edge", "60", "--max_short_edge", "80"], "--max_short_edge 80: give a number of pixels from 1 to"),
        (["--max_edge", "100", "--quality", "0"], "--quality 0: give a JPEG quality from 1 to 100"),
        (["--max_edge", "100", "--quality", "101"], "--quality 101: give"),
        (["--quality", "90"], "--quality 90: only --max_edge"),
        (["--max_edge", "big"], "--max_edge: 'big' is not int"),
    ],
)
def test_impossible_sizes_are_refused(pack, words, line):
    assert line in pack("shapes", "--num", 2, *words)


def test_a_mask_that_vanishes_is_reported(tmp_path, pack, encode_image):
    box = {"image_id": 1, "bbox": [100, 100, 2, 2], "segmentation": [[100.0, 100, 102, 100, 102, 102, 100, 102]]}
    command = coco_set(tmp_path, {"a.jpg": (encode_image(400, 400), 400, 400)}, [box])
    (samples,) = pack(*command, "--max_edge", 20).values()
    sample = samples["a.jpg"]
    assert sample.report["empty_mask"] == 1
    assert "segmentation" not in sample.record["annotations"][0]
    assert sample.record["annotations"][0]["bbox"] == pytest.approx([5, 5, 5.1, 5.1])
