"""`lightning-rcnn pack auto|yolo|...`: data sets as label tools write them, to WebDataset shards with an index."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from lightning_rcnn.cli.commands.packing import chosen, chosen_names, read_pairs, write_found
from lightning_rcnn.data.formats.csv_files import FIELDS, read_csv
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.lines import read_lines
from lightning_rcnn.data.formats.masks import read_masks
from lightning_rcnn.data.formats.via import read_via
from lightning_rcnn.data.formats.yolo import Quadrilaterals, read_yolo
from lightning_rcnn.data.pack.any_format import find_data, found_data, read_data
from lightning_rcnn.data.pack.completeness import MAX_LOSS

Format = Literal[
    "coco",
    "lvis",
    "voc",
    "yolo",
    "labelme",
    "via",
    "csv",
    "masks",
    "cvat",
    "createml",
    "labelstudio",
    "widerface",
    "deeppcb",
]


def pack_auto(
    path: Path,
    /,
    out: Path | None = None,
    format: Format | None = None,
    classes: str | None = None,
    name: str | None = None,
    shard_size: int = 256,
    workers: int | None = None,
    strict: bool = False,
    max_loss: float = MAX_LOSS,
    overwrite: bool = False,
) -> None:
    """Recognize the format of a data set and pack it, each split into a folder of its own.

    Args:
        path: folder with images and annotations, or an annotation file with its images beside it.
        out: folder for shards and index, or for OUT/train, OUT/val and so on; it appears when it is whole. By default
            shards/NAME, where NAME is the name of the path.
        format: format of the annotations, where there are several; by default recognized.
        classes: class names, separated by commas; label i is the i-th, objects of other classes are left out.
            "person;car,truck=vehicle" makes one class of car and truck. By default all, in the order of the data set's
            own list, or else sorted.
        name: name of the data set; by default that of the path.
        shard_size: samples per shard.
        workers: reading processes; by default as many as are worth starting, at most one per core.
        strict: refuse the data set if anything has to be repaired or skipped.
        max_loss: refuse the data set if a larger share of its images, or of its objects, has to be skipped. Sound sets
            lose less than 0.01; names, sizes or classes that do not fit lose far more than 0.05. 1 refuses nothing.
        overwrite: replace a packed data set in out.
    """
    found = read_data(format, path, chosen_names(classes)) if format else find_data(path, chosen_names(classes))
    write_found(chosen(found, classes), path, out, name, shard_size, workers, strict, max_loss, overwrite)


def pack_yolo(
    path: Path,
    /,
    out: Path | None = None,
    classes: str | None = None,
    class_names: str | None = None,
    quadrilaterals: Quadrilaterals = "refuse",
    name: str | None = None,
    shard_size: int = 256,
    workers: int | None = None,
    strict: bool = False,
    max_loss: float = MAX_LOSS,
    overwrite: bool = False,
) -> None:
    """Pack a YOLO data set: boxes or polygons, each split into a folder of its own.

    Args:
        path: folder of the data set, or its YAML file.
        out: folder for shards and index, or for OUT/train, OUT/val and so on; by default shards/NAME.
        classes: class names, separated by commas; label i is the i-th, objects of other classes are left out.
        class_names: names of the classes 0, 1, ... of the label files, separated by commas, where no file lists them.
        quadrilaterals: refuse lines of four points as oriented boxes, or take them as polygons.
        name: name of the data set; by default that of the path.
        shard_size: samples per shard.
        workers: reading processes; by default as many as are worth starting, at most one per core.
        strict: refuse the data set if anything has to be repaired or skipped.
        max_loss: refuse the data set if a larger share of its images, or of its objects, has to be skipped.
        overwrite: replace a packed data set in out.
    """
    data = read_yolo(Layout(path), class_names.split(",") if class_names else (), quadrilaterals)
    found = found_data("yolo", path, data, chosen_names(classes))
    write_found(chosen(found, classes), path, out, name, shard_size, workers, strict, max_loss, overwrite)


def _command(format_name: str, title: str) -> Callable[..., None]:
    """Return the command that packs a format without options of its own: that of `pack_auto`, without recognition."""

    def pack(
        path: Path,
        /,
        out: Path | None = None,
        classes: str | None = None,
        name: str | None = None,
        shard_size: int = 256,
        workers: int | None = None,
        strict: bool = False,
        max_loss: float = MAX_LOSS,
        overwrite: bool = False,
    ) -> None:
        found = read_data(format_name, path, chosen_names(classes))
        write_found(chosen(found, classes), path, out, name, shard_size, workers, strict, max_loss, overwrite)

    _, heading, arguments = (pack_auto.__doc__ or "").partition("    Args:")
    arguments = re.sub(r"        format: .*?\n(?=        \w+: )", "", arguments, flags=re.DOTALL)
    pack.__doc__ = f"Pack {title}, each split into a folder of its own.\n\n{heading}{arguments}"
    pack.__name__ = pack.__qualname__ = f"pack_{format_name}"
    return pack


def pack_masks(
    path: Path,
    /,
    out: Path | None = None,
    class_name: str = "object",
    name: str | None = None,
    shard_size: int = 256,
    workers: int | None = None,
    strict: bool = False,
    max_loss: float = MAX_LOSS,
    overwrite: bool = False,
) -> None:
    """Pack images with masks in image files: one for each object, or one with a number for each object.

    Args:
        path: folder with images and masks.
        out: folder for shards and index, or for OUT/train, OUT/val and so on; by default shards/NAME.
        class_name: name of the one class; Cityscapes has its own.
        name: name of the data set; by default that of the path.
        shard_size: samples per shard.
        workers: reading processes; by default as many as are worth starting, at most one per core.
        strict: refuse the data set if anything has to be repaired or skipped.
        max_loss: refuse the data set if a larger share of its images, or of its objects, has to be skipped.
        overwrite: replace a packed data set in out.
    """
    found = found_data("masks", path, read_masks(Layout(path), class_name))
    write_found(found, path, out, name, shard_size, workers, strict, max_loss, overwrite)


def pack_via(
    path: Path,
    /,
    out: Path | None = None,
    classes: str | None = None,
    class_attribute: str | None = None,
    name: str | None = None,
    shard_size: int = 256,
    workers: int | None = None,
    strict: bool = False,
    max_loss: float = MAX_LOSS,
    overwrite: bool = False,
) -> None:
    """Pack JSON or CSV files of the VGG Image Annotator, versions 2 and 3, each split into a folder of its own.

    Args:
        path: folder with images and files of VIA, or one file with its images beside it.
        out: folder for shards and index, or for OUT/train, OUT/val and so on; by default shards/NAME.
        classes: class names, separated by commas; label i is the i-th, objects of other classes are left out.
        class_attribute: attribute of the regions that is their class; by default the only one, or the one called class,
            label, name, type or category.
        name: name of the data set; by default that of the path.
        shard_size: samples per shard.
        workers: reading processes; by default as many as are worth starting, at most one per core.
        strict: refuse the data set if anything has to be repaired or skipped.
        max_loss: refuse the data set if a larger share of its images, or of its objects, has to be skipped.
        overwrite: replace a packed data set in out.
    """
    found = found_data("via", path, read_via(Layout(path), class_attribute), chosen_names(classes))
    write_found(chosen(found, classes), path, out, name, shard_size, workers, strict, max_loss, overwrite)


def pack_csv(
    path: Path,
    /,
    out: Path | None = None,
    classes: str | None = None,
    columns: str | None = None,
    name: str | None = None,
    shard_size: int = 256,
    workers: int | None = None,
    strict: bool = False,
    max_loss: float = MAX_LOSS,
    overwrite: bool = False,
) -> None:
    """Pack CSV files with a box a line, each split into a folder of its own.

    Args:
        path: folder with images and CSV files, or one file with its images beside it.
        out: folder for shards and index, or for OUT/train, OUT/val and so on; by default shards/NAME.
        classes: class names, separated by commas; label i is the i-th, objects of other classes are left out.
        columns: meanings of columns that are not recognized, such as image=photo,x1=left,class=kind; in a file without
            names, their numbers, from 1. Meanings are image, class, the edges x1, y1, x2, y2, or x, y, w, h, or cx, cy,
            w, h, or bbox (x, y, width and height in one cell), the image's width and height, and crowd.
        name: name of the data set; by default that of the path.
        shard_size: samples per shard.
        workers: reading processes; by default as many as are worth starting, at most one per core.
        strict: refuse the data set if anything has to be repaired or skipped.
        max_loss: refuse the data set if a larger share of its images, or of its objects, has to be skipped.
        overwrite: replace a packed data set in out.
    """
    data = read_csv(Layout(path), read_pairs(columns, "--columns", FIELDS))
    found = found_data("csv", path, data, chosen_names(classes))
    write_found(chosen(found, classes), path, out, name, shard_size, workers, strict, max_loss, overwrite)


def pack_lines(
    path: Path,
    /,
    template: str,
    out: Path | None = None,
    classes: str | None = None,
    class_names: str | None = None,
    image_suffix: str = "",
    name: str | None = None,
    shard_size: int = 256,
    workers: int | None = None,
    strict: bool = False,
    max_loss: float = MAX_LOSS,
    overwrite: bool = False,
) -> None:
    """Pack text files with an object a line, each split into a folder of its own.

    Args:
        path: folder with images and text files, or one text file with its images beside it.
        template: columns of a line, separated as in the files by spaces or commas, such as "x1 y1 x2 y2 class": the
            edges x1, y1, x2, y2, or x y w h, or cx cy w h; class, difficult, and _ for others. With a column image one
            file describes many images, else each image has a text file of its name. "image; count; x y w h" is a line
            with the image, a line with a number, and so many lines.
        out: folder for shards and index, or for OUT/train, OUT/val and so on; by default shards/NAME.
        classes: class names, separated by commas; label i is the i-th, objects of other classes are left out.
        class_names: names of the classes in the files, such as 1=open,2=short; by default as they are written.
        image_suffix: what the names of images have after those of their text files, such as _test.
        name: name of the data set; by default that of the path.
        shard_size: samples per shard.
        workers: reading processes; by default as many as are worth starting, at most one per core.
        strict: refuse the data set if anything has to be repaired or skipped.
        max_loss: refuse the data set if a larger share of its images, or of its objects, has to be skipped.
        overwrite: replace a packed data set in out.
    """
    data = read_lines(Layout(path), template, read_pairs(class_names, "--class_names"), image_suffix)
    found = found_data("lines", path, data, chosen_names(classes))
    write_found(chosen(found, classes), path, out, name, shard_size, workers, strict, max_loss, overwrite)


pack_widerface = _command("widerface", "WIDER FACE")
pack_deeppcb = _command("deeppcb", "DeepPCB")
pack_lvis = _command("lvis", "LVIS's JSON files with COCO's images")
pack_cvat = _command("cvat", "CVAT's XML files for images")
pack_createml = _command("createml", "Create ML's JSON files")
pack_labelstudio = _command("labelstudio", "Label Studio's JSON files")
pack_labelme = _command("labelme", "LabelMe's JSON files: polygons, rectangles, circles and masks")
