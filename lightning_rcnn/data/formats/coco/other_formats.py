"""Recognize files of other known formats, and say how to convert them to COCO's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class OtherFormat(NamedTuple):
    """A format that is not COCO's.

    Attributes:
        name: its name.
        way_out: what to do with such a file.
        command: name of the command that packs it; "" if there is none.
    """

    name: str
    way_out: str
    command: str = ""


def _own(name: str, command: str) -> OtherFormat:
    """Return a format that has a reader of its own."""
    return OtherFormat(name, f"use `lightning-rcnn pack {command}`", command)


_EXPORT = "export it from there as COCO JSON"
_CONVERT = "convert it to COCO JSON"
_INSTANCES = "give the instances file of the set"


def recognize_content(content: Any) -> OtherFormat | None:
    """Return the format of parsed JSON that is not COCO's object detection; None for COCO and unknown formats."""
    return next((other for other, has_traits in _TRAITS if has_traits(content)), None)


def recognize_text(text: str) -> OtherFormat | None:
    """Return the format of a text that is not JSON; None if unknown."""
    head = text.lstrip("\ufeff \t\r\n")[:4000]
    first = head.partition("\n")[0].strip()
    if head.startswith("<"):
        return _VOC if "<annotation>" in head else _CVAT if "<annotations>" in head else OtherFormat("XML", _EXPORT)
    if first.lower().startswith(("filename,", "#filename,")) and "region_" in first:
        return _VIA
    if _is_yolo_line(first):
        return _own("YOLO's text", "yolo")
    if first.startswith("{") and first.endswith("}") and "\n" in head:
        return _own("JSON Lines", "ndjson" if '"type": "dataset"' in first else "jsonl")
    if first.startswith(("names:", "path:", "train:")):
        return _own("the YAML file of a YOLO data set", "yolo")
    if first.count(",") >= 3 and not first.startswith(("{", "[")):  # these begin JSON that is cut off or damaged
        return _own("CSV", "csv")
    return None


def recognize_folder(folder: Path) -> OtherFormat | None:
    """Return the format of a folder by the suffixes of its first files; None if unknown."""
    suffixes = {path.suffix.lower() for path, _ in zip(folder.iterdir(), range(100), strict=False)}
    if ".xml" in suffixes:
        return _VOC
    if ".txt" in suffixes:
        return _own("a folder of YOLO's labels", "yolo")
    return None


_VOC = _own("Pascal VOC", "voc")
_CVAT = _own("CVAT for images", "cvat")
_VIA = _own("VIA", "via")
_LABEL_STUDIO = _own("Label Studio", "labelstudio")


def _keys(content: Any) -> set[str]:
    return set(content) if isinstance(content, dict) else set()


def _first(content: Any) -> Any:
    """Return the first element of a list, or the first value of an object."""
    if isinstance(content, dict):
        return next(iter(content.values()), None)
    return content[0] if isinstance(content, list) and content else None


def _is_list_of(*keys: str) -> Callable[[Any], bool]:
    return lambda content: isinstance(content, list) and set(keys) <= _keys(_first(content))


def _has(*keys: str) -> Callable[[Any], bool]:
    return lambda content: set(keys) <= _keys(content)


def _annotations_have(key: str, *without: str) -> Callable[[Any], bool]:
    """Return a test whether all annotations of a COCO file have `key`, and none has one of `without`."""

    def has_traits(content: Any) -> bool:
        entries = content.get("annotations") if isinstance(content, dict) else None
        if not isinstance(entries, list) or not entries:
            return False
        return all(key in _keys(entry) and not _keys(entry) & set(without) for entry in entries)

    return has_traits


def _is_via(content: Any) -> bool:
    return "_via_img_metadata" in _keys(content) or {"filename", "regions"} <= _keys(_first(content))


def _is_via_3(content: Any) -> bool:
    return {"project", "config", "attribute", "file", "metadata", "view"} <= _keys(content)


def _is_superannotate(content: Any) -> bool:
    return {"instances", "metadata"} <= _keys(content) and bool(_keys(content["metadata"]))


def _is_tt100k(content: Any) -> bool:
    images = content.get("imgs") if isinstance(content, dict) else None
    return isinstance(images, dict) and {"path", "objects"} <= _keys(_first(images))


def frames_of(content: Any) -> list[dict[str, Any]]:
    """Return the images in JSON of BDD100K and Scalabel; none in JSON of others."""
    frames = content.get("frames") if isinstance(content, dict) else content
    if not isinstance(frames, list) or not all("name" in _keys(frame) for frame in frames):
        return []
    return frames if any(isinstance(frame.get("labels"), list) for frame in frames) else []


def _is_yolo_line(line: str) -> bool:
    parts = line.split()
    try:
        return len(parts) >= 5 and int(parts[0]) >= 0 and all(-0.5 <= float(part) <= 1.5 for part in parts[1:5])
    except ValueError:
        return False


_TRAITS: list[tuple[OtherFormat, Callable[[Any], bool]]] = [
    (
        OtherFormat("COCO panoptic", f"{_INSTANCES}, or use `lightning-rcnn pack panoptic`", "panoptic"),
        _annotations_have("segments_info"),
    ),
    (OtherFormat("COCO captions", _INSTANCES), _annotations_have("caption", "bbox", "segmentation")),
    (
        OtherFormat("COCO keypoints without boxes", "add a bbox to each annotation"),
        _annotations_have("keypoints", "bbox", "segmentation"),
    ),
    (
        OtherFormat("COCO results", "it holds detections; give the file with images, annotations and categories"),
        _is_list_of("image_id", "category_id", "score"),
    ),
    (_own("LabelMe", "labelme"), _has("shapes")),
    (_VIA, _is_via),
    (_own("VIA 3", "via"), _is_via_3),
    (_own("CreateML", "createml"), _is_list_of("image", "annotations")),
    (_own("CreateML", "createml"), _is_list_of("imagefilename", "annotation")),
    (_LABEL_STUDIO, _is_list_of("data", "annotations")),
    (_LABEL_STUDIO, _is_list_of("data", "completions")),
    (_LABEL_STUDIO, _is_list_of("annotator", "annotation_id")),
    (_own("Supervisely", "supervisely"), _has("objects", "size")),
    (_own("SuperAnnotate", "superannotate"), _is_superannotate),
    (_own("V7 Darwin", "darwin"), _has("item", "annotations")),
    (_own("V7 Darwin", "darwin"), _has("dataset", "image", "annotations")),
    (_own("DeepFashion2", "deepfashion2"), _has("source", "pair_id", "item1")),
    (_own("TT100K", "tt100k"), _is_tt100k),
    (_own("VoTT", "vott"), _has("assets", "tags")),
    (_own("Cityscapes", "masks"), _has("imgHeight", "imgWidth", "objects")),
    (_own("BDD100K", "bdd100k"), lambda content: bool(frames_of(content))),
    (OtherFormat("Labelbox", _EXPORT), _is_list_of("data_row")),
    (OtherFormat("Labelbox", _EXPORT), _is_list_of("Labeled Data", "Label")),
    (OtherFormat("detectron2's list of dicts", _CONVERT), _is_list_of("file_name", "annotations")),
    (OtherFormat("MMDetection", _CONVERT), _has("metainfo", "data_list")),
    (OtherFormat("MMDetection", _CONVERT), _is_list_of("filename", "ann")),
    (_own("Datumaro", "datumaro"), _has("categories", "items")),
    (OtherFormat("GeoJSON", f"{_CONVERT}, in pixels"), _has("type", "features")),
]
"""Formats and their tests; the first match counts."""
