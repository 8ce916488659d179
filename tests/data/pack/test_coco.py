import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from lightning_rcnn.data.defects import Action, Defect
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.errors import InputError

IMAGE = {"id": 7, "file_name": "a.jpg", "width": 64, "height": 48}
TRIANGLE = [[2.0, 3.0, 11.0, 3.0, 11.0, 21.0]]


def annotation(number=1, **changes):
    return {"id": number, "image_id": 7, "category_id": 1, "bbox": [1, 2, 10, 20], "iscrowd": 0} | changes


SKIPPED = annotation(9, bbox=[1, 2, 0, 0])
"""Single, but without an area."""


@pytest.fixture
def pack_coco(make_coco, read_packed, encode_image, tmp_path):
    """Pack annotations of the image a.jpg; returns the index and the packed annotations of all images."""

    def pack(annotations, images=(IMAGE,), **options):
        files = {entry["file_name"]: encode_image() for entry in images if entry.get("file_name")}
        source = coco_source(*make_coco(files, images, annotations, **options))
        write_shards(source, tmp_path / "out", max_loss=1)
        index, samples = read_packed(tmp_path / "out")
        return index, [packed for sample in samples for packed in sample.record["annotations"]]

    return pack


def test_sound_set(pack_coco):
    index, (packed,) = pack_coco([annotation(area=123.5, segmentation=TRIANGLE)])
    assert index.name == "instances"
    assert index.report == {}
    assert index.has_masks
    assert index.shards[0].image_ids == [7]
    assert packed == {
        "id": 1,
        "bbox": [1, 2, 11, 22],
        "label": 1,
        "iscrowd": 0,
        "difficult": 0,
        "area": 123.5,
        "segmentation": TRIANGLE,
    }


@pytest.mark.parametrize("stated", [{}, {"area": None}, {"area": -1}, {"area": float("nan")}])
def test_an_area_that_is_not_stated_is_that_of_the_mask_or_else_of_the_box(pack_coco, stated):
    triangle = annotation(1, segmentation=TRIANGLE, **stated)
    _, packed = pack_coco([triangle, annotation(2, **stated), annotation(3, area=0, segmentation=TRIANGLE)])
    pixels = coco_mask.decode(coco_mask.frPyObjects(TRIANGLE, 48, 64)).sum()
    assert [each["area"] for each in packed] == [pixels, 10 * 20, 0]
    assert pixels < 10 * 20


def test_gaps_in_category_ids_become_labels_in_the_order_of_the_ids(pack_coco):
    categories = [{"id": 90, "name": "toothbrush"}, {"id": 3, "name": "car"}, {"id": 44, "name": "bottle"}]
    index, packed = pack_coco(
        [annotation(1, category_id=90), annotation(2, category_id=3), annotation(3, category_id=44)],
        categories=categories,
    )
    assert [(category.label, category.name, category.id) for category in index.categories] == [
        (1, "car", 3),
        (2, "bottle", 44),
        (3, "toothbrush", 90),
    ]
    assert [each["label"] for each in packed] == [3, 1, 2]
    assert index.report == {"category_ids": 1}


@pytest.mark.parametrize(
    ("bbox", "kept", "defect"),
    [
        ([5, 5, 0, 10], None, "zero_area_box"),
        ([5, 5, 10, 0], None, "zero_area_box"),
        ([5, 5, -3, 10], None, "inverted_box"),
        ([float("nan"), 5, 3, 10], None, "non_finite_box"),
        ([5, 5, float("inf"), 10], None, "non_finite_box"),
        (None, None, "missing_box"),
        ([], None, "missing_box"),
        ([1, 2, 3], None, "missing_box"),
        ([1, 2, 3, "four"], None, "missing_box"),
        ([1, 2, 3, True], None, "missing_box"),
        ([1, 2, 3, 10**400], None, "non_finite_box"),
        ([0, 0, 0, 0], None, "missing_box"),
        ([64, 5, 10, 10], None, "box_outside"),
        ([60, 40, 10, 10], [60, 40, 64, 48], "box_partly_outside"),
    ],
)
def test_bad_boxes(pack_coco, bbox, kept, defect):
    index, packed = pack_coco([annotation(1, bbox=bbox), annotation(2)])
    assert [each["bbox"] for each in packed] == ([kept] if kept else []) + [[1, 2, 11, 22]]
    assert index.report == {defect: 1}


@given(st.integers(0, 63), st.integers(0, 47), st.data())
def test_box_of_a_mask_holds_it_exactly(make_source, x, y, data):
    width, height = data.draw(st.integers(1, 64 - x)), data.draw(st.integers(1, 48 - y))
    mask = np.zeros((48, 64), dtype=np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    bbox = coco_mask.toBbox(coco_mask.encode(mask)).tolist()
    assert make_source(bbox).items[0].objects[0].edges == (x, y, x + width, y + height)


@pytest.fixture(scope="module")
def make_source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    (folder / "a.jpg").touch()

    def make(bbox):
        content = {"images": [IMAGE], "annotations": [annotation(bbox=bbox)], "categories": [{"id": 1, "name": "a"}]}
        (folder / "a.json").write_text(json.dumps(content))
        return coco_source(folder, folder / "a.json")

    return make


def test_crowds_stay_and_need_no_mask(pack_coco):
    rle = {"size": [48, 64], "counts": [100, 500, 48 * 64 - 600]}
    crowd = annotation(2, iscrowd=1, bbox=[2, 0, 11, 48], segmentation=rle)
    index, packed = pack_coco([annotation(1, segmentation=TRIANGLE), crowd, annotation(3, iscrowd=1)])
    assert [each["iscrowd"] for each in packed] == [0, 1, 1]
    assert coco_mask.area({**packed[1]["segmentation"], "counts": packed[1]["segmentation"]["counts"].encode()}) == 500
    assert index.has_masks
    assert index.report == {"crowd": 2}


def test_nothing_but_crowds_is_refused_with_the_way_out(pack_coco):
    crowds = [annotation(number, iscrowd=1, segmentation=TRIANGLE) for number in (1, 2)]
    with pytest.raises(InputError, match=r"all 2 objects have iscrowd 1.*CVAT.*jq '.annotations\[\].iscrowd = 0'"):
        pack_coco(crowds)
    with pytest.raises(InputError, match="json: its only object has iscrowd 1, so a model cannot"):
        pack_coco(crowds[:1])


def test_objects_without_mask_in_a_set_with_masks_are_counted(pack_coco):
    index, packed = pack_coco(
        [annotation(1, segmentation=TRIANGLE), annotation(2), annotation(3), annotation(4, iscrowd=1)]
    )
    assert index.has_masks
    assert ["segmentation" in each for each in packed] == [True, False, False, False]
    assert index.report == {"crowd": 1, "missing_mask": 2}


@pytest.mark.parametrize(
    ("objects", "has_masks"),
    [
        ([], True),
        ([SKIPPED, annotation(1, iscrowd=1)], False),
        ([SKIPPED, annotation(1, iscrowd=1, segmentation=TRIANGLE)], True),
        ([annotation(1, iscrowd=1, segmentation=TRIANGLE), annotation(2)], False),
        ([annotation(1, iscrowd=1), annotation(2, segmentation=TRIANGLE)], True),
    ],
)
def test_crowds_decide_on_masks_only_among_themselves(pack_coco, objects, has_masks):
    index, _ = pack_coco(objects)
    assert index.has_masks == has_masks
    assert "missing_mask" not in index.report


def test_set_of_boxes_has_no_masks_and_misses_none(pack_coco):
    index, _ = pack_coco([annotation(1), annotation(2)])
    assert not index.has_masks
    assert index.report == {}


@pytest.mark.parametrize(
    ("segmentation", "defect"),
    [
        ([[1.0, 1.0, 2.0, 2.0]], "bad_polygon"),
        ([[-30.0, 1.0, -20.0, 1.0, -20.0, 20.0]], "polygon_outside"),
        ([[3.0, 3.0, 8.0, 3.1, 8.0, 3.0]], "empty_mask"),
        ({"size": [64, 48], "counts": [100, 64 * 48 - 100]}, "mask_size_mismatch"),
        ({"size": [48, 64], "counts": "!!"}, "bad_mask"),
        ({"size": [48, 64], "counts": [2000, 5, 48 * 64 - 2005]}, "mask_outside_box"),
    ],
)
def test_object_with_a_bad_mask_stays_without_it(pack_coco, segmentation, defect):
    index, packed = pack_coco([annotation(1, segmentation=segmentation), annotation(2, segmentation=TRIANGLE)])
    assert [each["bbox"] for each in packed] == [[1, 2, 11, 22]] * 2
    assert "segmentation" not in packed[0]
    assert index.report == {defect: 1, "missing_mask": 1}
    assert Defect[defect.upper()].action is Action.SKIPPED
    assert index.has_masks


def test_duplicate_ids(pack_coco):
    images = [IMAGE, IMAGE, IMAGE | {"id": 8}, IMAGE | {"id": 9, "file_name": "b.jpg"}]
    annotations = [
        annotation(1),
        annotation(1),
        annotation(1, bbox=[0, 0, 5, 5]),
        annotation(5, image_id=8),
        {"image_id": 9, "category_id": 1, "bbox": [0, 0, 6, 6]},
    ]
    index, packed = pack_coco(annotations, images)
    assert index.shards[0].image_ids == [7, 8, 9]
    assert [(each["id"], each["bbox"]) for each in packed] == [
        (1, [1, 2, 11, 22]),
        (6, [0, 0, 5, 5]),
        (5, [1, 2, 11, 22]),
        (7, [0, 0, 6, 6]),
    ]
    assert index.report == {
        "duplicate_image": 1,
        "duplicate_file_name": 1,
        "duplicate_annotation": 1,
        "annotation_id": 2,
    }


def test_annotations_of_unknown_images_and_classes_are_skipped(pack_coco):
    annotations = [
        annotation(1, image_id=99),
        annotation(2, image_id=None),
        annotation(3, category_id=2),
        annotation(4),
    ]
    index, packed = pack_coco(annotations)
    assert [each["id"] for each in packed] == [4]
    assert index.report == {"unknown_class": 1, "unknown_image": 2}


def test_images_without_file_files_without_entry_and_empty_images(make_coco, read_packed, encode_image, tmp_path):
    images = [IMAGE, IMAGE | {"id": 8, "file_name": "gone.jpg"}, IMAGE | {"id": 9, "file_name": "deep/er/b.jpg"}]
    files = {"a.jpg": encode_image(), "deep/er/b.jpg": encode_image(), "deep/stray.png": b"?", "notes.txt": b"?"}
    write_shards(coco_source(*make_coco(files, images, [annotation()])), tmp_path / "out", max_loss=1)
    index, samples = read_packed(tmp_path / "out")
    assert [sample.record["file_name"] for sample in samples] == ["a.jpg", "deep/er/b.jpg"]
    assert index.report == {"missing_image": 1, "unlisted_file": 1, "empty_image": 1}


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "", "file_name": "a.jpg"},
        {"id": True, "file_name": "a.jpg"},
        {"id": 1.5, "file_name": "a.jpg"},
        {"id": 3},
        {"file_name": "a.jpg"},
    ],
)
def test_image_entry_without_id_or_name_is_skipped(pack_coco, entry):
    index, _ = pack_coco([annotation()], [entry, IMAGE])
    assert index.report == {"invalid_image_entry": 1}


def test_category_names_are_made_unique(pack_coco):
    index, _ = pack_coco([annotation()], categories=[{"id": 1, "name": "cell"}, {"id": 2, "name": "cell"}])
    assert [category.name for category in index.categories] == ["cell", "cell (2)"]
    assert index.report == {"duplicate_category_name": 1}


@pytest.mark.parametrize(
    ("categories", "reason"),
    [
        ([], "empty"),
        ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "category id 1 is both 'a' and 'b'"),
        ([{"id": "1", "name": "a"}, {"id": 1.0, "name": "b"}], "category id 1 is both 'a' and 'b'"),
        ([{"id": True, "name": "a"}], "a number or text as id"),
        ([{"id": 1}], "a number or text as id, and a name"),
    ],
)
def test_contradictory_categories_refuse_the_set(make_coco, encode_image, categories, reason):
    with pytest.raises(InputError, match=reason):
        coco_source(*make_coco({"a.jpg": encode_image()}, [IMAGE], [annotation()], categories))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"images": [', "malformed JSON"),
        ("", r"malformed JSON \(the file is empty\)"),
        ("[]", "'images'"),
        ('{"images": [], "annotations": {}}', "'annotations'"),
        ('{"images": [], "annotations": [4], "categories": []}', "'annotations'"),
        ('{"images": [], "annotations": []}', "'categories'; add the classes"),
    ],
)
def test_json_that_is_not_coco_is_refused_in_one_line(tmp_path, text, reason):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        coco_source(tmp_path, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_paths_are_named(tmp_path):
    with pytest.raises(InputError, match=r"x\.json: no such file"):
        coco_source(tmp_path, tmp_path / "x.json")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        coco_source(tmp_path / "nowhere", tmp_path / "x.json")


@pytest.mark.parametrize("form", ["polygon", "rle", "runs"])
def test_masks_annotated_at_another_size_are_scaled(pack_coco, form):
    polygon = [20.0, 8.0, 60.0, 8.0, 60.0, 40.0, 20.0, 40.0]
    mask = np.zeros((96, 128), dtype=np.uint8, order="F")
    mask[8:40, 20:60] = 1
    rle = coco_mask.encode(mask) | {"size": [96, 128]}
    runs = np.diff(np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=0)), prepend=0, append=mask.size)
    runs = [int(run) for run in runs]
    runs[-1] = mask.size - sum(runs[:-1])
    segmentation = {
        "polygon": [polygon],
        "rle": rle | {"counts": rle["counts"].decode()},
        "runs": {"size": [96, 128], "counts": runs},
    }[form]
    large = annotation(bbox=[20, 8, 40, 32], area=1280, segmentation=segmentation)
    index, (packed,) = pack_coco([large], [IMAGE | {"width": 128, "height": 96}])
    assert index.report == {"size_scaled": 1}
    assert (packed["bbox"], packed["area"]) == ([10, 4, 30, 20], 320)
    if form == "polygon":
        assert packed["segmentation"] == [[value / 2 for value in polygon]]
    else:
        pixels = np.zeros((48, 64), dtype=np.uint8)
        pixels[4:20, 10:30] = 1
        assert np.array_equal(coco_mask.decode(packed["segmentation"]), pixels)


def test_mask_that_cannot_be_scaled_is_left_out(pack_coco):
    broken = annotation(bbox=[20, 8, 40, 32], segmentation={"size": [96, 128], "counts": "??"})
    index, (packed,) = pack_coco([broken], [IMAGE | {"width": 128, "height": 96}])
    assert index.report["bad_mask"] == 1
    assert packed["bbox"] == [10, 4, 30, 20]
