"""Read Tsinghua-Tencent 100K's JSON: traffic signs in images by their ids.

    {"types": ["i1", "p5"], "imgs": {"62627": {"path": "train/62627.jpg", "id": 62627, "objects": [
        {"category": "p5", "bbox": {"xmin": 923.0, "ymin": 922.7, "xmax": 957.3, "ymax": 955.8}}]}}}

Source: https://cg.cs.tsinghua.edu.cn/traffic-sign/tutorial.html
"""

from dataclasses import replace
from typing import Any

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.coco.scalars import listed
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, LabeledSplit, Labels
from lightning_rcnn.data.formats.layout import Layout, read_json
from lightning_rcnn.data.formats.shapes import box_from_corners, class_name_of, malformed
from lightning_rcnn.data.formats.splits import in_order, split_of_folder
from lightning_rcnn.errors import InputError

_OUTLINES = ("polygon", "ellipse")


def read_tt100k(layout: Layout) -> LabeledData:
    """List a data set of such files.

    Raises:
        InputError: there are none, or one does not list its images.
    """
    files = [file for file in layout.with_suffix(".json") if layout.json_kind(file) == "tt100k"]
    if not files:
        raise InputError(f"{layout.path}: no JSON file of TT100K, with `imgs` that have `path` and `objects`")
    by_split: dict[str, list[LabeledImage]] = {}
    types: dict[str, None] = {}
    has_outlines = False
    invalid: list[Finding] = []
    for file in files:
        content = read_json(layout.root / file)
        names = ImageNames(layout, file)
        types |= dict.fromkeys(filter(None, map(class_name_of, listed(content.get("types")))))
        for key, entry in content["imgs"].items():
            path = entry.get("path") if isinstance(entry, dict) else None
            if not isinstance(path, str) or not path:
                invalid.append(Finding(Defect.INVALID_IMAGE_ENTRY, f"{file}, {key}: no path"))
                continue
            objects = listed(entry.get("objects"))
            has_outlines |= any(isinstance(each, dict) and not {*_OUTLINES}.isdisjoint(each) for each in objects)
            read = [_read_object(each, f"object {number}") for number, each in enumerate(objects, start=1)]
            name = names.find(path)
            by_split.setdefault(split_of_folder(name), []).append(LabeledImage(name, Labels(read), f"{file}, {key}"))
    if len(by_split) > 1 and "" in by_split:
        by_split["other"] = by_split.pop("")
    splits = [LabeledSplit(name, layout.root, by_split[name], lists_all=True) for name in in_order(by_split)]
    if not splits:
        raise InputError(f"{layout.root / files[0]}: none of its images has a path; correct the file")
    splits[0].log.add(invalid)
    splits[0] = replace(splits[0], num_lost=len(invalid))
    notes = ("outlines of signs, left out",) if has_outlines else ()
    return LabeledData(", ".join(files), splits, list(types) or None, notes)


def _read_object(each: Any, place: str) -> LabeledObject:
    box = each.get("bbox") if isinstance(each, dict) else None
    if not isinstance(box, dict):
        return malformed(f"{place}: no bbox")
    return box_from_corners(class_name_of(each.get("category")), map(box.get, ("xmin", "ymin", "xmax", "ymax")), place)
