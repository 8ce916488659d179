"""Parquet as `push_to_hub` of Hugging Face's `datasets` writes it: an image and its objects a row."""

import json
import pickle
import random

import pyarrow as pa
import pytest
from pyarrow import parquet

from lightning_rcnn import errors
from lightning_rcnn.cli import main
from lightning_rcnn.data.formats import parquet_rows, recognition
from lightning_rcnn.data.pack.any_format import find_data, read_data
from lightning_rcnn.errors import InputError
from tests.data.formats.conftest import image_bytes
from tests.data.formats.test_json_lines import README

CAT, DOG = ("cat", 30, 20, 40, 40), ("dog", 10, 10, 30, 40)
XYWH = {"cat": [30.0, 20.0, 10.0, 20.0], "dog": [10.0, 10.0, 20.0, 30.0]}
XYXY = {"cat": [30.0, 20.0, 40.0, 40.0], "dog": [10.0, 10.0, 30.0, 40.0]}
NAMES = ["cat", "dog"]
CLASS_LABEL = {"names": NAMES, "_type": "ClassLabel"}
BOX = {"feature": {"dtype": "float32", "_type": "Value"}, "length": 4, "_type": "Sequence"}
FEATURES = {
    "image": {"_type": "Image"},
    "objects": {"feature": {"bbox": BOX, "category": CLASS_LABEL}, "_type": "Sequence"},
}
"""As of cppe-5, older than `List`."""
NEWER = {
    "image": {"_type": "Image"},
    "objects": {"bbox": {"feature": BOX, "_type": "List"}, "category": {"feature": CLASS_LABEL, "_type": "List"}},
}
IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
LISTS = pa.struct({"bbox": pa.list_(pa.list_(pa.float32(), 4)), "category": pa.list_(pa.int64())})
STRUCTS = pa.list_(pa.struct({"bbox": pa.list_(pa.float32()), "category": pa.int64()}))


def row(*classes, name="a.jpg", form=XYWH, **more):
    boxes, numbers = [form[each] for each in classes], [NAMES.index(each) for each in classes]
    return {
        "image": {"bytes": image_bytes(), "path": name},
        "objects": {"bbox": boxes, "category": numbers},
        **more,
    }


def write(root, rows, objects=LISTS, features=FEATURES, group=100, name="data/train-00000-of-00001.parquet", **more):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema({"image": IMAGE, "objects": objects, **more})
    if features is not None:
        schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=group)
    return root


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("features", [FEATURES, NEWER], ids=["Sequence", "List"])
def test_splits_with_the_names_of_the_schema(root, pack, features):
    write(root, [row("cat", "dog"), row(name="b.jpg"), row("dog", name="c.jpg")], features=features, group=2)
    write(root, [row("dog", name="a.jpg")], features=features, name="data/validation-00000-of-00001.parquet")
    packed = pack(root, strict=True)
    assert packed.title == (
        "found Parquet (data/train-00000-of-00001.parquet, data/validation-00000-of-00001.parquet, "
        "2 splits: train 3, val 1); boxes in objects.bbox as xywh"
    )
    assert packed.splits["train"].objects == {"a.jpg": [CAT, DOG], "b.jpg": [], "c.jpg": [DOG]}
    assert packed.splits["train"].report == {"empty_image": 1}
    assert packed.splits["val"].objects == {"a.jpg": [DOG]}
    assert packed.splits["val"].classes == NAMES


def test_a_list_with_a_dictionary_an_object_and_names_in_the_readme(root, pack_one):
    (root / "README.md").write_text(README.replace("categories", "category"))
    rows = [row("cat", "dog")]
    listed = rows[0]["objects"]
    rows[0]["objects"] = [dict(zip(listed, each, strict=True)) for each in zip(*listed.values(), strict=True)]
    write(root, rows, STRUCTS, None, name="0000.parquet")
    assert pack_one(root, strict=True).objects == {"a.jpg": [CAT, DOG]}


def test_corners_where_nothing_else_fits(root, pack):
    packed = pack(write(root, [row("cat", "dog", form=XYXY)]))
    assert packed.title.endswith("; boxes in objects.bbox as xyxy")
    assert packed.splits["train"].objects == {"a.jpg": [CAT, DOG]}


def test_boxes_that_may_be_both_are_refused_unless_their_areas_or_an_option_tell(root, pack, refusal, capsys, tmp_path):
    """[10, 10, 20, 30] lies in an image of 64 x 48 as two corners, and as a corner and a size."""
    write(root, [row("dog")])
    words = "objects.bbox: its boxes may be xyxy or xywh; say which with --boxes xyxy, --boxes xywh"
    assert words in refusal(root)
    out = tmp_path / "packed"
    assert main(["pack", "parquet", str(root), "--boxes", "xyxy", "--out", str(out)]) == 0
    assert "boxes in objects.bbox as xyxy" in capsys.readouterr().out
    for form, area in (("xywh", 20 * 30), ("xyxy", 10 * 20)):
        rows = [row("dog")]
        rows[0]["objects"]["area"] = [area]
        write(root, rows, pa.struct([*LISTS, pa.field("area", pa.list_(pa.int64()))]))
        assert f"as {form}" in pack(root).title


def test_polygons_beside_the_boxes(root, pack_one):
    """Masks are checked in processes, to which the rows travel."""
    rows = [row("cat", "dog")]
    rows[0]["objects"]["segmentation"] = [[[30.0, 20, 40, 20, 40, 40, 30, 40]], [[10.0, 10, 30, 10, 30, 40]]]
    polygons = pa.list_(pa.list_(pa.list_(pa.float64())))
    write(root, rows, pa.struct([*LISTS, pa.field("segmentation", polygons)]), name="x.parquet")
    packed = pack_one(root, strict=True)
    assert packed.has_masks
    assert packed.objects == {"a.jpg": [CAT, DOG]}
    source = find_data(root).sources[""]
    assert source.needs_python
    assert source.read(pickle.loads(pickle.dumps(source.items[0]))).sample.record == packed.records["a.jpg"]


def test_shares_of_the_size(root, pack):
    """YOLO's, with the center of a large object."""
    rows = [row("cat", "dog", form={"cat": [0.5, 0.5, 0.9, 0.9], "dog": [0.5, 0.75, 0.25, 0.5]})]
    packed = pack(write(root, rows))
    assert packed.title.endswith("as cxcywh, shares of the size")
    assert packed.splits["train"].objects["a.jpg"][1] == ("dog", 24, 24, 40, 48)


def test_names_that_occur_twice_become_numbers(root, pack_one):
    """As of images that were all called image.jpg; a file of the name of a row is another image."""
    (root / "000001.jpg").write_bytes(image_bytes(size=(8, 8)))
    write(root, [row("cat", "dog"), row("dog")], name="x.parquet")
    assert pack_one(root).objects == {"000000.jpg": [CAT, DOG], "000001.jpg": [DOG]}
    rows = [row("cat", "dog"), row("dog", name=None)]
    assert list(pack_one(write(root, rows, name="x.parquet")).objects) == ["000000.jpg", "000001"]


def test_images_in_files_beside_the_table(root, pack_one):
    rows = [row("cat", "dog", name="images/a.jpg")]
    rows[0]["image"]["bytes"] = None
    (root / "images").mkdir()
    (root / "images/a.jpg").write_bytes(image_bytes())
    assert pack_one(write(root, rows, name="x.parquet"), strict=True).objects == {"images/a.jpg": [CAT, DOG]}


def test_a_folder_of_images_with_their_names_in_metadata_parquet(write_files, pack):
    """As `imagefolder` of Hugging Face reads it, beside metadata.csv and metadata.jsonl."""
    root = write_files({}, ["train/a.jpg", "train/b.jpg"])
    table = pa.table({"file_name": ["a.jpg"], "objects": pa.array([row("cat", "dog")["objects"]], LISTS)})
    parquet.write_table(table, root / "train/metadata.parquet")
    packed = pack(root, read_data("parquet", root)).splits["train"]
    assert packed.objects == {"train/a.jpg": [("0", *CAT[1:]), ("1", *DOG[1:])]}
    assert packed.report == {"unlisted_file": 1}


def test_bytes_without_a_struct_and_a_row_an_object(root, pack):
    """As converters write them that know no `datasets`; such images would each lack an object."""
    columns = {"image_id": [7, 7], "image": [image_bytes()] * 2, "bbox": [XYWH["cat"], XYWH["dog"]]}
    parquet.write_table(pa.table({**columns, "label": NAMES}), root / "x.parquet")
    packed = pack(root)
    assert packed.title.endswith("; 2 rows with the image_id of another one, each an image of its own")
    assert packed.splits[""].objects == {"000000": [CAT], "000001": [DOG]}


def test_bad_rows_are_counted(root, pack):
    """A class beyond the names, a box of three numbers, lists of two lengths, no image, half an image."""
    rows = [row("cat", "dog", name=f"{number}.jpg") for number in range(6)]
    rows[0]["objects"]["category"] = [0, 2]
    rows[1]["objects"]["bbox"][1] = [1.0, 2.0, 3.0]
    rows[2]["objects"]["category"] = [0]
    rows[3]["image"]["bytes"] = None
    rows[4]["image"]["bytes"] = image_bytes()[:-40]
    objects = pa.struct([pa.field("bbox", pa.list_(pa.list_(pa.float32()))), LISTS.field("category")])
    packed = pack(write(root, rows, objects))
    assert packed.splits["train"].objects == {"0.jpg": [CAT], "1.jpg": [CAT], "5.jpg": [CAT, DOG]}
    report = {"unknown_class": 1, "missing_box": 1, "malformed_labels": 1, "unreadable_image": 1, "truncated_image": 1}
    assert packed.splits["train"].report == report


def test_numbers_without_names(root, pack):
    packed = pack(write(root, [row("cat", "dog")], features={}))
    assert "its classes are numbers: --class_names 0=cat,1=dog of `pack parquet` names them" in packed.title
    assert packed.splits["train"].classes == ["0", "1"]


def test_what_is_left_out_is_said(root, pack):
    write(root, [row("cat", "dog", depth=b"x")], depth=pa.binary())
    parquet.write_table(pa.table({"text": ["a"]}), root / "captions.parquet")
    parquet.write_table(pa.table({"path": ["a.jpg"], "size": [3]}), root / "files.parquet")
    title = pack(root).title
    assert "no tables of images and boxes, left out: captions.parquet, files.parquet" in title
    assert "columns of bytes, left out: depth" in title


def test_fields_are_given(root, tmp_path, capsys, read_set, refusal):
    table = pa.table(
        {
            "front": pa.array([{"bytes": image_bytes(), "path": "a.jpg"}], IMAGE),
            "rear": pa.array([{"bytes": image_bytes(), "path": "b.jpg"}], IMAGE),
            "place": [[XYWH["cat"], XYWH["dog"]]],
            "kind": [["cat", "dog"]],
        }
    )
    parquet.write_table(table, root / "x.parquet")
    assert "x.parquet: front and rear may be the images; choose with --map image=front" in refusal(root)
    options = ["--map", "image=rear,boxes=place,labels=kind", "--out", str(tmp_path / "packed")]
    assert main(["pack", "parquet", str(root), *options]) == 0
    assert read_set(tmp_path / "packed").objects == {"b.jpg": [CAT, DOG]}
    assert main(["pack", "parquet", str(root), "--map", "image=kind", "--out", str(tmp_path / "no")]) == 1
    assert "--map image=kind: no column of images; they are front, rear" in capsys.readouterr().err


def test_sets_that_cannot_be_packed_are_refused_in_one_line(root, refusal, monkeypatch):
    write(root, [row("cat", "dog")])
    write(root, [row("cat", "dog")], name="mini/train-00000-of-00001.parquet")
    assert "Parquet files in data and mini may be several versions of one set; give the folder of one" in refusal(root)
    other = json.loads(json.dumps(FEATURES).replace('"cat", "dog"', '"dog", "cat"'))
    write(root, [row("cat", "dog")], features=other, name="mini/train-00000-of-00001.parquet")
    (root / "mini/train-00000-of-00001.parquet").rename(root / "data/test-00000-of-00001.parquet")
    assert "train-00000-of-00001.parquet: has other classes than data/test" in refusal(root)
    path = root / "data/test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert f"{path}: cannot be read as Parquet (" in refusal(root)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n")
    assert f"{path}: only stands for a file in Git LFS; fetch it with `git lfs pull`" in refusal(root)
    parquet.write_table(pa.table({"text": ["a"]}), path)
    (root / "data/train-00000-of-00001.parquet").unlink()
    assert "no Parquet file with a column of images" in refusal(root)


def test_without_pyarrow_it_is_named(root, refusal, monkeypatch):
    write(root, [row("cat", "dog")])
    for module in (recognition, errors):
        monkeypatch.setattr(module, "find_spec", lambda _: None)
    words = "the package pyarrow is missing; install it with pip install 'lightning-rcnn[parquet]'"
    assert words in refusal(root)


def test_memory_is_that_of_some_row_groups(root):
    rows = [row("cat", name=f"{number}.jpg") for number in range(40)]
    write(root, rows, group=2)
    table = parquet_rows.open_table(root / "data/train-00000-of-00001.parquet")
    assert table.group_sizes == (2,) * 20
    parquet_rows._row_group.cache_clear()
    names = [parquet_rows.read_row(each, ("image.path",))["image"]["path"] for each in table.rows()]
    assert names == [f"{number}.jpg" for number in range(40)]
    info = parquet_rows._row_group.cache_info()
    assert (info.misses, info.currsize) == (20, 4)


def test_a_damaged_row_group_costs_its_images(root, pack):
    write(root, [row("cat", "dog", name=f"{number}.jpg") for number in range(4)], group=2, name="x.parquet")
    path = root / "x.parquet"
    data = bytearray(path.read_bytes())
    with parquet.ParquetFile(path) as file:
        start = file.metadata.row_group(1).column(0).data_page_offset
    data[start : start + 8] = b"\xff" * 8
    path.write_bytes(data)
    packed = pack(root, read_data("parquet", root)).splits[""]
    assert packed.objects == {"0.jpg": [CAT, DOG], "1.jpg": [CAT, DOG]}
    assert packed.report == {"unreadable_image": 2}


def test_damaged_files_are_packed_or_refused_in_one_line(root, pack):
    write(root, [row("cat", "dog", name=f"{number}.jpg") for number in range(3)], group=2, name="x.parquet")
    path = root / "x.parquet"
    sound = path.read_bytes()
    rng = random.Random(0)
    lines = []
    for seed in range(60):
        data = bytearray(sound)
        for _ in range(rng.randint(1, 8)):  # in the images, or in the description at the end
            data[rng.randrange(4 if seed % 2 else len(data) - 3000, len(data))] = rng.randrange(256)
        path.write_bytes(data)
        parquet_rows._row_group.cache_clear()
        try:
            pack(root)
        except InputError as error:
            lines.append(str(error))
    assert lines
    assert not any("\n" in line for line in lines)
