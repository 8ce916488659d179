"""`lightning-rcnn pack webdataset`: an index beside WebDataset shards that another program wrote."""

import glob
from pathlib import Path
from typing import Literal

from braceexpand import braceexpand
from rich.console import Console
from rich.markup import escape

from lightning_rcnn.cli.commands.packing import read_pairs
from lightning_rcnn.data.formats.json_fields import FIELDS
from lightning_rcnn.data.pack.class_choice import read_choice, with_targets
from lightning_rcnn.data.pack.completeness import MAX_LOSS
from lightning_rcnn.data.pack.pixel_options import PixelOptions
from lightning_rcnn.data.pack.sound_jpeg import FULL, JpegCheck
from lightning_rcnn.data.pack.webdataset import read_webdataset
from lightning_rcnn.data.pack.write_index import write_index
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural


def pack_webdataset(
    shards: str,
    /,
    map: str | None = None,
    boxes: Literal["auto", "xyxy", "xywh", "cxcywh"] = "auto",
    class_names: str | None = None,
    classes: str | None = None,
    channels: str = "auto",
    range: str = "auto",
    bands: str | None = None,
    max_pixels: int | None = None,
    check: JpegCheck = FULL,
    name: str | None = None,
    workers: int | None = None,
    strict: bool = False,
    max_loss: float = MAX_LOSS,
    overwrite: bool = False,
) -> None:
    """Index WebDataset shards of images and JSON where they are, without a copy of the images.

    Beside the shards appear index.json, and for each shard the annotations that training reads.

    Args:
        shards: folder with tar files, one tar file, or a glob or brace range of them in quotes.
        map: where the fields are that are not recognized, such as boxes=objects.bbox,labels=objects.category. Fields
            are boxes, labels, masks, crowd, difficult, width, height, file_name and image_id, paths in the JSON; and
            image and json, the extensions of the members.
        boxes: form of the boxes, corners, corner and size, or center and size; auto takes the only form in which they
            lie in their images, and refuses if several do. Shares of the image's size are recognized.
        class_names: names of the classes in the JSON, such as 0=cat,1=dog; by default as they are written.
        classes: class names, separated by commas; label i is the i-th, objects of other classes are left out.
        channels: auto keeps what the images have if all are alike, and makes RGB of 8 bits of gray, color and mixed
            images; rgb does so with all images; a number of channels is required of all. See `pack auto`.
        range: values that become black and white where more than 8 bits or other channels are kept: auto, full,
            percentile, or two numbers, such as 0,4095. See `pack auto`.
        bands: one or three channels, from 1, that pictures show, such as 4,3,2; by default the first three or the
            first.
        max_pixels: largest number of pixels of an image; by default 178956970.
        check: full reads all bits of each image, structure looks at JPEGs only for headers, markers and the end. See
            `pack auto`.
        name: name of the data set; by default that of the folder.
        workers: images that are read at the same time; by default one per core.
        strict: refuse the data set if anything has to be repaired or skipped.
        max_loss: refuse the data set if a larger share of its images, or of its objects, has to be skipped.
        overwrite: replace the index that this command wrote before.
    """
    pixels = PixelOptions(channels, range, bands, max_pixels, check)
    paths = _tar_files(shards)
    given = read_pairs(map, "--map", ("image", "json", *FIELDS))
    choice = None if classes is None else read_choice(classes)
    foreign = read_webdataset(
        paths,
        name or paths[0].resolve().parent.name,
        given,
        None if boxes == "auto" else boxes,
        read_pairs(class_names, "--class_names"),
        choice.requested if choice else None,
    )
    if choice:
        foreign = foreign._replace(source=with_targets(foreign.source, choice))
    console = Console()
    console.print(escape(foreign.title), soft_wrap=True, highlight=False)
    index = write_index(
        foreign,
        workers=workers,
        strict=strict,
        max_loss=max_loss,
        overwrite=overwrite,
        pixels=pixels,
        console=console,
    )
    folder = paths[0].parent
    counts = f"{plural(len(index), 'sample')} in {plural(len(index.shards), 'shard')}"
    summary = f"indexed {counts}; train with --data.train {folder}"
    console.print(escape(summary), soft_wrap=True, highlight=False)


def _tar_files(shards: str) -> list[Path]:
    """Return the tar files that a folder, a name, a glob or a brace range means."""
    folder = Path(shards).expanduser()
    if folder.is_dir():
        paths = sorted([*folder.glob("*.tar"), *folder.glob("*.tar.*"), *folder.glob("*.tgz")])
    elif folder.is_file():
        paths = [folder]
    else:
        patterns = [str(Path(each).expanduser()) for each in braceexpand(shards)]
        paths = [Path(path) for each in patterns for path in (sorted(glob.glob(each)) or [each])]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such tar file; give a folder with tar files, or a glob in quotes")
    if not paths:
        raise InputError(f"{shards}: no tar files; give the folder that holds the shards")
    return paths
