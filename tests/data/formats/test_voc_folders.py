import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from lightning_rcnn.cli import main
from lightning_rcnn.errors import InputError

DATA = Path(__file__).parents[4] / "shared" / "data" / "bccd" / "BCCD"


def xml(*objects, filename="", size="<size><width>64</width><height>48</height><depth>3</depth></size>"):
    """LabelImg's file; an object is (name, xmin, ymin, xmax, ymax)."""
    parts = []
    for name, *box in objects:
        edges = "".join(
            f"<{tag}>{each}</{tag}>" for tag, each in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        parts.append(f"<object><name>{name}</name><difficult>0</difficult><bndbox>{edges}</bndbox></object>")
    folder = f"<folder>images</folder><filename>{filename}</filename><path>C:\\work\\{filename}</path>"
    return f"<annotation>{folder}{size}<segmented>0</segmented>{''.join(parts)}</annotation>"


CAT, DOG = xml(("cat", 1, 1, 20, 30)), xml(("dog", 5, 5, 20, 30))
CAT_BOX, DOG_BOX = ("cat", 0, 0, 20, 30), ("dog", 4, 4, 20, 30)
LAYOUTS = {
    "side by side": (["a.xml", "b.xml"], ["a.jpg", "b.png"], ""),
    "two folders": (["Annotations/a.xml", "Annotations/b.xml"], ["JPEGImages/a.jpg", "JPEGImages/b.jpg"], ""),
    "two folders of other names": (["labels/xml/a.xml", "labels/xml/b.xml"], ["imgs/a.jpg", "imgs/b.jpg"], ""),
    "sub-folders with equal names": (["xml/x/a.xml", "xml/y/a.xml"], ["images/x/a.jpg", "images/y/a.jpg"], ""),
    "trimaps beside": (
        ["annotations/xmls/a.xml", "annotations/xmls/b.xml"],
        ["images/a.jpg", "images/b.jpg", "annotations/trimaps/a.png", "annotations/trimaps/b.png"],
        "ab",
    ),
}


def test_stanford_dogs_whose_files_have_no_ending(write_files, pack):
    texts = {"Annotation/n1-cat/n1_1": CAT, "Annotation/n2-dog/n2_7": f"\n{DOG}", "lists/README": "Dogs"}
    packed = pack(write_files(texts, ["Images/n1-cat/n1_1.jpg", "Images/n2-dog/n2_7.jpg"]))
    assert packed.splits[""].objects == {"Images/n1-cat/n1_1.jpg": [CAT_BOX], "Images/n2-dog/n2_7.jpg": [DOG_BOX]}


def test_dior_has_another_folder_of_rotated_boxes(write_files, pack):
    rotated = CAT.replace("bndbox", "robndbox").replace("cat", "rotated cat")
    texts = {"ImageSets/Main/train.txt": "a\nb\n"}
    for name, upright in (("a", CAT), ("b", DOG)):
        texts[f"Annotations/Horizontal Bounding Boxes/{name}.xml"] = upright
        texts[f"Annotations/Oriented Bounding Boxes/{name}.xml"] = rotated
    packed = pack(write_files(texts, ["JPEGImages/a.jpg", "JPEGImages/b.jpg"])).splits["train"]
    assert packed.objects == {"a.jpg": [CAT_BOX], "b.jpg": [DOG_BOX]}
    assert packed.classes == ["cat", "dog"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_without_lists(write_files, pack, name):
    xmls, images, stated = LAYOUTS[name]
    texts = [CAT, DOG]
    for number, letter in enumerate(stated):
        texts[number] = texts[number].replace("<filename>", f"<filename>{letter}.jpg")
    root = write_files(dict(zip(xmls, texts, strict=True)), images)
    packed = pack(root)
    assert packed.title == "found Pascal VOC (XML files, 2 images)"
    assert packed.splits[""].objects == {images[0]: [CAT_BOX], images[1]: [DOG_BOX]}
    assert packed.splits[""].report.keys() <= {"one_based_box", "unlisted_file"}


def test_roboflow_has_a_folder_for_each_split(write_files, pack):
    root = write_files({"train/a.xml": CAT, "valid/b.xml": DOG, "README.txt": "x"}, ["train/a.jpg", "valid/b.jpg"])
    packed = pack(root)
    assert packed.title == "found Pascal VOC (XML files, 2 splits: train 1, val 1)"
    assert packed.splits["val"].objects == {"valid/b.jpg": [DOG_BOX]}
    assert packed.splits["val"].classes == packed.splits["train"].classes == ["cat", "dog"]


@pytest.mark.parametrize("folder", ["", "VOCdevkit/VOC2007/"])
def test_lists_of_splits_count_where_they_are(write_files, pack, folder):
    texts = {"Annotations/a.xml": CAT, "Annotations/b.xml": DOG}
    texts |= {f"ImageSets/Main/{name}.txt": lines for name, lines in {"train": "a\n", "val": "b\n"}.items()}
    texts |= {"ImageSets/Main/trainval.txt": "a\nb\n", "ImageSets/Main/cat_train.txt": "a 1\n"}
    images = [f"{folder}JPEGImages/{name}.jpg" for name in "ab"]
    packed = pack(write_files({folder + name: text for name, text in texts.items()}, images))
    assert packed.title == "found Pascal VOC (ImageSets, 2 splits: train 1, val 1)"
    assert packed.splits["train"].objects == {"a.jpg": [CAT_BOX]}


def test_lists_beside_the_annotations_divide(write_files, pack):
    """As in IDD, whose images have equal names in many folders, and whose test set has no XML files."""
    names = [f"front/{folder}/001" for folder in ("a", "b", "c", "d")]
    texts = {f"Annotations/{name}.xml": CAT for name in names[:3]}
    texts |= {"train.txt": f"{names[0]}\r\n{names[1]}\r\n", "val.txt": f"{names[2]}\nfront/e/001\n", "notes.txt": "x"}
    texts |= {"test.txt": f"{names[3]}\n", "trainval.txt": "".join(f"{name}.jpg\n" for name in names[:3])}
    root = write_files(texts, [f"JPEGImages/{name}.jpg" for name in names])
    assert "image_without_annotation x 1 (first: front/e/001)" in refused(pack, root)
    (root / "val.txt").write_text(f"JPEGImages/{names[2]}.jpg\n")
    packed = pack(root)
    assert packed.title == "found Pascal VOC (XML files, train.txt, val.txt, 2 splits: train 2, val 1)"
    assert packed.splits["val"].objects == {f"JPEGImages/{names[2]}.jpg": [CAT_BOX]}
    assert packed.splits["train"].report == {"one_based_box": 2, "unlisted_file": 1}
    (root / "val.txt").write_text(f"{names[1]}\n")
    assert list(pack(root).splits) == [""], "lists that contradict each other do not count"


def refused(pack, root):
    with pytest.raises(InputError) as caught:
        pack(root, max_loss=0)
    return str(caught.value)


def test_images_of_a_split_without_xml_files_are_reported(write_files, pack):
    packed = pack(write_files({"a.xml": CAT, "train/b.xml": DOG}, ["a.jpg", "train/b.jpg", "test/c.jpg", "d.jpg"]))
    assert packed.splits["train"].report["unlisted_file"] == 2


def test_lists_of_images_with_masks_count_where_there_are_no_others(write_files, pack):
    ids = np.zeros((48, 64), np.uint8)
    ids[:30, :20] = 1
    texts = {f"ImageSets/Segmentation/{split}.txt": f"{split[0]}\n" for split in ("train", "val")}
    texts |= {f"Annotations/{name}.xml": CAT for name in "tv"} | {
        f"SegmentationObject/{name}.png": ids for name in "tv"
    }
    packed = pack(write_files(texts, ["JPEGImages/t.jpg", "JPEGImages/v.jpg"]))
    assert packed.title == "found Pascal VOC (ImageSets, 2 splits: train 1, val 1)"
    assert packed.splits["val"].objects == {"v.jpg": [CAT_BOX]}
    assert packed.splits["train"].has_masks
    assert packed.splits["val"].report == {"one_based_box": 1}


def test_several_years_are_listed_with_their_commands(write_files, refusal):
    root = write_files({f"{year}/ImageSets/Main/train.txt": "a" for year in ("VOC2007", "VOC2012")} | {"a.xml": CAT})
    message = refusal(root)
    assert f"`lightning-rcnn pack auto {root}/VOC2007` or `lightning-rcnn pack auto {root}/VOC2012`" in message


def test_without_size_the_size_is_that_of_the_file(write_files, pack_one):
    packed = pack_one(write_files({"a.xml": xml(("cat", 1, 1, 64, 48), size="")}, ["a.jpg"]))
    assert packed.objects == {"a.jpg": [("cat", 0, 0, 64, 48)]}
    assert packed.report == {"one_based_box": 1, "size_missing": 1}


def test_a_rotated_rectangle_of_cvat_becomes_the_upright_box_around_it(write_files, pack_one):
    attribute = "<attribute><name>rotation</name><value>{}</value></attribute>"
    texts = {
        f"{name}.xml": xml(("cat", 23, 20, 42, 29)).replace(
            "</object>", f"<attributes>{attribute.format(angle)}</attributes></object>"
        )
        for name, angle in (("a", 90.0), ("b", 0.0), ("c", "x"))
    }
    packed = pack_one(write_files(texts, ["a.jpg", "b.jpg", "c.jpg"]))
    upright = [("cat", 22, 19, 42, 29)]
    assert packed.objects == {"a.jpg": [("cat", 27, 14, 37, 34)], "b.jpg": upright, "c.jpg": upright}
    assert packed.report == {"one_based_box": 3, "rotated_box": 1}


def test_difficult_in_any_spelling(write_files, pack_one):
    spelled = {"a": "1", "b": "true", "c": "0", "d": "Unspecified", "e": ""}
    texts = {f"{name}.xml": CAT.replace("<difficult>0<", f"<difficult>{text}<") for name, text in spelled.items()}
    packed = pack_one(write_files(texts, [f"{name}.jpg" for name in spelled]))
    flags = [packed.records[f"{name}.jpg"]["annotations"][0]["difficult"] for name in spelled]
    assert flags == [1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("x1 y1 x2 y2 x3 y3 x4 y4", True),
        ("x1 x2 x3 x4 y1 y2 y3 y4", True),
        ("y4 x4 y3 x3 y2 x2 y1 x1", True),
        ("x1 y1 x2 y2 x3 y3 x4", False),
        ("x1 y1 x2 y2 x3 y3 x4 y4 y5", False),
        ("x1 y1 x1 x2 y2 x3 y3 x4 y4", False),
    ],
)
def test_points_of_an_outline_are_paired_by_their_numbers(write_files, pack_one, tags, expected):
    values = {"x1": 11, "y1": 7, "x2": 16, "y2": 27, "x3": 11, "y3": 37, "x4": 6, "y4": 27, "y5": 9}
    outline = "".join(f"<{tag}>{values[tag]}</{tag}>" for tag in tags.split())
    text = xml(("cat", 6, 7, 15, 36), filename="a.jpg").replace("</object>", f"<polygon>{outline}</polygon></object>")
    packed = pack_one(write_files({"a.xml": text}, ["a.jpg"]))
    (annotation,) = packed.records["a.jpg"]["annotations"]
    assert annotation.get("segmentation") == ([[10, 6, 15, 26, 10, 36, 5, 26]] if expected else None)
    assert packed.report.get("bad_polygon") == (None if expected else 1)


def test_outlines_of_roboflow_and_supervision_are_masks(write_files, pack_one, tmp_path):
    """Points count as the box does, which their own reader confirms."""
    points = (6, 7, 16, 7, 16, 27, 11, 37, 6, 27)
    tags = "".join(
        f"<{'xy'[each % 2]}{each // 2 + 1}>{value}</{'xy'[each % 2]}{each // 2 + 1}>"
        for each, value in enumerate(points)
    )
    outlined = xml(("cat", 6, 7, 15, 36), filename="a.jpg").replace("</object>", f"<polygon>{tags}</polygon></object>")
    broken = outlined.replace("<x2>16</x2>", "<x2>?</x2>")
    root = write_files({"a.xml": outlined, "b.xml": broken}, ["a.jpg", "b.jpg"])
    packed = pack_one(root)
    assert packed.objects == {"a.jpg": [("cat", 5, 6, 15, 36)], "b.jpg": [("cat", 5, 6, 15, 36)]}
    assert packed.records["a.jpg"]["annotations"][0]["segmentation"] == [[each - 1 for each in points]]
    assert packed.report == {"one_based_box": 2, "bad_polygon": 1, "missing_mask": 1}
    supervision = pytest.importorskip("supervision")
    (root / "b.xml").unlink()
    data = supervision.DetectionDataset.from_pascal_voc(str(root), str(root), force_masks=True)
    mask = data.annotations[next(iter(data.annotations))].mask[0]
    assert mask.any(axis=0).nonzero()[0][[0, -1]].tolist() == [5, 15]
    assert mask.any(axis=1).nonzero()[0][[0, -1]].tolist() == [6, 36]


def test_files_without_each_other_and_two_for_one_image(write_files, pack_one, refusal):
    texts = {"x/a.xml": CAT, "y/b.xml": DOG, "c.xml": xml(filename="renamed.jpg"), "lost.xml": CAT}
    texts |= {"y/copy/b.xml": DOG}
    root = write_files(texts, ["x/a.jpg", "y/b.jpg", "renamed.jpg", "alone.jpg"])
    message = refusal(root)
    assert "missing_image x 1 (first: lost.xml)" in message
    assert "two_annotation_files x 2 (first: y/b.jpg: y/b.xml and y/copy/b.xml)" in message
    packed = pack_one(root)
    assert packed.objects == {"renamed.jpg": [], "x/a.jpg": [CAT_BOX]}
    assert packed.report["unlisted_file"] == packed.report["inexact_file_name"] == 1


def test_a_stated_name_that_leads_out_of_the_set_is_not_read(write_files, refusal):
    root = write_files({"a.xml": xml(("cat", 1, 1, 9, 9), filename="../secret.jpg")}, ["../secret.jpg"])
    assert "missing_image x 1 (first: a.xml)" in refusal(root)


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


def test_an_entity_bomb_is_one_line(write_files, refusal):
    bomb = f"<?xml version='1.0'?>{BOMB}]><annotation><object><name>&j;</name></object></annotation>"
    message = refusal(write_files({"a.xml": bomb, "b.xml": CAT}, ["a.jpg", "b.jpg"]))
    assert "malformed_xml x 1 (first: a.xml: declares entities" in message


def test_the_command_packs_with_and_without_a_split(write_files, tmp_path, capsys):
    texts = {"Annotations/a.xml": CAT, "Annotations/b.xml": DOG}
    texts |= {"ImageSets/Main/train.txt": "a", "ImageSets/Main/val.txt": "b"}
    root = write_files(texts, ["JPEGImages/a.jpg", "JPEGImages/b.jpg"])
    assert main(["pack", "voc", "--root", str(root), "--out", str(tmp_path / "all")]) == 0
    assert main(["pack", "voc", "--root", str(root), "--split", "val", "--out", str(tmp_path / "val")]) == 0
    assert (tmp_path / "all" / "val" / "shard-000000.tar").read_bytes() == (
        tmp_path / "val" / "shard-000000.tar"
    ).read_bytes()


@pytest.mark.realdata
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data set in {DATA}")
def test_bccd_as_labelimg_writes_it_gives_the_same_objects(tmp_path, pack):
    flat = tmp_path / "flat"
    flat.mkdir()
    names = (DATA / "ImageSets" / "Main" / "val.txt").read_text().split()
    for name in names:
        shutil.copy(DATA / "JPEGImages" / f"{name}.jpg", flat)
        text = (DATA / "Annotations" / f"{name}.xml").read_text()
        (flat / f"{name}.xml").write_text(re.sub(r"<filename>.*?</filename>", "<filename>x.jpg</filename>", text))
    from_flat = pack(flat).splits[""]
    from_lists = pack(DATA).splits["val"]
    assert from_flat.classes == from_lists.classes
    assert from_flat.objects == {name: from_lists.objects[name] for name in sorted(from_lists.objects)}
