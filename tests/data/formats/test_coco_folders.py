import pytest

from lightning_rcnn.cli import main

NAMES = [{"id": 1, "name": "cat", "supercategory": "animal"}, {"id": 2, "name": "dog", "supercategory": "animal"}]


def coco(name, *boxes, categories=NAMES, **image):
    """An instances file of one image; a box is (category id, x, y, width, height)."""
    annotations = [
        {"id": number, "image_id": 1, "category_id": label, "bbox": box, "iscrowd": 0, "area": box[2] * box[3]}
        for number, (label, *box) in enumerate(boxes, start=1)
    ]
    entry = {"id": 1, "file_name": name, "width": 64, "height": 48, **image}
    return {"images": [entry], "annotations": annotations, "categories": categories}


CAT, DOG = (1, 5, 6, 10, 20), (2, 10, 10, 20, 30)
CAT_BOX, DOG_BOX = ("cat", 5, 6, 15, 26), ("dog", 10, 10, 30, 40)
CAPTIONS = {"images": [{"id": 1, "file_name": "0.jpg"}], "annotations": [{"id": 1, "image_id": 1, "caption": "a cat"}]}


@pytest.mark.parametrize("folder", ["{}2017", "images/{}2017"])
def test_coco_has_a_folder_of_images_for_each_split(write_files, pack, folder):
    keypoints = coco("0.jpg", CAT)
    texts = {
        "annotations/instances_train2017.json": coco("0.jpg", CAT, DOG),
        "annotations/instances_val2017.json": coco("0.jpg", DOG),
        "annotations/captions_train2017.json": CAPTIONS,
        "annotations/person_keypoints_train2017.json": keypoints,
    }
    packed = pack(write_files(texts, [f"{folder.format(split)}/0.jpg" for split in ("train", "val")]), strict=True)
    assert packed.title.endswith("2 splits: train 1, val 1)")
    assert packed.splits["train"].objects == {"0.jpg": [CAT_BOX, DOG_BOX]}
    assert packed.splits["val"].objects == {"0.jpg": [DOG_BOX]}


def test_roboflow(write_files, pack):
    """The splits may list other categories: both get those of all."""
    texts = {
        "train/_annotations.coco.json": coco("a.jpg", CAT, categories=NAMES[:1]),
        "valid/_annotations.coco.json": coco("b.jpg", DOG),
    }
    packed = pack(write_files(texts, ["train/a.jpg", "valid/b.jpg"]))
    assert packed.splits["train"].classes == packed.splits["val"].classes == ["cat", "dog"]
    assert packed.splits["val"].objects == {"b.jpg": [DOG_BOX]}


@pytest.mark.parametrize(
    ("file", "image"),
    [("annotations/instances_default.json", "images/a.jpg"), ("result.json", "images/a.jpg"), ("coco.json", "a.jpg")],
)
def test_cvat_label_studio_and_a_file_beside_its_images(write_files, pack, file, image):
    root = write_files({file: coco("a.jpg", CAT)}, [image])
    packed = pack(root)
    assert packed.title == f"found COCO ({file}, 1 image)"
    assert list(packed.splits[""].objects.values()) == [[CAT_BOX]]
    if "/" not in file:
        assert pack(root / file).title == packed.title


def test_a_rotated_rectangle_of_cvat_becomes_the_upright_box_around_it(write_files, pack_one):
    """CVAT's COCO file has the rectangle before its rotation; with 30 degrees it is wider and higher."""
    content = coco("a.jpg", (1, 22, 19, 20, 10), (2, 22, 19, 20, 10), (1, 22, 19, 20, 10), (1, 5, 6, 10, 20))
    angles = (90.0, 30.0, "nan", 0.0)
    for annotation, angle in zip(content["annotations"], angles, strict=True):
        annotation["attributes"] = {"occluded": False, "rotation": angle}
    packed = pack_one(write_files({"annotations/instances_default.json": content}, ["images/a.jpg"]))
    width, height = 20 * 3**0.5 / 2 + 5, 10 + 10 * 3**0.5 / 2
    tilted = (32 - width / 2, 24 - height / 2, 32 + width / 2, 24 + height / 2)
    expected = [
        ("cat", 27, 14, 37, 34),
        ("dog", *(round(each, 3) for each in tilted)),
        ("cat", 22, 19, 42, 29),
        CAT_BOX,
    ]
    assert list(packed.objects.values()) == [expected]
    assert packed.report == {"rotated_box": 2}


@pytest.mark.parametrize(
    ("folders", "chosen"),
    [
        (("images", "annotated"), "images"),
        (("data", "thumbnails/data"), None),
        (("photos", "masked"), None),
        (("set/photos",), "set/photos"),
        (("photos/full", "photos"), None),
    ],
)
def test_of_folders_with_equal_names_none_is_guessed(write_files, pack_one, refusal, folders, chosen):
    """labelme2coco writes pictures of the annotations under the names of the images."""
    names = [f"{number}.jpg" for number in range(3)]
    content = {"annotations": [], "categories": NAMES}
    content["images"] = [
        {"id": number, "file_name": name, "width": 64, "height": 48} for number, name in enumerate(names)
    ]
    content["annotations"] = [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [5, 6, 10, 20]}]
    root = write_files({"annotations.json": content}, [f"{folder}/{name}" for folder in folders for name in names])
    if chosen is None:
        assert "ambiguous_file_name x 3 (first: 0.jpg; it matches" in refusal(root)
    else:
        packed = pack_one(root)
        assert packed.objects == {"0.jpg": [CAT_BOX], "1.jpg": [], "2.jpg": []}
        assert packed.report == {"empty_image": 2}


def test_corners_instead_of_a_size_are_refused(write_files, pack_one, refusal):
    """A converter's usual mistake; a box that reaches a little beyond its image is none."""
    corners = coco("a.jpg", (1, 35, 26, 60, 46), (2, 20, 30, 60, 40), (1, 5, 6, 15, 26))
    root = write_files({"coco.json": corners}, ["a.jpg"])
    assert refusal(root).startswith(f"{root}/coco.json: 2 of 3 boxes reach far beyond their images, and as two corners")
    beyond = coco("a.jpg", (1, 35, 26, 60, 46), (2, 40, 6, 10, 20))
    assert len(pack_one(write_files({"coco.json": beyond}, [])).objects["a.jpg"]) == 2, "one is no pair of corners"


def test_lvis_names_its_images_by_their_urls(write_files, pack, tmp_path, capsys):
    """Its validation has images of COCO's training folder too."""
    more = {"coco_url": "http://images.cocodataset.org/train2017/000000000007.jpg", "neg_category_ids": [2]}
    content = coco(None, CAT, not_exhaustive_category_ids=[], **more)
    texts = {"lvis_v1_train.json": content, "lvis_v1_val.json": content}
    root = write_files(texts, ["train2017/000000000007.jpg", "val2017/000000000009.jpg"])
    assert main(["pack", "lvis", str(root / "lvis_v1_train.json"), "--out", str(tmp_path / "lvis")]) == 0
    assert "found LVIS (lvis_v1_train.json" in capsys.readouterr().out
    packed = pack(root)
    assert packed.title.startswith("found LVIS (lvis_v1_train.json, lvis_v1_val.json, 2 splits: train 1, val 1)")
    assert list(packed.splits["val"].objects.values()) == [[CAT_BOX]]


def test_a_damaged_file_beside_a_sound_one_is_not_passed_over(write_files, refusal):
    texts = {"instances_train.json": coco("a.jpg", CAT), "instances_val.json": '{"images": ['}
    assert "instances_val.json: malformed JSON" in refusal(write_files(texts, ["a.jpg"]))


def test_several_files_of_one_split_are_listed_with_their_commands(write_files, refusal):
    root = write_files({"a.json": coco("a.jpg", CAT), "b.json": coco("a.jpg", DOG)}, ["a.jpg"])
    assert f"choose one: `lightning-rcnn pack auto {root}/a.json`; `lightning-rcnn pack auto {root}/b.json`" in refusal(
        root
    )


def test_a_json_file_larger_than_the_free_memory_is_refused(write_files, refusal, monkeypatch):
    root = write_files({"coco.json": coco("a.jpg", CAT)}, ["a.jpg"])
    monkeypatch.setattr("lightning_rcnn.data.formats.layout.MIN_CHECKED", 0)
    monkeypatch.setattr("lightning_rcnn.data.formats.layout.free_memory", lambda: 100)
    assert "coco.json: parsing 0.0 GB of JSON takes about 0 GB of memory, and 0 GB are free" in refusal(root)
