"""Detections as files of label tools, read back by `pack auto`."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from lightning_rcnn.cli.commands.detect import _require_files
from lightning_rcnn.cli.commands.detected_files import require_new_folder, write_detected
from lightning_rcnn.data.pack.any_format import find_data
from lightning_rcnn.data.pack.write_splits import write_splits
from lightning_rcnn.detection.sources import Sources
from lightning_rcnn.detection.stills import FileImage
from lightning_rcnn.errors import InputError


@pytest.fixture
def detected(tmp_path):
    """Two photos and their results: a mask, a box, and a mask without a pixel."""
    entries = []
    for number, name in enumerate(("a.jpg", "b.png"), start=1):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("RGB", (64, 48), (number, 2, 3)).save(tmp_path / "photos" / name)
        entries.append({"image": str(tmp_path / "photos" / name), "height": 48, "width": 64, "objects": []})
    pixels = np.zeros((48, 64), np.uint8, order="F")
    pixels[10:20, 5:25] = 1

    def rle(mask):
        encoded = coco_mask.encode(np.asfortranarray(mask))
        return {"size": [48, 64], "counts": encoded["counts"].decode()}

    boxes = [[5, 10, 20, 10], [30, 5, 20, 30], [40, 40, 4, 4]]
    masks = [rle(pixels), None, rle(np.zeros_like(pixels))]
    entries[0]["objects"] = [
        {"category_id": 18, "bbox": box, "score": 0.75, **({"segmentation": mask} if mask else {})}
        for box, mask in zip(boxes, masks, strict=True)
    ]
    return entries


@pytest.mark.parametrize("name", ["coco", "yolo", "voc", "labelme", "csv"])
def test_label_tools_files_come_back(name, detected, tmp_path):
    remarks = write_detected(name, tmp_path / "out" / name, detected, [17, 18], ["cat", "dog"])
    assert (f"3 scores are left out: {name} has no place for them." in remarks) == (name in ("yolo", "voc"))
    found = find_data(tmp_path / "out" / name)
    (index,) = write_splits(found.sources, tmp_path / "packed").values()
    assert sorted(index.shards[0].objects) == [0, 3]
    assert index.has_masks == (name in ("coco", "yolo", "labelme"))
    names = {category.label: category.name for category in index.categories}
    assert {names[label] for labels in index.shards[0].classes for label in labels} == {"dog"}


def test_scores_are_kept_where_there_is_a_place_for_them(detected, tmp_path):
    for name in ("coco", "labelme", "csv"):
        write_detected(name, tmp_path / name, detected, [17, 18], ["cat", "dog"])
    coco = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert {each["score"] for each in coco["annotations"]} == {0.75}
    assert [each["id"] for each in coco["categories"]] == [17, 18]
    assert {shape["score"] for shape in json.loads((tmp_path / "labelme" / "a.json").read_text())["shapes"]} == {0.75}
    assert (tmp_path / "csv" / "annotations.csv").read_text().splitlines()[1] == "a.jpg,64,48,dog,5,10,25,20,0,0.75"
    with pytest.raises(InputError, match="csv: exists and is not an empty folder; remove it, or choose another --out"):
        require_new_folder(tmp_path / "csv")


def test_names_and_files_that_no_annotation_can_name_are_refused(detected, tmp_path):
    for image in (tmp_path / "gone.jpg").as_posix(), tmp_path.as_posix():
        with pytest.raises(InputError, match=f"^{image}: has results, but cannot be read any more"):
            write_detected("csv", tmp_path / "csv", [{**detected[0], "image": image}], [17, 18], ["cat", "dog"])
    latin = FileImage(Path(os.fsdecode(b"caf\xe9.jpg")), Path("a.jpg"))
    with pytest.raises(InputError, match=r"--format csv: caf\\xe9\.jpg: its name is not UTF-8"):
        _require_files(Sources([latin], [], []), "csv")
    assert not list(tmp_path.glob("csv*"))
