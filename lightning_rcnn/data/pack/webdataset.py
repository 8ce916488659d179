"""Read WebDataset shards that another program wrote, with images and JSON, as a source.

The samples stay in their shards; `write_index.py` writes an index and their annotations beside them.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from lightning_rcnn.data.annotation_files import SOURCE
from lightning_rcnn.data.decode import UndecodableImage, open_image
from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.formats.box_forms import choose_form
from lightning_rcnn.data.formats.coco.relative import are_relative, polygons_of
from lightning_rcnn.data.formats.coco.scalars import numbers, whole_number
from lightning_rcnn.data.formats.coco.segmentations import read_segmentation
from lightning_rcnn.data.formats.json_fields import (
    BoxForm,
    as_dictionary,
    boxes_of,
    column,
    find_fields,
    read_objects,
    size_of,
)
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledSplit, Labels, LabelsError
from lightning_rcnn.data.formats.webdataset_shards import ForeignSample, list_samples, read_member
from lightning_rcnn.data.pack.labeled import LabeledItem, categories_of, read_labeled_item
from lightning_rcnn.data.pack.source import Contents, Outcome, Source
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

SHARD, BEGIN = "shard", "begin"
"""Keys of a packed sample's JSON: name of its shard, and first byte of its first header."""
_TO_TRY = 400
"""Samples by which fields and the form of boxes are recognized, spread over the set."""


class ForeignItem(NamedTuple):
    """A sample as an item of a source."""

    image_id: int
    sample: ForeignSample

    def __str__(self) -> str:
        return str(self.sample)


class ForeignSet(NamedTuple):
    """Shards of another program, ready to be indexed.

    Attributes:
        source: the samples; their JSON says where they are, and they are packed without their images.
        ends: shard -> the byte where its last sample ends.
        title: what was found, for the user.
    """

    source: Source
    ends: dict[Path, int]
    title: str


def read_webdataset(
    shards: Sequence[Path],
    name: str,
    given: Mapping[str, str],
    form: BoxForm | None = None,
    class_names: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
) -> ForeignSet:
    """List the samples of shards.

    Args:
        shards: tar files.
        name: name of the set for messages.
        given: fields that the user named; see `FIELDS`.
        form: form of the boxes; None to recognize it.
        class_names: class as written -> its name.
        classes: names of the classes to use, in the order of their labels; by default all.

    Raises:
        InputError: a shard cannot be read, the fields or the form of boxes cannot be recognized, or there are no
            samples.
    """
    log = DefectLog()
    samples, ends = [], {}
    for shard in shards:
        listed, ends[shard] = list_samples(shard, given)
        samples += listed
    usable = [sample for sample in samples if _is_whole(sample, log)]
    if not usable:
        raise InputError(
            f"{name}: {plural(len(samples), 'sample')}, none with an image and JSON; name their extensions with "
            "--map image=EXT,json=EXT"
        )
    tried = usable[:: max(1, len(usable) // _TO_TRY)]
    fields = find_fields(_contents(tried), given, name)
    sizes_and_boxes = list(_boxes(tried, fields))
    if "boxes" in fields and form is None:
        form = choose_form(sizes_and_boxes, f"{name}, {fields['boxes']}")
    form = form or "xyxy"
    is_relative = _is_relative(tried, sizes_and_boxes, fields)
    read = partial(_read_labels, fields=fields, form=form, class_names=class_names or {}, is_relative=is_relative)
    names = list(dict.fromkeys(class_names.values())) if class_names else _occurring_classes(usable, read)
    data = LabeledData("", [LabeledSplit("", shards[0].parent, [], log)], names)
    categories = categories_of(data, name, classes)
    labels = {category.name: category.label for category in categories}
    source = Source(
        name,
        categories,
        [ForeignItem(*pair) for pair in zip(_image_ids(usable, fields), usable, strict=True)],
        partial(_read_item, fields=fields, read=read, labels=labels, chosen=classes is not None),
        log,
        Contents(images=len(samples) - len(usable)),
        writes_images=False,
    )
    forms = f", as {'shares of the size, ' if is_relative else ''}{form}" if "boxes" in fields else ""
    shown = ", ".join(f"{field} in {path}{forms if field == 'boxes' else ''}" for field, path in fields.items())
    counts = f"{plural(len(shards), 'shard')}, {plural(len(samples), 'sample')}"
    return ForeignSet(source, ends, f"found WebDataset ({counts}; {shown})")


def _read_item(
    item: ForeignItem,
    fields: Mapping[str, str],
    read: Callable[[ForeignSample], Labels],
    labels: dict[str, int],
    *,
    chosen: bool,
) -> Outcome:
    """Read a sample. Its image stays where it is, and its JSON says where."""
    sample = item.sample
    assert sample.image is not None
    labeled = LabeledItem(
        item.image_id, str(sample), partial(read_member, sample.shard, sample.image), partial(read, sample)
    )
    outcome = read_labeled_item(labeled, labels, chosen=chosen)
    # A sample has no file name that could be wrong.
    findings = [each for each in outcome.findings if each.defect not in (Defect.UNUSUAL_NAME, Defect.WRONG_EXTENSION)]
    if outcome.sample is None:
        return outcome._replace(findings=findings)
    source = {"key": sample.key, "start": sample.image.start, "end": sample.image.end}
    record = outcome.sample.record | {
        "file_name": _file_name(sample, fields),
        SOURCE: source,
        SHARD: sample.shard.name,
        BEGIN: sample.begin,
    }
    return outcome._replace(sample=outcome.sample._replace(record=record), findings=findings)


def _file_name(sample: ForeignSample, fields: Mapping[str, str]) -> str:
    """Return the stated file name, or that of the image in the shard."""
    stated = column(_content(sample), fields["file_name"]) if "file_name" in fields else []
    return stated[0] if stated and isinstance(stated[0], str) and stated[0] else f"{sample.key}.{sample.extension}"


def _occurring_classes(samples: Sequence[ForeignSample], read: Callable[[ForeignSample], Labels]) -> list[str]:
    """Return the classes that occur: sorted, numbers by their values."""
    names: set[str] = set()
    for sample in samples:
        with contextlib.suppress(LabelsError):  # reported when it is read
            names.update(each.class_name for each in read(sample).objects if each.class_name is not None)
    return sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name))


def _is_whole(sample: ForeignSample, log: DefectLog) -> bool:
    if sample.image is None:
        log.add([Finding(Defect.MISSING_IMAGE, str(sample))])
    elif sample.content is None:
        log.add([Finding(Defect.IMAGE_WITHOUT_ANNOTATION, str(sample))])
    return sample.image is not None and sample.content is not None


def _content(sample: ForeignSample) -> dict[str, Any]:
    assert sample.content is not None
    try:
        return as_dictionary(json.loads(read_member(sample.shard, sample.content)))
    except (OSError, ValueError, RecursionError) as error:
        raise LabelsError(str(error) if isinstance(error, LabelsError) else f"malformed JSON ({error})") from error


def _contents(samples: Sequence[ForeignSample]) -> Iterator[dict[str, Any]]:
    for sample in samples:
        try:
            yield _content(sample)
        except LabelsError:  # reported when it is read
            continue


def _read_labels(
    sample: ForeignSample, fields: Mapping[str, str], form: BoxForm, class_names: Mapping[str, str], is_relative: bool
) -> Labels:
    return read_objects(_content(sample), fields, form, class_names, is_relative)


def _boxes(
    samples: Sequence[ForeignSample], fields: Mapping[str, str]
) -> Iterator[tuple[tuple[int, int], list[list[float]]]]:
    """Yield the (width, height) and the boxes of each sample that has some."""
    for sample in samples if "boxes" in fields else ():
        try:
            content = _content(sample)
            boxes = [box for each in boxes_of(content, fields["boxes"]) if (box := numbers(each)) and len(box) == 4]
            size = size_of(content, fields)
            if boxes and size is None and sample.image is not None:
                size = open_image(read_member(sample.shard, sample.image)).size
        except (LabelsError, UndecodableImage, OSError):
            continue
        if boxes and size:
            yield size, boxes


def _is_relative(
    samples: Sequence[ForeignSample],
    sizes_and_boxes: Sequence[tuple[Any, list[list[float]]]],
    fields: Mapping[str, str],
) -> bool:
    """Return whether boxes, or else polygons, are shares of the image's size."""
    if "boxes" in fields:
        return are_relative(box for _, boxes in sizes_and_boxes for box in boxes)
    masks = []
    for content in _contents(samples):
        try:
            masks += column(content, fields["masks"])
        except LabelsError:
            continue
    return are_relative(polygon for mask in masks for polygon in polygons_of(read_segmentation(mask)))


def _image_ids(samples: Sequence[ForeignSample], fields: Mapping[str, str]) -> list[int]:
    """Return the stated ids if every sample has one of its own, or else the positions from 1."""
    positions = list(range(1, len(samples) + 1))
    if "image_id" not in fields:
        return positions
    stated = []
    for sample in samples:
        try:
            image_id = whole_number(column(_content(sample), fields["image_id"])[0])
        except (LabelsError, IndexError):
            return positions
        if image_id is None or not 0 <= image_id < 2**53:
            return positions
        stated.append(image_id)
    return stated if len(set(stated)) == len(stated) else positions
