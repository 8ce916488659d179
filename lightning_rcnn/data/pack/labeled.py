"""Turn a data set of any format (see `data/formats/labeled.py`) into sources.

It finds the image files, numbers the classes and applies the rules to each object.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.formats.coco.segmentations import box_of_segmentation
from lightning_rcnn.data.formats.labeled import (
    LabeledData,
    LabeledImage,
    LabeledObject,
    LabeledSplit,
    Labels,
    LabelsError,
)
from lightning_rcnn.data.index import Category
from lightning_rcnn.data.keypoints import scaled_keypoints
from lightning_rcnn.data.pack.annotated import (
    AnnotatedImage,
    AnnotatedObject,
    check_annotated_image,
    read_image,
    skipped_image,
)
from lightning_rcnn.data.pack.image_folder import LocatedImages, locate_images
from lightning_rcnn.data.pack.image_info import RejectedImageError, Size
from lightning_rcnn.data.pack.source import Contents, Outcome, Source
from lightning_rcnn.data.scaling import scale_box, scale_points
from lightning_rcnn.errors import InputError
from lightning_rcnn.suggestions import did_you_mean

OBJECT_IDS_PER_IMAGE = 100_000
"""Factor of the ids of objects, which have none: object i of image n gets n * this + i."""
_IMAGES_TO_TRY = 5
_MIN_RELATIVE, _MAX_RELATIVE = -0.5, 1.5
"""Limits of relative coordinates: boxes may exceed their image, but not by this much."""


class LabeledItem(NamedTuple):
    """An image whose file was found.

    Attributes:
        image_id: position in the split, from 1.
        file_name: path of the image relative to its folder.
        path: path of the file, or a function that returns its bytes.
        labels: labels, or a function that reads them.
        findings: defects found while listing.
        group: group that the annotations state; "" if they state none.
    """

    image_id: int
    file_name: str
    path: Path | Callable[[], bytes]
    labels: Labels | Callable[[], Labels]
    findings: tuple[Finding, ...] = ()
    group: str = ""


def labeled_sources(data: LabeledData, name: str, classes: Sequence[str] | None = None) -> dict[str, Source]:
    """Return the source of each split, by the split's name; all have the same classes.

    Args:
        data: data set.
        name: name of the set for messages.
        classes: names of the classes; the i-th gets label i, and objects of other classes are left out. By default all
            of the data set.

    Raises:
        InputError: there is no class or no image, or `classes` names classes that the set lacks.
    """
    categories = categories_of(data, name, classes)
    labels = {category.name: category.label for category in categories}
    num_keypoints = len(data.skeleton or ())
    read = partial(read_labeled_item, labels=labels, chosen=classes is not None, num_keypoints=num_keypoints)
    located = _locate(data.splits)
    for split in {split.folder: split for split in reversed(data.splits) if split.lists_all}.values():
        split.log.add(Finding(Defect.UNLISTED_FILE, file) for file in located[split.folder].unlisted)
    sources = {}
    for split in data.splits:
        files = located[split.folder]
        items, left_out = _items(split, files)
        full_name = f"{name}/{split.name}" if split.name else name
        sources[split.name] = Source(
            full_name,
            categories,
            items,
            read,
            split.log,
            left_out,
            name_of=attrgetter("file_name"),
            labels_of=partial(_labels_of, labels=labels),
            group_of=attrgetter("group"),
            skeleton=data.skeleton,
            needs_python=_has_masks(split),
        )
    return sources


def _labels_of(item: LabeledItem, labels: dict[str, int]) -> set[int]:
    try:
        objects = _read_labels(item.labels).objects
    except LabelsError:
        return set()
    names = {each.class_name for each in objects if each.lost is None and not each.iscrowd}
    return {labels[name] for name in names if name is not None and name in labels}


def read_labeled_item(item: LabeledItem, labels: dict[str, int], *, chosen: bool, num_keypoints: int = 0) -> Outcome:
    """Read the labels and the file of one image and apply the rules.

    Args:
        item: image.
        labels: class name -> label.
        chosen: whether the user requested these classes, so that objects of other classes are left out.
        num_keypoints: number of keypoints in the skeleton of the data set; 0 without one.
    """
    try:
        stated = _read_labels(item.labels)
    except LabelsError as error:
        return Outcome(None, [Finding(Defect.MALFORMED_LABELS, f"{item.file_name}: {error}")], 0)
    findings = [*item.findings, *stated.findings]
    wanted = []
    for number, labeled in enumerate(stated.objects, start=1):
        if chosen and labeled.lost is None and labeled.class_name not in (None, *labels):
            location = f"{item.file_name}, {labeled.place or f'object {number}'}, {labeled.class_name}"
            findings.append(Finding(Defect.OTHER_CLASS, location))
        else:
            wanted.append((number, labeled))
    try:
        read = item.path.read_bytes if isinstance(item.path, Path) else item.path
        data, info = read_image(read, item.file_name)
        objects = []
        for number, labeled in wanted:
            defects, annotated = _annotated(
                item.image_id * OBJECT_IDS_PER_IMAGE + number, labeled, labels, info.displayed
            )
            place = f"{item.file_name}, {labeled.place or f'object {number}'}"
            findings += [Finding(defect, place) for defect in defects]
            if annotated is not None:
                objects.append(annotated)
        size = info.displayed if stated.size is None else stated.size
        path = Path(item.file_name)
        image = AnnotatedImage(item.image_id, item.file_name, path, size, objects, num_keypoints=num_keypoints)
        outcome = check_annotated_image(image, data, info)
    except RejectedImageError as error:
        return skipped_image(item.file_name, len(wanted), error)
    if wanted and not objects:  # the shared rules see an image without objects
        emptied = Finding(Defect.EMPTIED_IMAGE, item.file_name)
        outcome = outcome._replace(
            findings=[emptied if each.defect is Defect.EMPTY_IMAGE else each for each in outcome.findings]
        )
    return outcome._replace(findings=findings + outcome.findings, num_objects=len(wanted))


def _read_labels(labels: Labels | Callable[[], Labels]) -> Labels:
    return labels if isinstance(labels, Labels) else labels()


def _annotated(
    object_id: int, labeled: LabeledObject, labels: dict[str, int], size: Size
) -> tuple[list[Defect], AnnotatedObject | None]:
    """Return the object in pixels of an image of this (width, height), or None to skip it; and its defects."""
    if labeled.lost is not None:
        return [labeled.lost], None
    edges, segmentation, keypoints = labeled.edges, labeled.segmentation, labeled.keypoints
    if edges is None and (box := box_of_segmentation(segmentation)) is not None:
        edges = (box[0], box[1], box[0] + box[2], box[1] + box[3])
    if labeled.is_relative and edges is not None:
        if min(edges) < _MIN_RELATIVE or max(edges) > _MAX_RELATIVE:
            return [Defect.BEYOND_RELATIVE], None
        edges, segmentation = scale_box(edges, *size), scale_points(segmentation, *size)
        keypoints = keypoints and scaled_keypoints(keypoints, *size)
    label = None if labeled.class_name is None else labels.get(labeled.class_name)
    flags = labeled.iscrowd, labeled.difficult
    annotated = AnnotatedObject(object_id, edges, label, *flags, segmentation=segmentation, keypoints=keypoints)
    crowd = [Defect.CROWD] if labeled.iscrowd else []
    return [*labeled.defects, *crowd], annotated


def categories_of(data: LabeledData, name: str, classes: Sequence[str] | None) -> list[Category]:
    """Return the classes of a data set with labels 1..K; see `labeled_sources`."""
    known = data.class_names if data.class_names is not None else _occurring_classes(data.splits)
    if classes is None:
        chosen = known
    else:
        chosen = list(classes)
        if len(set(chosen)) < len(chosen):
            raise InputError(f"--classes {', '.join(chosen)}: a name occurs twice; give each name once")
        for class_name in chosen:
            hint = did_you_mean(class_name, set(known) - set(chosen))
            if class_name not in known and (hint or not set(known) & set(chosen)) and known:
                some = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
                raise InputError(f"--classes: {name} has no class {class_name!r}{hint or f'; it has {some}'}")
        absent = [class_name for class_name in chosen if class_name not in known]
        data.splits[0].log.add(Finding(Defect.ABSENT_CLASS, class_name) for class_name in absent)
    if not chosen:
        raise InputError(f"{name}: {_why_no_classes(data)}")
    return [Category(label, class_name, label) for label, class_name in enumerate(chosen, start=1)]


def _why_no_classes(data: LabeledData) -> str:
    """Say why no class is known, with the first object that shows it, and the way out."""
    objects = [
        (f"{image.file_name}, {labeled.place or f'object {number}'}", labeled.lost)
        for split in data.splits
        for image in split.images
        for number, labeled in enumerate(_readable_objects(image), start=1)
    ]
    without_class = next((place for place, lost in objects if lost in (None, Defect.UNKNOWN_CLASS)), None)
    if objects and without_class is None:
        place, lost = objects[0]
        reason = lost.label if lost else ""
        return (
            f"no object can be read (first: {place}: {reason}); correct them, or yield the samples from Python with "
            "`pack_samples`"
        )
    first = f" (first: {without_class}: {Defect.UNKNOWN_CLASS.label})" if without_class else ""
    return f"no object has a class{first}; name the classes with --classes to pack it"


def _occurring_classes(splits: Iterable[LabeledSplit]) -> list[str]:
    names = {
        labeled.class_name
        for split in splits
        for image in split.images
        for labeled in _readable_objects(image)
        if labeled.class_name
    }
    return sorted(names, key=int) if names and all(map(str.isdecimal, names)) else sorted(names)


def _locate(splits: Sequence[LabeledSplit]) -> dict[Path, LocatedImages]:
    """Find the files of all splits together: a name in one split must not be taken for a file of another one."""
    names: defaultdict[Path, list[str]] = defaultdict(list)
    for split in splits:
        names[split.folder] += [image.file_name for image in split.images if image.content is None]
    return {folder: locate_images(folder, written) for folder, written in names.items()}


def _items(split: LabeledSplit, located: LocatedImages) -> tuple[list[LabeledItem], Contents]:
    stated_in: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for image in split.images:
        if image.content is None:
            stated_in[located.files.get(image.file_name, image.file_name)].append(image)
    items = []
    lost_images, lost_objects = split.num_lost, 0
    for number, image in enumerate(split.images, start=1):
        if image.content is not None:
            items.append(LabeledItem(number, image.file_name, image.content, image.labels, (), image.group))
            continue
        file = located.files.get(image.file_name)
        rivals = stated_in[file or image.file_name]
        findings = located.findings_by_name.get(image.file_name, [])
        if len(rivals) > 1:
            files = " and ".join(dict.fromkeys(rival.stated_in or rival.file_name for rival in rivals))
            split.log.add([Finding(Defect.TWO_ANNOTATION_FILES, f"{file or image.file_name}: {files}")])
        elif file is not None:
            items.append(LabeledItem(number, file, split.folder / file, image.labels, tuple(findings), image.group))
            continue
        elif image.embedded is not None:
            embedded = (Finding(Defect.EMBEDDED_IMAGE, image.file_name),)
            items.append(LabeledItem(number, image.file_name, image.embedded, image.labels, embedded, image.group))
            continue
        else:
            split.log.add(findings)
        lost_images += 1
        lost_objects += _num_objects(image)
    return items, Contents(lost_images, lost_objects)


def _num_objects(image: LabeledImage) -> int:
    return len(_readable_objects(image))


def _has_masks(split: LabeledSplit) -> bool:
    """Return whether the first images have masks; to read more of them takes time."""
    return any(each.segmentation for image in islice(split.images, _IMAGES_TO_TRY) for each in _readable_objects(image))


def _readable_objects(image: LabeledImage) -> Sequence[LabeledObject]:
    """Return the objects of an image; none if its labels cannot be read, which is reported when they are packed."""
    try:
        return _read_labels(image.labels).objects
    except LabelsError:
        return ()
