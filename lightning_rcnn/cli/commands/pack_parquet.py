"""`lightning-rcnn pack parquet`: tables with an image and its objects a row, to WebDataset shards with an index."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lightning_rcnn.cli.commands.pack_options import PackOptions, pack_command
from lightning_rcnn.cli.commands.packing import pack_paths, read_pairs
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.parquet import read_parquet
from lightning_rcnn.data.formats.parquet_columns import FIELDS
from lightning_rcnn.data.pack.any_format import FoundData, found_data


@pack_command
def pack_parquet(
    path: Sequence[Path],
    /,
    map: str | None = None,
    boxes: Literal["auto", "xyxy", "xywh", "cxcywh"] = "auto",
    class_names: str | None = None,
    *,
    options: PackOptions,
) -> None:
    """Pack Parquet files with an image and its objects a row, as Hugging Face's, each split into a folder of its own.

    Args:
        path: folders of Parquet files, or files; several are one data set.
        map: where the fields are that are not recognized, such as image=photo,boxes=objects.bbox,labels=objects.kind.
            Fields are image, boxes, labels, masks, crowd, difficult, width and height, columns and what is in them.
        boxes: form of the boxes, corners, corner and size, or center and size; auto takes corners, or corner and size,
            whichever is the only one that lies in the images or has the areas of a column `area`, and refuses if both
            may be. Shares of the image's size are recognized.
        class_names: names of the classes in the table, such as 0=cat,1=dog; by default those of the schema or
            README.md, or as they are written.
    """
    given, names = read_pairs(map, "--map", FIELDS), read_pairs(class_names, "--class_names")

    def read(each: Path, classes: list[str] | None) -> FoundData:
        data = read_parquet(Layout(each), given, None if boxes == "auto" else boxes, names)
        return found_data("parquet", each, data, classes)

    pack_paths(path, options, read)
