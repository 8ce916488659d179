import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lightning_rcnn.cli import main

FIRST, SECOND = np.zeros((48, 64), np.uint8), np.zeros((48, 64), np.uint8)
FIRST[5:20, 10:30] = FIRST[19:30, 12] = 1
SECOND[30:40, 40:60] = 1
BOXES = [("object", 10, 5, 30, 30), ("object", 40, 30, 60, 40)]


def pixels_of(packed, name):
    return [
        coco_mask.decode({**each["segmentation"], "counts": each["segmentation"]["counts"].encode()})
        for each in packed.records[name]["annotations"]
    ]


def test_a_mask_per_object_as_in_the_data_science_bowl(write_files, pack):
    """Stage 1: test images have no masks; masks may be stored with colors or alpha."""
    texts = {"stage1_train/a/masks/1.png": FIRST * 255, "stage1_train/a/masks/2.png": np.dstack([SECOND * 255] * 4)}
    texts |= {"stage1_train/b/masks/x.png": SECOND * 255, "stage1_train_labels.csv": "ImageId,EncodedPixels\na,1 2\n"}
    images = [f"stage1_train/{name}/images/{name}.png" for name in "ab"] + ["stage1_test/c/images/c.png"]
    packed = pack(write_files(texts, images))
    assert packed.title == "found masks in image files (a mask per object, train 2 images); test: no masks, left out"
    train = packed.splits["train"]
    assert list(train.objects.values()) == [BOXES, BOXES[1:]]
    assert train.has_masks
    masks = pixels_of(train, images[0])
    assert (masks[0] == FIRST).all()
    assert (masks[1] == SECOND).all()


@pytest.mark.parametrize(
    ("image", "mask", "dtype"),
    [
        ("PNGImages/{}.png", "PedMasks/{}_mask.png", np.uint8),
        ("images/{}.jpg", "masks/{}.png", np.uint8),
        ("images/{}.jpg", "labels/{}.tif", np.uint16),
        ("{}.png", "{}_instances.png", np.uint8),
        ("00{}_img.png", "00{}_masks.png", np.uint16),  # Cellpose's own set
        ("{}.png", "{}_cp_masks.png", np.uint16),  # and what it writes
    ],
)
def test_a_number_for_each_object_as_in_penn_fudan(write_files, pack_one, image, mask, dtype):
    ids = (FIRST + 7 * SECOND).astype(dtype)
    texts = {mask.format(name): ids for name in "ab"} | {mask.format("c"): ids * 0, "readme.txt": "Penn-Fudan"}
    packed = pack_one(write_files(texts, [image.format(name) for name in "abc"]))
    assert packed.objects == {image.format("a"): BOXES, image.format("b"): BOXES, image.format("c"): []}
    assert packed.report == {"empty_image": 1}
    assert all((pixels == 0).sum() > 0 for pixels in pixels_of(packed, image.format("a")))
    assert (np.maximum(*pixels_of(packed, image.format("a"))) == (ids > 0)).all()


def test_class_and_number_as_cityscapes_has_them_with_other_classes(write_files, read_set, tmp_path, capsys):
    ids = 1000 * FIRST.astype(np.uint16) + 2003 * SECOND.astype(np.uint16)
    ids[44:] = 3
    root = write_files({"masks/a.png": ids}, ["images/a.jpg"])
    command = ["pack", "masks", str(root), "--out", str(tmp_path / "out")]
    assert main([*command, "--class_names", "1=cat,2=dog,3=grass"]) == 0
    packed = read_set(tmp_path / "out")
    assert packed.classes == ["cat", "dog", "grass"]
    assert packed.objects == {"images/a.jpg": [("grass", 0, 44, 64, 48), *zip_names(["cat", "dog"])]}
    (grass, *_) = packed.records["images/a.jpg"]["annotations"]
    assert grass["iscrowd"] == 1
    assert main([*command, "--class_names", "cat=1"]) == 1
    assert "--class_names cat=1: give label ids, such as 24=person,26=car" in capsys.readouterr().err


def zip_names(names):
    return [(name, *box[1:]) for name, box in zip(names, BOXES, strict=True)]


def test_cityscapes(write_files, pack):
    ids = 26000 * FIRST.astype(np.int32) + 24003 * SECOND.astype(np.int32)
    ids[0:3, 0:5], ids[0:3, 10:15], ids[44:, :] = 25, 29001, 7  # a group of riders, a caravan, and the road
    texts, images = {}, []
    for split, name in (("train", "aachen_000000"), ("val", "ulm_000001")):
        city = name.partition("_")[0]
        texts[f"gtFine/{split}/{city}/{name}_gtFine_instanceIds.png"] = ids.astype(np.uint16)
        texts[f"gtFine/{split}/{city}/{name}_gtFine_labelIds.png"] = FIRST
        texts[f"gtFine/{split}/{city}/{name}_gtFine_polygons.json"] = {"imgHeight": 48, "imgWidth": 64, "objects": []}
        images.append(f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png")
    packed = pack(write_files(texts, images))
    assert packed.title == "found masks in image files (Cityscapes' instanceIds, 2 splits: train 1, val 1)"
    assert packed.splits["val"].objects == {
        images[1]: [("rider", 0, 0, 5, 3), ("person", 40, 30, 60, 40), ("car", 10, 5, 30, 30)]
    }
    assert packed.splits["val"].report == {"other_class": 1, "crowd": 1}
    assert len(packed.splits["train"].classes) == 8


def rectangle(label, left, top, right, bottom, **more):
    """A polygon through the outermost pixels, which Cityscapes' scripts paint, too."""
    right, bottom = right - 1, bottom - 1
    return {"label": label, "polygon": [[left, top], [right, top], [right, bottom], [left, bottom]]} | more


def polygons(*objects):
    return {"imgHeight": 48, "imgWidth": 64, "objects": list(objects)}


def test_polygons_of_cityscapes_hide_each_other(write_files, pack):
    """As its scripts paint them: a car behind a pole, a plate that hides nothing, a group, a caravan, a hidden dog."""
    objects = (
        rectangle("road", 0, 40, 64, 48),
        rectangle("bicycle", 30, 12, 34, 16),
        rectangle("car", 10, 5, 30, 30),
        rectangle("license plate", 12, 20, 16, 22),
        rectangle("pole", 28, 0, 34, 40),
        rectangle("cargroup", 40, 5, 60, 20),
        rectangle("caravan", 40, 22, 60, 24),
        rectangle("person", 40, 30, 60, 40),
        rectangle("person", 0, 30, 9, 40, deleted=1),
    )
    name = "leftImg8bit/train/ulm/ulm_000000_leftImg8bit.png"
    packed = pack(write_files({"gtFine/train/ulm/ulm_000000_gtFine_polygons.json": polygons(*objects)}, [name]))
    assert packed.title == "found masks in image files (Cityscapes' polygons, train 1 image)"
    train = packed.splits["train"]
    assert train.objects == {name: [("car", 40, 5, 60, 20), ("person", 40, 30, 60, 40), ("car", 10, 5, 28, 30)]}
    assert [each["iscrowd"] for each in train.records[name]["annotations"]] == [1, 0, 0]
    assert train.report == {"empty_mask": 1, "other_class": 1, "crowd": 1}
    assert [mask.sum() for mask in pixels_of(train, name)] == [20 * 15, 20 * 10, 18 * 25]


def test_fine_annotations_of_cityscapes_come_before_coarse_ones(write_files, pack):
    names = [f"leftImg8bit/train/ulm/ulm_00000{number}_leftImg8bit.png" for number in range(2)]
    car, bus = polygons(rectangle("car", 10, 5, 30, 30)), polygons(rectangle("bus", 10, 5, 30, 30))
    texts = {"gtFine/train/ulm/ulm_000000_gtFine_polygons.json": car}
    texts |= {f"gtCoarse/train/ulm/ulm_00000{number}_gtCoarse_polygons.json": bus for number in range(2)}
    packed = pack(write_files(texts, names))
    assert packed.title.endswith("train 2 images); 1 file of gtCoarse, whose images have gtFine, left out")
    assert packed.splits["train"].objects == {
        name: [(each, 10, 5, 30, 30)] for name, each in zip(names, ("car", "bus"), strict=True)
    }


def test_two_fine_annotations_of_an_image_of_cityscapes_are_not_guessed_from(write_files, refusal):
    texts = {f"{folder}/ulm_0_gtFine_polygons.json": polygons(rectangle("car", 1, 2, 9, 9)) for folder in ("a", "b")}
    words = "two_annotation_files x 2 (first: train/ulm_0_leftImg8bit.png: a/ulm_0_gtFine_polygons.json and b/ulm_0"
    assert words in refusal(write_files(texts, ["train/ulm_0_leftImg8bit.png"]))


def test_bad_polygons_of_cityscapes_are_counted(write_files, pack):
    bad = [rectangle("autorickshaw", 1, 2, 3, 4), {"label": "car", "polygon": [[1, 2], [3, 4]]}, {"label": "car"}, 3]
    bad += [{"label": "car", "polygon": [[1, 2], [3, 4], [float("nan"), 5]]}]
    contents = [polygons(rectangle("car", -9, 5, 30, 99), *bad), {"objects": []}, [], "{"]
    texts = {f"gtFine/train/ulm_{number}_gtFine_polygons.json": content for number, content in enumerate(contents)}
    packed = pack(write_files(texts, [f"train/ulm_{number}_leftImg8bit.png" for number in range(5)])).splits["train"]
    assert packed.objects == {"train/ulm_0_leftImg8bit.png": [("car", 0, 5, 30, 48)]}
    report = {"image_without_annotation": 1, "malformed_labels": 3, "unknown_class": 1, "malformed_object": 4}
    assert packed.report == report


def test_kitti_has_class_times_256(write_files, pack):
    """The object 0 of a class is a group; the other folders of KITTI are no images."""
    ids = 26 * 256 + FIRST.astype(np.uint16) + 2 * SECOND.astype(np.uint16)
    ids[:5] = 7 * 256
    texts = {f"training/{kind}/a_10.png": ids for kind in ("instance", "semantic", "semantic_rgb")}
    packed = pack(write_files(texts, ["training/image_2/a_10.png"]), max_loss=0).splits["train"]
    assert packed.objects == {
        "training/image_2/a_10.png": [("car", 0, 5, 64, 48), *(("car", *box[1:]) for box in BOXES)]
    }
    crowds = [each["iscrowd"] for each in packed.records["training/image_2/a_10.png"]["annotations"]]
    assert crowds == [1, 0, 0]


def test_mapillary_names_its_classes(write_files, pack):
    """Classes and objects count from 0, so 0 is the first bird; only classes with instances are objects."""
    ids = np.where(FIRST, 0, np.where(SECOND, 2 * 256 + 1, 1 * 256)).astype(np.uint16)
    names = [("Bird", True), ("Sky", False), ("Person", True)]
    labels = [{"readable": name, "instances": instances} for name, instances in names]
    texts = {"config.json": {"labels": labels}, "training/instances/a.png": ids, "training/labels/a.png": ids}
    packed = pack(write_files(texts, ["training/images/a.jpg"]), max_loss=0).splits["train"]
    assert packed.objects == {"training/images/a.jpg": [("Bird", *BOXES[0][1:]), ("Person", *BOXES[1][1:])]}
    assert packed.classes == ["Bird", "Person"]


def test_numbers_that_seem_to_have_a_class_in_them_are_refused_without_names(write_files, refusal):
    """As in MOTS, whose regions to ignore are 10000."""
    ids = 1001 * FIRST.astype(np.uint16) + 2001 * SECOND.astype(np.uint16)
    root = write_files({"instances/a.png": ids}, ["images/a.png"])
    assert "are 1001 and more, as class * 1000 + object has them" in refusal(root)
    assert f"`pack masks {root} --class_names 1=NAME,2=NAME`" in refusal(root)


def test_files_without_each_other_and_bad_masks(write_files, pack_one, refusal):
    ids = FIRST + 2 * SECOND
    texts = {f"masks/{name}.png": ids for name in ("a", "b", "lost")} | {"masks/bad.png": b"no image"}
    root = write_files(texts, ["images/a.jpg", "images/b.jpg", "images/bad.jpg", "images/alone.jpg"])
    message = refusal(root)
    assert "missing_image x 1 (first: masks/lost.png (its image))" in message
    assert "image_without_annotation x 1 (first: images/alone.jpg)" in message
    assert "malformed_labels x 1 (first: images/bad.jpg: bad.png cannot be read" in message
    assert pack_one(root).objects == {"images/a.jpg": BOXES, "images/b.jpg": BOXES}


def test_masks_that_do_not_tell_objects_apart_are_refused(write_files, refusal):
    root = write_files({"masks/a.png": FIRST * 255, "masks/b.png": SECOND * 255}, ["images/a.jpg", "images/b.jpg"])
    assert "black and white (first: masks/a.png)" in refusal(root)
    colored = write_files({"masks/a.png": np.dstack([FIRST * 90, SECOND * 9, FIRST])}, ["images/a.jpg"])
    assert "has colors instead of a number for each object" in refusal(colored)


def test_colors_of_ade20k_are_refused_by_name(write_files, refusal):
    colors = np.dstack([FIRST * 90, SECOND * 9, FIRST])
    root = write_files(
        {"office/ADE_train_1_seg.png": colors, "office/ADE_train_1.json": "{}"}, ["office/ADE_train_1.jpg"]
    )
    assert "as ADE20K's; convert its instances to COCO JSON" in refusal(root)


def test_masks_of_classes_as_roboflow_exports_them_are_refused(write_files, refusal):
    """The same numbers would be objects in Penn-Fudan's form."""
    texts = {"train/a_jpg.rf.1_mask.png": FIRST + 2 * SECOND}
    texts["train/_classes.csv"] = "Pixel Value, Class\n0, background\n1, cat\n2, dog\n"
    root = write_files(texts, ["train/a_jpg.rf.1.jpg"])
    assert f"{root}/train/_classes.csv: numbers in the masks (first: train/a_jpg.rf.1_mask.png) are" in refusal(root)


def test_the_border_of_voc_is_no_object(write_files, pack_one):
    ids = FIRST + 2 * SECOND
    ids[29:41, 38:40] = ids[0, :] = 255
    texts = {"SegmentationObject/a.png": ids, "masks/b.png": ids}
    packed = pack_one(write_files(texts, ["JPEGImages/a.jpg", "JPEGImages/b.jpg"]))
    assert packed.objects["JPEGImages/a.jpg"] == BOXES
    assert packed.objects["JPEGImages/b.jpg"] == [*BOXES, ("object", 0, 0, 64, 41)], "elsewhere 255 is an object"


def test_a_mask_of_another_size_is_scaled_or_left_out(write_files, pack_one, refusal):
    half = (FIRST + 2 * SECOND)[::2, ::2]
    assert "size_mismatch x 1" in refusal(write_files({"masks/a.png": half[:, :9]}, ["images/a.jpg"]))
    packed = pack_one(write_files({"masks/a.png": half}, ["images/a.jpg"]))
    assert packed.objects["images/a.jpg"][1] == BOXES[1]
    assert packed.report["size_scaled"] == 1


def test_by_name_with_a_class(write_files, tmp_path, capsys):
    root = write_files({"masks/a.png": FIRST + 2 * SECOND}, ["images/a.jpg"])
    assert main(["pack", "masks", str(root), "--out", str(tmp_path / "out"), "--class_name", "person"]) == 0
    assert "person 2" in capsys.readouterr().out
