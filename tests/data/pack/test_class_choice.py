import pytest

from lightning_rcnn.cli import main
from lightning_rcnn.data.pack.class_choice import _without_star, read_choice
from lightning_rcnn.errors import InputError


@pytest.mark.parametrize(
    ("text", "names", "targets"),
    [
        ("dog, traffic light,cat", ["dog", "traffic light", "cat"], ["dog", "traffic light", "cat"]),
        ("car,truck=vehicle", ["car", "truck"], ["vehicle", "vehicle"]),
        (
            "person;car,truck=vehicle;dog=animal",
            ["person", "car", "truck", "dog"],
            ["person", "vehicle", "vehicle", "animal"],
        ),
        ("car;truck=car", ["car", "truck"], ["car", "car"]),
    ],
)
def test_choices(text, names, targets):
    assert read_choice(text) == (names, targets)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("car=a,truck=b", "put ; after each NAME=NAME"),
        ("car,,truck", "a name is empty"),
        ("car=", "a name is empty"),
        ("car;car=b", "a name occurs twice"),
    ],
)
def test_unclear_choices_are_refused(text, words):
    with pytest.raises(InputError, match=words):
        read_choice(text)


@pytest.mark.parametrize("layout", ["coco", "voc"])
def test_classes_become_one(make_coco, make_voc, voc_xml, encode_image, read_packed, tmp_path, layout):
    out = ["--out", str(tmp_path / "out"), "--classes", "emu;dog,cat=pet"]
    if layout == "coco":
        categories = [{"id": 7, "name": "cat"}, {"id": 8, "name": "emu"}, {"id": 9, "name": "dog"}]
        listed = [{"id": number, "image_id": 1, "category_id": number, "bbox": [1, 2, 9, 9]} for number in (7, 8, 9)]
        image = {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}
        folder, path = make_coco({"a.jpg": encode_image()}, [image], listed, categories)
        command = ["pack", "coco", "--images", str(folder), "--annotations", str(path)]
    else:
        xml = voc_xml(*((name, 1, 1, 9, 9) for name in ("cat", "emu", "dog")))
        command = ["pack", "auto", str(make_voc({"a.jpg": encode_image()}, {"a": xml}, ["a"]))]
    assert main([*command, *out]) == 0
    index, (sample,) = read_packed(next(path.parent for path in (tmp_path / "out").rglob("index.json")))
    assert [(category.label, category.name, category.id) for category in index.categories] == [
        (1, "emu", 1),
        (2, "pet", 2),
    ]
    assert [each["label"] for each in sample.record["annotations"]] == [2, 1, 2]


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("*=object", ["object", "object", "object"]),
        ("dog;*=other", ["dog", "other", "other"]),
        ("dog,*", ["dog", "cat", "eel"]),
    ],
)
def test_a_star_stands_for_the_other_classes(text, targets):
    choice = _without_star(read_choice(text), ["cat", "dog", "eel"])
    assert choice.targets == targets
    assert sorted(choice.names) == ["cat", "dog", "eel"]
