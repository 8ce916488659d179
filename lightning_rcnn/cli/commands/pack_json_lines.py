"""`lightning-rcnn pack jsonl`: JSON Lines with an image a line, to WebDataset shards with an index."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lightning_rcnn.cli.commands.pack_options import PackOptions, pack_command
from lightning_rcnn.cli.commands.packing import pack_paths, read_pairs
from lightning_rcnn.data.formats.json_fields import FIELDS
from lightning_rcnn.data.formats.json_lines import read_json_lines
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.pack.any_format import FoundData, found_data


@pack_command
def pack_jsonl(
    path: Sequence[Path],
    /,
    map: str | None = None,
    boxes: Literal["auto", "xyxy", "xywh", "cxcywh"] = "auto",
    class_names: str | None = None,
    *,
    options: PackOptions,
) -> None:
    """Pack JSON Lines with an image a line, as Hugging Face's metadata.jsonl, each split into a folder of its own.

    Args:
        path: folders with images and JSON Lines, or files with their images beside them; several are one data set.
        map: where the fields are that are not recognized, such as file_name=img,boxes=objects.bbox,labels=objects.kind.
            Fields are file_name, boxes, labels, masks, crowd, difficult, width and height, paths in the JSON.
        boxes: form of the boxes, corners, corner and size, or center and size; auto takes the only form in which they
            lie in their images, in metadata.jsonl corner and size if that may be, and refuses if several may. Shares
            of the image's size are recognized.
        class_names: names of the classes in the JSON, such as 0=cat,1=dog; by default those of the class_label in
            README.md, or as they are written.
    """
    given, names = read_pairs(map, "--map", FIELDS), read_pairs(class_names, "--class_names")

    def read(each: Path, classes: list[str] | None) -> FoundData:
        data = read_json_lines(Layout(each), given, None if boxes == "auto" else boxes, names)
        return found_data("jsonl", each, data, classes)

    pack_paths(path, options, read)
