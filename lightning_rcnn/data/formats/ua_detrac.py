"""Read UA-DETRAC: an XML file for each sequence, beside a folder of frames with its name.

    DETRAC-Train-Annotations-XML/MVI_20011.xml   Insight-MVT_Annotation_Train/MVI_20011/img00001.jpg

Frames without an entry have no objects. Regions to ignore are of no class: they are left out. Frames of a sequence stay
together where a set is divided.

Source: https://detrac-db.rit.albany.edu (the format is in `UA-DETRAC toolkit`)
"""

import posixpath
import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Mapping

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.formats.coco.scalars import whole_number
from lightning_rcnn.data.formats.frames import numbered_frames
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, LabeledSplit, Labels
from lightning_rcnn.data.formats.layout import Layout, require_memory
from lightning_rcnn.data.formats.shapes import box_from_sizes, class_name_of
from lightning_rcnn.data.formats.splits import in_order, split_of_folder
from lightning_rcnn.data.formats.xml_files import MalformedXmlError, parse_xml
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural


def is_ua_detrac(layout: Layout, file: str) -> bool:
    """Return whether an XML file is of a sequence of UA-DETRAC."""
    return bool(re.search(r"<sequence\s+name=.*<(ignored_region|target_list)[\s/>]", layout.head(file), re.DOTALL))


def read_ua_detrac(layout: Layout) -> LabeledData:
    """List a data set of sequences.

    Raises:
        InputError: there is none, or a file does not parse, or a frame occurs twice or has no number.
    """
    files = [file for file in layout.with_suffix(".xml") if is_ua_detrac(layout, file)]
    if not files:
        raise InputError(f"{layout.path}: no XML file of UA-DETRAC, a sequence with ignored_region and target_list")
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for image in layout.images:
        folders[posixpath.basename(posixpath.dirname(image))].append(image)
    by_split: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for file in files:
        images = _read_sequence(layout, file, folders)
        first = next((image.file_name for image in images if image.file_name in layout.image_set), file)
        by_split[split_of_folder(first) or split_of_folder(file)] += images
    if len(by_split) > 1 and "" in by_split:
        by_split["other"] = by_split.pop("")
    splits = [LabeledSplit(name, layout.root, by_split[name], lists_all=True) for name in in_order(by_split)]
    return LabeledData(plural(len(files), "sequence"), splits)


def _read_sequence(layout: Layout, file: str, folders: Mapping[str, list[str]]) -> list[LabeledImage]:
    path = layout.root / file
    require_memory(path)
    try:
        root = parse_xml(path)
    except MalformedXmlError as error:
        raise InputError(f"{path}: malformed XML: {error}") from error
    sequence = class_name_of(root.get("name")) or posixpath.splitext(posixpath.basename(file))[0]
    frames = numbered_frames(folders.get(sequence, []), str(path))
    labels: dict[int, list[LabeledObject]] = {}
    for frame in root.iterfind("frame"):
        number = whole_number(frame.get("num"))
        if number is None or number in labels:
            raise InputError(
                f"{path}: the frame {str(frame.get('num'))[:40]!r} has no number, or occurs twice; correct or remove it"
            )
        targets = enumerate(frame.iterfind("target_list/target"), start=1)
        labels[number] = [_read_target(each, f"frame {number}, target {index}") for index, each in targets]
    ignored = [
        Finding(Defect.NO_CLASS, f"{file}, ignored region {index}")
        for index, _ in enumerate(root.iterfind("ignored_region/box"), start=1)
    ]
    return [
        LabeledImage(
            frames.get(number, f"{file} (its frame {number})"),
            Labels(labels.get(number, []), findings=ignored),
            file,
            group=sequence,
        )
        for number in sorted({*frames, *labels})
    ]


def _read_target(target: ElementTree.Element, place: str) -> LabeledObject:
    box, attribute = target.find("box"), target.find("attribute")
    name = class_name_of("" if attribute is None else attribute.get("vehicle_type"))
    sizes = [None if box is None else box.get(key) for key in ("left", "top", "width", "height")]
    return box_from_sizes(name, sizes, place)
