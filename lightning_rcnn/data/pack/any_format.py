"""Read a data set in a named format, or in the format that is recognized."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lightning_rcnn.data.formats.archives import holds_samples, is_named_like_an_archive, use_of_packed
from lightning_rcnn.data.formats.bdd100k import read_bdd100k
from lightning_rcnn.data.formats.createml import read_createml
from lightning_rcnn.data.formats.crowdhuman import read_crowdhuman
from lightning_rcnn.data.formats.csv_files import read_csv
from lightning_rcnn.data.formats.cub import read_cub
from lightning_rcnn.data.formats.cvat import read_cvat
from lightning_rcnn.data.formats.darwin import read_darwin
from lightning_rcnn.data.formats.datumaro import read_datumaro
from lightning_rcnn.data.formats.deepfashion2 import read_deepfashion2
from lightning_rcnn.data.formats.imglab import read_imglab
from lightning_rcnn.data.formats.json_lines import read_json_lines
from lightning_rcnn.data.formats.keras_yolo import read_keras_yolo
from lightning_rcnn.data.formats.known_lines import KNOWN_LINES, read_known_lines
from lightning_rcnn.data.formats.labelbox import read_labelbox
from lightning_rcnn.data.formats.labeled import LabeledData
from lightning_rcnn.data.formats.labelme import read_labelme
from lightning_rcnn.data.formats.labelme_xml import read_labelme_xml
from lightning_rcnn.data.formats.labelstudio import read_labelstudio
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.masks import read_masks
from lightning_rcnn.data.formats.mot import read_mot
from lightning_rcnn.data.formats.ndjson import read_ndjson
from lightning_rcnn.data.formats.nwpu import read_nwpu
from lightning_rcnn.data.formats.oidv4 import read_oidv4
from lightning_rcnn.data.formats.panoptic import read_panoptic
from lightning_rcnn.data.formats.parquet import read_parquet
from lightning_rcnn.data.formats.recognition import recognize
from lightning_rcnn.data.formats.rle_csv import read_rle_csv
from lightning_rcnn.data.formats.sagemaker import read_sagemaker
from lightning_rcnn.data.formats.superannotate import read_superannotate
from lightning_rcnn.data.formats.supervisely import read_supervisely
from lightning_rcnn.data.formats.tt100k import read_tt100k
from lightning_rcnn.data.formats.ua_detrac import read_ua_detrac
from lightning_rcnn.data.formats.unknown import describe_unknown
from lightning_rcnn.data.formats.vertex import read_vertex
from lightning_rcnn.data.formats.via import read_via
from lightning_rcnn.data.formats.vott import read_vott
from lightning_rcnn.data.formats.yolo import read_yolo
from lightning_rcnn.data.garbage import paused_collection
from lightning_rcnn.data.index import INDEX_NAME, is_packed
from lightning_rcnn.data.pack.coco_folders import coco_sources
from lightning_rcnn.data.pack.labeled import labeled_sources
from lightning_rcnn.data.pack.source import Source
from lightning_rcnn.data.pack.voc import voc_source
from lightning_rcnn.data.pack.voc_coordinates import CoordinatesChoice, coordinates_of
from lightning_rcnn.data.pack.voc_folders import annotation_files, voc_sources
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

TITLES = {
    "yolo": "YOLO",
    "voc": "Pascal VOC",
    "coco": "COCO",
    "lvis": "LVIS",
    "panoptic": "COCO panoptic",
    "labelme": "LabelMe",
    "masks": "masks in image files",
    "via": "VIA",
    "csv": "CSV",
    "cvat": "CVAT for images",
    "createml": "Create ML",
    "labelstudio": "Label Studio",
    "widerface": "WIDER FACE",
    "deeppcb": "DeepPCB",
    "kitti": "KITTI",
    "visdrone": "VisDrone",
    "widerperson": "WiderPerson",
    "bbgt": "Piotr's bbGt",
    "lines": "lines by a template",
    "jsonl": "JSON Lines",
    "parquet": "Parquet",
    "ndjson": "Ultralytics' NDJSON",
    "supervisely": "Supervisely",
    "superannotate": "SuperAnnotate",
    "darwin": "V7 Darwin",
    "bdd100k": "BDD100K",
    "datumaro": "Datumaro",
    "vott": "VoTT",
    "crowdhuman": "CrowdHuman",
    "sagemaker": "SageMaker Ground Truth",
    "vertex": "Vertex AI",
    "labelbox": "Labelbox",
    "rle": "CSV with run lengths",
    "keras_yolo": "keras-yolo3",
    "labelme_xml": "LabelMe's XML",
    "imglab": "dlib's imglab",
    "mot": "MOTChallenge",
    "ua_detrac": "UA-DETRAC",
    "oidv4": "OIDv4 ToolKit",
    "cub": "CUB-200-2011",
    "nwpu": "NWPU VHR-10",
    "deepfashion2": "DeepFashion2",
    "tt100k": "TT100K",
}
"""Name of the command -> name of the format, for messages."""
_JSON = ("coco", "lvis", "panoptic", "via", "createml", "labelstudio", "bdd100k", "datumaro", "vott", "tt100k")
"""Formats with one JSON file for many images: a damaged one may be a split."""
_READERS: dict[str, Callable[[Layout], LabeledData]] = {
    "yolo": read_yolo,
    "labelme": read_labelme,
    "panoptic": read_panoptic,
    "masks": read_masks,
    "via": read_via,
    "csv": read_csv,
    "cvat": read_cvat,
    "createml": read_createml,
    "labelstudio": read_labelstudio,
    "jsonl": read_json_lines,
    "parquet": read_parquet,
    "ndjson": read_ndjson,
    "supervisely": read_supervisely,
    "superannotate": read_superannotate,
    "darwin": read_darwin,
    "bdd100k": read_bdd100k,
    "datumaro": read_datumaro,
    "vott": read_vott,
    "crowdhuman": read_crowdhuman,
    "sagemaker": read_sagemaker,
    "vertex": read_vertex,
    "labelbox": read_labelbox,
    "rle": read_rle_csv,
    "keras_yolo": read_keras_yolo,
    "labelme_xml": read_labelme_xml,
    "imglab": read_imglab,
    "mot": read_mot,
    "tt100k": read_tt100k,
    "deepfashion2": read_deepfashion2,
    "nwpu": read_nwpu,
    "oidv4": read_oidv4,
    "cub": read_cub,
    "ua_detrac": read_ua_detrac,
    **{name: partial(read_known_lines, name=name) for name in KNOWN_LINES},
}


class FoundData(NamedTuple):
    """A data set that can be packed.

    Attributes:
        title: what it was taken for, for the user.
        sources: split -> source; one without a name if the set is not split.
    """

    title: str
    sources: dict[str, Source]


def read_data(name: str, path: Path, classes: Sequence[str] | None = None) -> FoundData:
    """List the data set at a path in the format with this name.

    Raises:
        InputError: it cannot be read.
    """
    return _read(name, Layout(path), classes)


@paused_collection()
def _read(name: str, layout: Layout, classes: Sequence[str] | None) -> FoundData:
    if name in _JSON:
        for file in layout.with_suffix(".json"):
            layout.json_kind(file)
        layout.require_sound_json()
    if name == "voc":
        return _found_voc(layout, classes, "auto")
    if name == "coco":
        evidence, sources = coco_sources(layout, "coco", classes)
    elif name == "lvis":
        evidence, sources = coco_sources(layout, "lvis", classes)
    else:
        return found_data(name, layout.path, _READERS[name](layout), classes)
    return FoundData(describe(TITLES[name], evidence, sources), sources)


def find_data(path: Path, classes: Sequence[str] | None = None) -> FoundData:
    """Recognize and list the data set at a path.

    Raises:
        InputError: nothing known is there, several formats are, or the data set cannot be read.
    """
    layout = Layout(path)
    candidates = recognize(layout)
    if not candidates:
        layout.require_sound_json()
        if archives := _describe_archives(layout):
            raise InputError(f"{path}: no annotations of a known format, but {archives}")
        if description := describe_unknown(layout):
            raise InputError(f"{path}: no annotations of a known format; {description}")
        raise InputError(
            f"{path}: no annotations of a known format; known are {', '.join(TITLES.values())}; give the folder that "
            "holds images and annotations, or yield the samples from Python with `pack_samples`"
        )
    if len(candidates) > 1:
        listed = "; ".join(
            f"{TITLES[name]} ({evidence}): `lightning-rcnn pack auto {path} --format {name}`"
            for name, evidence in candidates
        )
        raise InputError(f"{path}: has annotations in several formats; choose one: {listed}")
    return _read(candidates[0].name, layout, classes)


def _describe_archives(layout: Layout) -> str:
    """Return what the archives at a path are and the way out; "" if there are none."""
    path = layout.path
    archives = [file for file in layout.files if is_named_like_an_archive(file)]
    if not archives:
        return ""
    folders = ((layout.root / file).parent for file in layout.files if PurePosixPath(file).name == INDEX_NAME)
    if packed := next(filter(is_packed, folders), None):
        return f"shards that are packed already; {use_of_packed(packed, path)}"
    listed = ", ".join(archives[:3]) + (", ..." if len(archives) > 3 else "")
    shards = next((layout.root / file for file in archives if holds_samples(layout.root / file)), None)
    if shards is not None:
        return (
            f"tar files with an image and JSON a sample ({listed}); index them with "
            f"`lightning-rcnn pack webdataset {shards.parent}`, or unpack them"
        )
    return f"archives ({listed}); unpack them first"


def found_voc(path: Path, classes: Sequence[str] | None = None, choice: CoordinatesChoice = "auto") -> FoundData:
    """Return a data set with VOC's XML files, in any folders, ready to be packed.

    Args:
        path: its folder.
        classes: names of the classes; by default all.
        choice: whether coordinates count from 1 or from 0; "auto" to find out.

    Raises:
        InputError: see `voc_sources`.
    """
    return _found_voc(Layout(path), classes, choice)


def found_voc_split(
    root: Path, split: str, classes: Sequence[str] | None = None, choice: CoordinatesChoice = "auto"
) -> FoundData:
    """Return one split of a set with VOC's folders, ready to be packed.

    Args:
        root, split: see `voc_source`.
        classes, choice: see `found_voc`.

    Raises:
        InputError: see `voc_source`.
    """
    coordinates, notes = coordinates_of(choice, annotation_files(root))
    source = voc_source(root, split, classes=list(classes) if classes else None, coordinates=coordinates)
    return FoundData(describe(TITLES["voc"], split, {"": source}, notes), {"": source})


def _found_voc(layout: Layout, classes: Sequence[str] | None, choice: CoordinatesChoice) -> FoundData:
    evidence, sources, notes = voc_sources(layout, classes, choice)
    return FoundData(describe(TITLES["voc"], evidence, sources, notes), sources)


def found_data(name: str, path: Path, data: LabeledData, classes: Sequence[str] | None = None) -> FoundData:
    """Return a data set that was read, ready to be packed.

    Args:
        name: name of the format's command.
        path: path of the data set.
        data: data set.
        classes: see `labeled_sources`.

    Raises:
        InputError: see `labeled_sources`.
    """
    sources = labeled_sources(data, set_name(path), classes)
    return FoundData(describe(TITLES[name], data.evidence, sources, data.notes), sources)


def describe(title: str, evidence: str, sources: dict[str, Source], notes: Sequence[str] = ()) -> str:
    """Say in one line what a data set was taken for: its format, the file that shows it, and its splits."""
    sizes = {split: len(source.items) + source.left_out.images for split, source in sources.items()}
    if len(sizes) > 1:
        splits = f"{len(sizes)} splits: {', '.join(f'{split} {size}' for split, size in sizes.items())}"
    else:
        splits = ", ".join(f"{split} {plural(size, 'image')}".strip() for split, size in sizes.items())
    return "; ".join([f"found {title} ({evidence}, {splits})", *notes])


def set_name(path: Path) -> str:
    """Return the name of the data set at a path: the folder's, or the file's without suffix."""
    resolved = path.resolve()
    return resolved.stem if path.is_file() else resolved.name
