"""From shards to each format and back by `pack auto`, and the files read by others: pycocotools and supervision."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from lightning_rcnn import pack_samples
from lightning_rcnn.cli.commands.unpack import unpack
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.pack.any_format import find_data
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.voc import voc_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.data.pack.write_splits import write_splits
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.segmentation import as_run_length

REALDATA = Path(__file__).parents[5] / "shared" / "data"
BOX_ERRORS = {"coco": 1e-9, "csv": 1e-4, "labelme": 1e-9, "yolo": 1e-3, "voc": 0.5, "masks": 1}
"""Pixels by which edges may move: VOC has whole pixels, and boxes of masks in image files are those of their pixels."""
WITH_MASKS = ("coco", "labelme", "yolo", "masks")


def image_of(number, **options):
    pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def bitmap_with_hole_and_part():
    mask = np.zeros((48, 64), bool)
    mask[5:20, 8:30] = True
    mask[9:12, 12:18] = False
    mask[25:30, 28:40] = True
    return mask


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """Two splits of boxes: fractions, the image's edges, a pixel, difficult and crowd objects, an image without any."""
    root = tmp_path_factory.mktemp("boxes") / "set"

    def samples(split):
        for number in range(4):
            yield {
                "image": image_of(number),
                "file_name": f"{split}/sub folder/{'ab'[number % 2]}.png",  # names occur twice
                "boxes": [[0, 0, 64, 48], [3.25, 4.5, 20.75, 30.125], [10, 11, 11, 12]][:number],
                "labels": ["zebra", "cat & dog", "zebra"][:number],
                "difficult": [0, 1, 0][:number],
            }

    for split in ("train", "val"):
        pack_samples(samples(split), root / split, classes=["zebra", "cat & dog"])
    return root


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    """Masks of one class: a polygon, a rectangle, several polygons, and a bitmap of two parts and a hole."""
    folder = tmp_path_factory.mktemp("masks") / "set"
    bitmap = np.zeros((48, 64), bool)
    bitmap[40:47, 50:61] = np.random.default_rng(0).random((7, 11)) < 0.6
    polygons = [
        [[10.3, 5.7, 30.1, 8.9, 22.5, 25.5]],
        [[2.0, 30.0, 8.0, 30.0, 8.0, 40.0, 2.0, 40.0]],
        [[40.5, 3.5, 50.5, 3.5, 45.0, 12.3], [52.1, 3.0, 60.7, 4.0, 55.5, 20.9]],
    ]
    samples = [
        {"image": image_of(0), "masks": [*polygons, bitmap], "labels": ["object"] * 4},
        {"image": image_of(1), "masks": [bitmap_with_hole_and_part()], "labels": ["object"]},
    ]
    pack_samples(samples, folder)
    return folder


def read(folder):
    """Image name -> its bytes, size and objects: class name and annotation."""
    shard_set = read_shards(str(folder))
    reader = ShardReader(shard_set, ShardCache(None, 1e9, FetchPolicy()))
    names = {category.label: category.name for category in shard_set.index.categories}
    samples = [reader.read(number) for number in range(len(reader))]
    return [
        (raw.image, raw.content, [(names[each["label"]], each) for each in raw.content["annotations"]])
        for raw in samples
    ]


def there_and_back(source, name, tmp_path, splits=("",)):
    """Unpack and pack again, and check bytes, counts, classes, boxes and masks; returns the pairs of annotations."""
    unpack(str(source), name, tmp_path / name)
    found = find_data(tmp_path / name)
    assert list(found.sources) == list(splits)
    write_splits(found.sources, tmp_path / "back", strict=name == "coco" and source.name == "set")
    pairs = []
    for split in splits:
        before = {image: (content, objects) for image, content, objects in read(source / split)}
        after = {image: (content, objects) for image, content, objects in read(tmp_path / "back" / split)}
        assert before.keys() == after.keys(), "images are the same bytes"
        for image, (content, objects) in before.items():
            kept = [(cls, each) for cls, each in objects if not each["iscrowd"] or name in ("coco", "csv")]
            assert (content["width"], content["height"]) == (after[image][0]["width"], after[image][0]["height"])
            if name != "masks":  # its one class has a name only in `pack masks --class_name`
                assert Counter(cls for cls, _ in kept) == Counter(cls for cls, _ in after[image][1])
            pairs += zip((each for _, each in kept), (each for _, each in after[image][1]), strict=True)
    for each, again in pairs:
        assert np.abs(np.subtract(each["bbox"], again["bbox"])).max() <= BOX_ERRORS[name]
        if name in WITH_MASKS and "segmentation" in each:
            size = content["height"], content["width"]
            size = (each["segmentation"] if isinstance(each["segmentation"], dict) else {"size": size})["size"]
            rles = [as_run_length(one["segmentation"], *size) for one in (each, again)]
            assert coco_mask.iou(rles[:1], rles[1:], [0])[0, 0] >= 0.99
    return pairs


@pytest.mark.parametrize("name", ["coco", "yolo", "voc", "labelme", "csv"])
def test_boxes_come_back(name, boxes, tmp_path, capsys):
    pairs = there_and_back(boxes, name, tmp_path, ["train", "val"])
    assert len(pairs) == 2 * (1 + 2 + 3)
    flags = [(each["difficult"], again["difficult"]) for each, again in pairs]
    keeps_difficult = name in ("coco", "voc", "labelme")
    assert all(before == after for before, after in flags) == keeps_difficult
    assert ("4 difficult objects are written like others" in capsys.readouterr().out) != keeps_difficult
    assert not [path for path in (tmp_path / name).rglob(".*")], "nothing temporary is left"


@pytest.mark.parametrize("name", WITH_MASKS)
def test_masks_come_back(name, masks, tmp_path):
    pairs = there_and_back(masks, name, tmp_path)
    assert len(pairs) == 5
    for each, again in pairs:
        rles = [as_run_length(one["segmentation"], 48, 64) for one in (each, again)]
        assert rles[0]["counts"] == rles[1]["counts"], "to the pixel"


def test_crowds_stay_where_there_is_a_place_for_them(tmp_path, capsys):
    sample = {"image": image_of(0), "boxes": [[1, 2, 30, 40], [5, 5, 9, 9]], "labels": ["a", "a"], "iscrowd": [1, 0]}
    pack_samples([sample], tmp_path / "set")
    for name in ("coco", "csv"):
        pairs = there_and_back(tmp_path / "set", name, tmp_path / name)
        assert [again["iscrowd"] for _, again in pairs] == [1, 0]
    assert "left out" not in capsys.readouterr().out
    for name in ("yolo", "voc", "labelme"):
        assert len(there_and_back(tmp_path / "set", name, tmp_path / name)) == 1
        assert f"1 crowd is left out: {name} has no place for it." in capsys.readouterr().out


def test_changed_names_are_counted(tmp_path, capsys):
    paths = [tmp_path / "in" / name for name in ("plain.png", "sp ace.png", "new\nline.png", "b/plain.png")]
    (tmp_path / "in" / "b").mkdir(parents=True)
    for number, path in enumerate(paths):
        image_of(number).save(path)
    pack_samples([{"image": path, "boxes": [[1, 2, 30, 40]], "labels": ["a"]} for path in paths], tmp_path / "set")
    unpack(str(tmp_path / "set"), "coco", tmp_path / "coco")
    assert {path.name for path in (tmp_path / "coco" / "images").iterdir()} == {
        *("plain.png", "plain-2.png", "sp_ace.png", "new_line.png")
    }
    assert "3 images got another file name: names have no white space" in capsys.readouterr().out


def test_others_read_the_files(boxes, masks, tmp_path):
    unpack(str(masks), "coco", tmp_path / "coco")
    coco = COCO(tmp_path / "coco" / "annotations.json")
    areas = [int(coco.annToMask(annotation).sum()) for annotation in coco.loadAnns(coco.getAnnIds())]
    assert areas == [round(each["area"]) for _, _, objects in read(masks) for _, each in objects]

    supervision = pytest.importorskip("supervision")
    for name in ("yolo", "voc"):
        unpack(str(boxes), name, tmp_path / name)
    yolo, voc = tmp_path / "yolo", tmp_path / "voc"
    sets = [
        supervision.DetectionDataset.from_yolo(
            str(yolo / "images" / "val"), str(yolo / "labels" / "val"), str(yolo / "data.yaml")
        ),
        supervision.DetectionDataset.from_pascal_voc(str(voc / "JPEGImages"), str(voc / "Annotations")),
    ]
    for dataset, tolerance in zip(sets, (1e-3, 1.5), strict=True):  # supervision takes VOC's numbers as they are
        assert set(dataset.classes) == {"zebra", "cat & dog"}
        largest = max((detections for _, _, detections in dataset), key=len)
        assert np.abs(np.sort(largest.xyxy, axis=0)[-1] - [10, 11, 64, 48]).max() <= tolerance


def test_labelme_files_are_those_of_labelme(masks, tmp_path):
    unpack(str(masks), "labelme", tmp_path / "out")
    content = json.loads((tmp_path / "out" / "000000001.json").read_text())
    assert (tmp_path / "out" / content["imagePath"]).is_file()
    assert (content["imageHeight"], content["imageWidth"], content["imageData"]) == (48, 64, None)
    kinds = [(shape["shape_type"], shape["group_id"], len(shape["points"])) for shape in content["shapes"]]
    assert kinds == [
        ("polygon", None, 3),
        ("polygon", None, 4),
        ("polygon", 3, 3),
        ("polygon", 3, 3),
        ("mask", None, 2),
    ]


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        (
            "yolo",
            "a.jpg: its objects refer to the stored image, not to the displayed one, which this format cannot say",
        ),
        ("masks", "--format masks: image files of masks have no place for classes, and the set has 2"),
    ],
)
def test_what_a_format_cannot_say_is_refused_in_one_line(name, refusal, tmp_path, make_stored):
    with pytest.raises(InputError, match=refusal):
        unpack(str(make_stored), name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def make_stored(tmp_path):
    """A set with an image whose EXIF orientation its annotation ignores, as the size says."""
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[274] = 6
    image_of(0).save(tmp_path / "in" / "a.jpg", exif=exif)
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [50, 2, 10, 10]}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    (tmp_path / "in.json").write_text(json.dumps(content))
    write_shards(coco_source(tmp_path / "in", tmp_path / "in.json"), tmp_path / "stored")
    return tmp_path / "stored"


@pytest.mark.parametrize("name", ["coco", "voc", "labelme", "csv"])
def test_boxes_on_the_stored_image_stay_there(name, make_stored, tmp_path):
    there_and_back(make_stored, name, tmp_path)
    (_, content, _) = read(tmp_path / "back")[0]
    assert content["apply_exif"] is False


def test_unpack_takes_an_empty_folder_only_and_names_a_damaged_sample(boxes, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(InputError, match="exists and is not an empty folder; choose another folder"):
        unpack(str(boxes), "coco", tmp_path / "out")
    for file in (boxes / "val").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    data = bytearray((tmp_path / "shard-000000.tar").read_bytes())
    data[600] ^= 255
    data[:100] = b"x" * 100
    (tmp_path / "shard-000000.tar").write_bytes(data)
    with pytest.raises(InputError, match=r"shard-000000.tar, key 000000000: .*; nothing was written"):
        unpack(str(tmp_path), "coco", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.realdata
@pytest.mark.skipif(not REALDATA.is_dir(), reason=f"no real data sets in {REALDATA}")
@pytest.mark.parametrize("name", BOX_ERRORS)
@pytest.mark.parametrize("data", ["bccd", "nuclei"])
def test_real_data_come_back(data, name, tmp_path):
    if data == "bccd":
        source = voc_source(REALDATA / "bccd" / "BCCD", "val")
        source.items[:] = source.items[::4]
    else:
        source = coco_source(REALDATA / "nuclei" / "images", REALDATA / "nuclei" / "instances_val.json")
        source.items[:] = source.items[::16]
    write_shards(source, tmp_path / data, max_loss=1)
    if (data, name) == ("bccd", "masks"):
        with pytest.raises(InputError, match="no place for classes"):
            unpack(str(tmp_path / data), name, tmp_path / name)
        return
    assert len(there_and_back(tmp_path / data, name, tmp_path)) > 150
