import json

import pytest

from lightning_rcnn.data.formats.coco.annotations import in_pixels, read_annotations
from lightning_rcnn.errors import InputError

BOX = [24, 16, 24, 16]
SQUARE = [[24.0, 16.0, 48.0, 16.0, 48.0, 32.0, 24.0, 32.0]]


@pytest.fixture
def read(tmp_path):
    """Read objects of the image 1, of 96 x 64 pixels; keys of the file may be replaced."""

    def read(objects, classes=None, **keys):
        content = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": 96, "height": 64}],
            "annotations": [{"id": n, "image_id": 1, "category_id": 1} | entry for n, entry in enumerate(objects, 1)],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        }
        path = tmp_path / "x.json"
        path.write_text(json.dumps(content | keys))
        return read_annotations(path, classes)

    return read


def in_image(coco, size=(96, 64)):
    return [in_pixels(annotated, size) for annotated in coco.objects[1]]


@pytest.mark.parametrize("bbox", [BOX, list(map(str, BOX)), str(BOX), "24, 16, 24, 16", "24 16 24 16"])
def test_ways_to_write_a_box(read, bbox):
    coco = read([{"bbox": bbox}])
    assert coco.objects[1][0].box == (24, 16, 24, 16)
    assert coco.log.report() == {}


@pytest.mark.parametrize("nothing", [{}, {"bbox": None}, {"bbox": []}, {"bbox": [0, 0, 0, 0]}, {"bbox": "none"}])
def test_a_mask_stands_for_a_box_that_is_missing(read, nothing):
    coco = read([{"segmentation": SQUARE} | nothing, nothing])
    assert [annotated.box for annotated in coco.objects[1]] == [(24, 16, 24, 16), None]
    assert coco.log.report() == {"box_from_mask": 1}


def test_shares_of_the_image_become_pixels_with_their_polygons(read):
    share = [[0.25, 0.25, 0.5, 0.25, 0.5, 0.5, 0.25, 0.5]]
    boxes = [{"bbox": [0.25, 0.25, 0.25, 0.25], "area": 0.0625, "segmentation": share}, {"segmentation": share}]
    coco = read([*boxes, {"bbox": [0, 0, 1, 1]}, {"bbox": [0.9, 0.5, 0.2, 0.5]}])
    first, second, whole, beyond = in_image(coco)
    assert (first.box, first.area, first.segmentation) == ((24, 16, 24, 16), 384, SQUARE)
    assert second.box == first.box
    assert whole.box == (0, 0, 96, 64)
    assert beyond.box == pytest.approx((86.4, 32, 19.2, 32))
    assert coco.log.report() == {"relative_coordinates": 4, "box_from_mask": 1}


def test_a_share_of_the_image_is_rotated_in_pixels(read):
    """By 90 degrees, 80 x 20 pixels around (200, 50) become 20 x 80."""
    turned = {"bbox": [0.4, 0.4, 0.2, 0.2], "attributes": {"rotation": 90.0}}
    (annotated,) = in_image(read([turned]), (400, 100))
    assert annotated.box == pytest.approx((190, 10, 20, 80))
    assert in_pixels(annotated, (400, 100)) == annotated


@pytest.mark.parametrize(
    "boxes",
    [
        [[0.2, 0.3, 0.5, 0.4], [0.5, 0.5, 1.1, 0.5]],
        [[0, 0, 1, 1], [1, 0, 0, 1]],
        [[0.5, 0.5, 0.25, 0.25], BOX],
        [[float("nan")] * 4],
    ],
    ids=["one reaches further", "whole numbers", "one in pixels", "no number"],
)
def test_small_boxes_alone_are_in_pixels(read, boxes):
    coco = read([{"bbox": bbox, "segmentation": SQUARE} for bbox in boxes])
    assert not coco.is_relative
    assert str([annotated.box for annotated in in_image(coco)]) == str([tuple(map(float, bbox)) for bbox in boxes])


def test_boxes_and_polygons_may_be_in_different_units(read):
    (annotated,) = in_image(read([{"bbox": [0.25, 0.25, 0.25, 0.25], "segmentation": SQUARE}]))
    assert (annotated.box, annotated.segmentation) == ((24, 16, 24, 16), SQUARE)


def test_ids_as_text_and_as_floats(read):
    images = [{"id": name, "file_name": f"{name}.jpg", "width": "96", "height": 64.0} for name in ("b", "0", "a")]
    coco = read([{"image_id": "a", "bbox": BOX}, {"image_id": 0.0, "bbox": BOX, "category_id": "2"}], images=images)
    assert list(coco.images) == [1, 0, 2]
    assert {key: image.size for key, image in coco.images.items()} == dict.fromkeys((1, 0, 2), (96, 64))
    assert [(key, each.label) for key, objects in coco.objects.items() for each in objects] == [(0, 2), (2, 1)]
    assert coco.log.report() == {"text_ids": 1}


@pytest.mark.parametrize("size", [{}, {"width": 96}, {"width": 0, "height": 0}, {"width": 96, "height": 10**30}])
def test_invalid_sizes_are_refused(read, size):
    assert read([], images=[{"id": 1, "file_name": "a.jpg"} | size]).images[1].size == (0, 0)


def test_category_ids_as_text_are_numbered(read):
    categories = [{"id": "dog", "name": "dog"}, {"id": "cat", "name": "cat"}]
    coco = read([{"category_id": "cat", "bbox": BOX}], categories=categories)
    assert [(each.label, each.name, each.id) for each in coco.classes.categories] == [(1, "dog", 1), (2, "cat", 2)]
    assert coco.objects[1][0].label == 2


def test_difficult_and_crowd_in_any_spelling(read):
    entries = [{"iscrowd": None}, {"iscrowd": "1"}, {"iscrowd": True}, {"ignore": 1}, {"difficult": "1"}, {}]
    objects = read([{"bbox": BOX} | entry for entry in entries]).objects[1]
    assert [each.iscrowd for each in objects] == [0, 1, 1, 0, 0, 0]
    assert [each.difficult for each in objects] == [0, 0, 0, 1, 1, 0]


def test_lvis_names_files_by_their_address(read):
    images = [{"id": 1, "coco_url": "http://images.cocodataset.org/train2017/a%20b.jpg", "width": 96, "height": 64}]
    coco = read([], images=images)
    assert coco.images[1].file_name == "a b.jpg"
    assert coco.log.report() == {"name_from_url": 1}


GROUP = {"id": 0, "name": "animals", "supercategory": "none"}
PARTS = [{"id": 1, "name": "cat", "supercategory": "animals"}, {"id": 2, "name": "dog", "supercategory": "animals"}]


@pytest.mark.parametrize(
    ("categories", "objects", "names"),
    [
        ([GROUP, *PARTS], [], ["cat", "dog"]),
        ([GROUP, *PARTS], [{"category_id": 0}], ["animals", "cat", "dog"]),
        ([GROUP, PARTS[0], PARTS[1] | {"supercategory": "pets"}], [], ["animals", "cat", "dog"]),
        ([GROUP | {"name": "cat"}, PARTS[0] | {"supercategory": "cat"}], [], ["cat"]),
        ([GROUP | {"name": "cat"}, PARTS[0] | {"supercategory": "none"}], [], ["cat"]),
        ([{"id": 1, "name": "person", "supercategory": "person"}], [], ["person"]),
        ([{"id": n, "name": name, "supercategory": "person"} for n, name in enumerate(("person", "rider"))], [], 2),
        ([GROUP], [], ["animals"]),
    ],
)
def test_a_category_that_only_groups_others_is_no_class(read, categories, objects, names):
    coco = read([{"bbox": BOX} | entry for entry in objects], categories=categories)
    found = [category.name for category in coco.classes.categories]
    assert found == names or len(found) == names
    assert coco.log.counts.total() == ("group_category" in coco.log.report()) + ("category_ids" in coco.log.report())
    assert ("group_category" in coco.log.report()) == (len(found) < len(categories))


def test_classes_by_name(read):
    objects = [{"category_id": 2, "bbox": BOX}, {"category_id": "1", "bbox": BOX}]
    coco = read(objects, ["dog", "cat", "zebra"])
    assert [(each.label, each.name, each.id) for each in coco.classes.categories] == [
        (1, "dog", 1),
        (2, "cat", 2),
        (3, "zebra", 3),
    ]
    assert [each.label for each in coco.objects[1]] == [1, 2]
    assert coco.log.report() == {"absent_class": 1}
    only_dogs = read(objects, ["dog"])
    assert [each.label for each in only_dogs.objects[1]] == [1]
    assert only_dogs.log.report() == {"other_class": 1}


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (["cat", "dgo"], "no category 'dgo'; did you mean dog"),
        (["zebra"], "no category 'zebra'; it has cat, dog"),
        (["cat", "cat"], "twice"),
    ],
)
def test_wrong_names_of_classes(read, classes, words):
    with pytest.raises(InputError, match=words):
        read([], classes)
