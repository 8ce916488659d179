"""`lightning-rcnn pack auto|yolo|...`: data sets as label tools write them, to WebDataset shards with an index."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from lightning_rcnn.cli.commands.pack_options import PackOptions, pack_command
from lightning_rcnn.cli.commands.packing import pack_paths, read_pairs
from lightning_rcnn.data.formats.csv_columns import FIELDS
from lightning_rcnn.data.formats.csv_files import read_csv
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.lines import Classes, read_lines
from lightning_rcnn.data.formats.masks import read_masks
from lightning_rcnn.data.formats.via import read_via
from lightning_rcnn.data.formats.yolo import Quadrilaterals, read_yolo
from lightning_rcnn.data.pack.any_format import FoundData, find_data, found_data, read_data
from lightning_rcnn.errors import InputError

Format = Literal[
    "coco",
    "lvis",
    "panoptic",
    "voc",
    "yolo",
    "labelme",
    "via",
    "csv",
    "masks",
    "cvat",
    "createml",
    "labelstudio",
    "jsonl",
    "parquet",
    "ndjson",
    "widerface",
    "deeppcb",
    "kitti",
    "visdrone",
    "widerperson",
    "bbgt",
    "supervisely",
    "superannotate",
    "darwin",
    "bdd100k",
    "datumaro",
    "vott",
    "crowdhuman",
    "sagemaker",
    "vertex",
    "labelbox",
    "rle",
    "keras_yolo",
    "labelme_xml",
    "imglab",
    "mot",
    "ua_detrac",
    "oidv4",
    "cub",
    "nwpu",
    "deepfashion2",
    "tt100k",
]


@pack_command
def pack_auto(
    path: Sequence[Path],
    /,
    format: Format | None = None,
    *,
    options: PackOptions,
) -> None:
    """Recognize the format of a data set and pack it, each split into a folder of its own.

    Args:
        path: folders with images and annotations, or annotation files with their images beside them; several are one
            data set.
        format: format of the annotations, where there are several; by default recognized.
    """
    pack_paths(path, options, lambda each, names: read_data(format, each, names) if format else find_data(each, names))


@pack_command
def pack_yolo(
    path: Sequence[Path],
    /,
    class_names: str | None = None,
    quadrilaterals: Quadrilaterals = "refuse",
    *,
    options: PackOptions,
) -> None:
    """Pack a YOLO data set: boxes or polygons, each split into a folder of its own.

    Args:
        path: folders of data sets, or their YAML files; several are one data set.
        class_names: names of the classes 0, 1, ... of the label files, separated by commas, where no file lists them.
        quadrilaterals: refuse lines of four points as oriented boxes, or take them as polygons.
    """

    def read(each: Path, names: list[str] | None) -> FoundData:
        data = read_yolo(Layout(each), class_names.split(",") if class_names else (), quadrilaterals)
        return found_data("yolo", each, data, names)

    pack_paths(path, options, read)


def _command(format_name: str, title: str) -> Callable[..., None]:
    """Return the command that packs a format without options of its own."""

    def pack(path: Sequence[Path], /, *, options: PackOptions) -> None:
        pack_paths(path, options, lambda each, names: read_data(format_name, each, names))

    pack.__doc__ = f"""Pack {title}, each split into a folder of its own.

    Args:
        path: folders with images and annotations, or annotation files with their images beside them; several are one
            data set.
    """
    pack.__name__ = f"pack_{format_name}"
    return pack_command(pack)


@pack_command
def pack_masks(
    path: Sequence[Path],
    /,
    class_name: str = "object",
    class_names: str | None = None,
    *,
    options: PackOptions,
) -> None:
    """Pack images with masks in image files: one for each object, or one with a number for each object.

    Args:
        path: folders with images and masks; several are one data set.
        class_name: name of the one class; Cityscapes has its own.
        class_names: names of the classes by their label ids, such as 24=person,26=car, where the number of an object is
            label id times 1000 plus its own, as Cityscapes' 26003; the label id alone is a crowd.
    """
    pairs = read_pairs(class_names, "--class_names")
    if wrong := [key for key in pairs if not key.isdecimal()]:
        raise InputError(f"--class_names {wrong[0]}={pairs[wrong[0]]}: give label ids, such as 24=person,26=car")
    classes = {int(key): name for key, name in pairs.items()}

    def read(each: Path, names: list[str] | None) -> FoundData:
        return found_data("masks", each, read_masks(Layout(each), class_name, classes), names)

    pack_paths(path, options, read)


@pack_command
def pack_via(
    path: Sequence[Path],
    /,
    class_attribute: str | None = None,
    *,
    options: PackOptions,
) -> None:
    """Pack JSON or CSV files of the VGG Image Annotator, versions 2 and 3, each split into a folder of its own.

    Args:
        path: folders with images and files of VIA, or files with their images beside them; several are one data set.
        class_attribute: attribute of the regions that is their class; by default the only one, or the one called class,
            label, name, type or category.
    """
    pack_paths(
        path, options, lambda each, names: found_data("via", each, read_via(Layout(each), class_attribute), names)
    )


@pack_command
def pack_csv(
    path: Sequence[Path],
    /,
    columns: str | None = None,
    *,
    options: PackOptions,
) -> None:
    """Pack CSV files with a box a line, each split into a folder of its own.

    Args:
        path: folders with images and CSV files, or files with their images beside them; several are one data set.
        columns: meanings of columns that are not recognized, such as image=photo,x1=left,class=kind; or their numbers,
            from 1. Meanings are image, class, the edges x1, y1, x2, y2, or x, y, w, h, or cx, cy,
            w, h, or bbox (x, y, width and height in one cell), the image's width and height, crowd, and group (a
            patient or a film, whose images --split keeps together).
    """
    meanings = read_pairs(columns, "--columns", FIELDS)
    pack_paths(path, options, lambda each, names: found_data("csv", each, read_csv(Layout(each), meanings), names))


@pack_command
def pack_lines(
    path: Sequence[Path],
    /,
    template: str,
    class_names: str | None = None,
    image_suffix: str = "",
    *,
    options: PackOptions,
) -> None:
    """Pack text files with an object a line, each split into a folder of its own.

    Args:
        path: folders with images and text files, or text files with their images beside them; several are one data
            set.
        template: columns of a line, separated as in the files by spaces or commas, such as "x1 y1 x2 y2 class": the
            edges x1, y1, x2, y2, or x y w h, or cx cy w h; class, difficult, and _ for others. With a column image one
            file describes many images, else each image has a text file of its name. "image; count; x y w h" is a line
            with the image, a line with a number, and so many lines; "count; x y w h" a line with a number first.
        class_names: names of the classes in the files, such as 1=open,2=short; by default as they are written.
        image_suffix: what the names of images have after those of their text files, such as _test.
    """
    classes = Classes(read_pairs(class_names, "--class_names"))

    def read(each: Path, names: list[str] | None) -> FoundData:
        data = read_lines(Layout(each), template, classes, image_suffix)
        return found_data("lines", each, data, names)

    pack_paths(path, options, read)


pack_widerface = _command("widerface", "WIDER FACE")
pack_deeppcb = _command("deeppcb", "DeepPCB")
pack_kitti = _command("kitti", "text files in KITTI's form, without DontCare")
pack_visdrone = _command("visdrone", "VisDrone's text files for images, without ignored regions and others")
pack_widerperson = _command("widerperson", "WiderPerson, with its crowds as groups")
pack_bbgt = _command("bbgt", "text files of Piotr's Toolbox, as of ExDark")
pack_lvis = _command("lvis", "LVIS's JSON files with COCO's images")
pack_panoptic = _command("panoptic", "COCO's panoptic JSON files and PNGs: the masks of things, without stuff")
pack_cvat = _command("cvat", "CVAT's XML files for images")
pack_createml = _command("createml", "Create ML's JSON files")
pack_ndjson = _command("ndjson", "Ultralytics' NDJSON files, with the images that they name")
pack_labelstudio = _command("labelstudio", "Label Studio's JSON files")
pack_labelme = _command("labelme", "LabelMe's JSON files: polygons, rectangles, circles and masks")
pack_supervisely = _command("supervisely", "Supervisely's projects")
pack_superannotate = _command("superannotate", "SuperAnnotate's vector projects")
pack_darwin = _command("darwin", "V7's Darwin JSON")
pack_bdd100k = _command("bdd100k", "BDD100K's and Scalabel's JSON files")
pack_datumaro = _command("datumaro", "Datumaro's JSON files")
pack_vott = _command("vott", "VoTT's JSON exports")
pack_crowdhuman = _command("crowdhuman", "CrowdHuman, the boxes of whole bodies")
pack_sagemaker = _command("sagemaker", "manifests of SageMaker Ground Truth and Rekognition, with images that are here")
pack_vertex = _command("vertex", "Vertex AI's JSON Lines, with images that are here")
pack_labelbox = _command("labelbox", "Labelbox's NDJSON exports, with images that are here")
pack_rle = _command("rle", "CSV files with the run lengths of a mask a line, as Kaggle's")
pack_keras_yolo = _command("keras_yolo", "text files of keras-yolo3 and Roboflow's YOLO v4, an image a line")
pack_labelme_xml = _command("labelme_xml", "XML files of the first LabelMe, as CVAT exports them")
pack_imglab = _command("imglab", "XML files of dlib's imglab")
pack_mot = _command("mot", "sequences of MOTChallenge, as CVAT exports them, too")
pack_ua_detrac = _command("ua_detrac", "sequences of UA-DETRAC, without ignored regions")
pack_cub = _command("cub", "tables of CUB-200-2011 and NABirds, without parts and attributes")
pack_oidv4 = _command("oidv4", "folders of OIDv4 ToolKit, whose images of several classes become one")
pack_nwpu = _command("nwpu", "NWPU VHR-10, with its images without objects")
pack_deepfashion2 = _command("deepfashion2", "DeepFashion2's JSON files: boxes and outlines, without landmarks")
pack_tt100k = _command("tt100k", "TT100K's JSON files, the boxes of signs")
