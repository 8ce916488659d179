"""`lightning-rcnn pack voc|coco|shapes`: data sets to WebDataset shards with an index."""

from pathlib import Path

from rich.console import Console

from lightning_rcnn.cli.commands.packing import chosen, chosen_names, chosen_source, write_found
from lightning_rcnn.data.pack.any_format import found_voc
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.completeness import MAX_LOSS
from lightning_rcnn.data.pack.shapes import shapes_source
from lightning_rcnn.data.pack.voc import voc_source
from lightning_rcnn.data.pack.voc_xml import Coordinates
from lightning_rcnn.data.pack.write import write_shards


def pack_voc(
    root: Path,
    out: Path,
    split: str | None = None,
    classes: str | None = None,
    coordinates: Coordinates = "one_based",
    name: str | None = None,
    shard_size: int = 256,
    workers: int | None = None,
    strict: bool = False,
    max_loss: float = MAX_LOSS,
    overwrite: bool = False,
) -> None:
    """Pack a Pascal VOC data set, or XML files in its format in any folders.

    Args:
        root: folder that holds Annotations, ImageSets and JPEGImages, such as VOCdevkit/VOC2007; without split any
            folder of XML files and images, which may be side by side or in two folders, with sub-folders.
        out: folder for shards and index; it appears when it is whole.
        split: name of a file in ImageSets/Main without suffix, such as trainval. By default all are packed, into
            OUT/train, OUT/val and so on, or the whole set into OUT where nothing splits it.
        classes: class names, separated by commas; label i is the i-th, objects of other classes are skipped. By
            default all that occur in the XML files, sorted.
        coordinates: one_based as VOC counts pixels, or zero_based for tools that write edges counted from 0.
        name: name of the data set; by default folder/split.
        shard_size: samples per shard.
        workers: reading processes; by default as many as are worth starting, at most one per core.
        strict: refuse the data set if anything has to be repaired or skipped.
        max_loss: refuse the data set if a larger share of its images, or of its objects, has to be skipped. Sound sets
            lose less than 0.01; names, sizes or classes that do not fit lose far more than 0.05. 1 refuses nothing.
        overwrite: replace a packed data set in out.
    """
    if split is None:
        found = found_voc(root, chosen_names(classes), coordinates)
        write_found(chosen(found, classes), root, out, name, shard_size, workers, strict, max_loss, overwrite)
        return
    write_shards(
        chosen_source(voc_source(root, split, classes=chosen_names(classes), coordinates=coordinates), classes),
        out,
        name=name,
        shard_size=shard_size,
        workers=workers,
        strict=strict,
        max_loss=max_loss,
        overwrite=overwrite,
        console=Console(),
    )


def pack_coco(
    images: Path,
    annotations: Path,
    out: Path,
    classes: str | None = None,
    name: str | None = None,
    shard_size: int = 256,
    workers: int | None = None,
    strict: bool = False,
    max_loss: float = MAX_LOSS,
    overwrite: bool = False,
) -> None:
    """Pack a COCO data set.

    Args:
        images: folder to which the file names in the JSON are relative.
        annotations: JSON file in COCO's format.
        out: folder for shards and index; it appears when it is whole.
        classes: class names, separated by commas, which need not all be in the file; label and id i are those of
            the i-th, objects of other classes are left out. By default all categories in the order of their ids. Two
            sets that number their categories differently are packed with the same list.
        name: name of the data set; by default the name of the JSON file.
        shard_size: samples per shard.
        workers: reading processes; by default as many as are worth starting, at most one per core.
        strict: refuse the data set if anything has to be repaired or skipped.
        max_loss: refuse the data set if a larger share of its images, or of its objects, has to be skipped. Sound sets
            lose less than 0.01; names, sizes or classes that do not fit lose far more than 0.05. 1 refuses nothing.
        overwrite: replace a packed data set in out.
    """
    write_shards(
        chosen_source(coco_source(images, annotations, classes=chosen_names(classes)), classes),
        out,
        name=name,
        shard_size=shard_size,
        workers=workers,
        strict=strict,
        max_loss=max_loss,
        overwrite=overwrite,
        console=Console(),
    )


def pack_shapes(
    out: Path,
    num: int,
    seed: int = 0,
    name: str | None = None,
    shard_size: int = 256,
    workers: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> None:
    """Generate scenes of ellipses, rectangles, triangles and stars with boxes and masks, and pack them.

    Args:
        out: folder for shards and index; it appears when it is whole.
        num: number of scenes.
        seed: random seed; another seed gives other scenes.
        name: name of the data set; by default shapes/seed.
        shard_size: samples per shard.
        workers: drawing processes; by default as many as are worth starting, at most one per core.
        strict: refuse the data set if anything has to be repaired or skipped; generated scenes never have to.
        overwrite: replace a packed data set in out.
    """
    write_shards(
        shapes_source(num, seed),
        out,
        name=name,
        shard_size=shard_size,
        workers=workers,
        strict=strict,
        overwrite=overwrite,
        console=Console(),
    )
