"""Hand the samples of a packed data set to a writer of another format."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from lightning_rcnn.data.decode import UndecodableImage, exif_orientation, open_image
from lightning_rcnn.data.formats.write.base import FormatWriter, WrittenImage, WrittenObject
from lightning_rcnn.data.index import LABEL_LISTS
from lightning_rcnn.data.reader import RawSample, SampleReader, UnreadableRecordError
from lightning_rcnn.errors import InputError
from lightning_rcnn.progress import track


def write_samples(reader: SampleReader, writer: FormatWriter, split: str, name: str, console: Console) -> int:
    """Write all samples of a packed set; the caller calls the writer's `finish`.

    Args:
        reader: reader of the set.
        writer: writer of a format.
        split: name of the split; empty for a set that is not split.
        name: name of the set, for the progress bar.
        console: console for the progress bar.

    Returns:
        The number of objects in the set.

    Raises:
        InputError: a sample cannot be read, or the format cannot say what must be said.
    """
    num_objects = 0
    for number in track(range(len(reader)), f"unpacking {name}", console, len(reader)):
        try:
            image = written_image(reader.read(number))
        except UnreadableRecordError as error:
            raise InputError(f"{error}; nothing was written") from error
        num_objects += len(image.objects)
        writer.write(image, split)
    return num_objects


def written_image(raw: RawSample) -> WrittenImage:
    """Return a sample in the form that writers take.

    Raises:
        UnreadableRecordError: its JSON is not that of a sample.
    """
    content = raw.content
    try:
        negative, not_exhaustive = map(content.get, LABEL_LISTS)
        return WrittenImage(
            image_id=content["image_id"],
            file_name=content["file_name"],
            data=raw.image,
            width=content["width"],
            height=content["height"],
            objects=[_written_object(annotation) for annotation in content["annotations"]],
            follows_exif=bool(content.get("apply_exif")) or not _is_turned(raw.image),
            negative_labels=negative,
            not_exhaustive_labels=not_exhaustive,
        )
    except (KeyError, TypeError) as error:
        raise UnreadableRecordError(
            f"{raw.location}: its JSON is not that of a sample ({error!r}); pack the data set again"
        ) from error


def _written_object(annotation: Mapping[str, Any]) -> WrittenObject:
    return WrittenObject(
        box=annotation["bbox"],
        label=annotation["label"],
        segmentation=annotation.get("segmentation"),
        iscrowd=annotation["iscrowd"],
        difficult=annotation["difficult"],
        area=annotation["area"],
        keypoints=annotation.get("keypoints", ()),
        num_keypoints=annotation.get("num_keypoints"),
    )


def _is_turned(data: bytes) -> bool:
    """Return whether an image has an EXIF orientation; one that does not open has none that counts."""
    try:
        return exif_orientation(open_image(data)) != 1
    except UndecodableImage:
        return False
