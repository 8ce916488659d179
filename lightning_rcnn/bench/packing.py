"""Packing beside copying the same files, from and to one disk."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

from PIL import Image

from lightning_rcnn.data.pack.pixel_options import PixelOptions
from lightning_rcnn.data.pack.sound_jpeg import STRUCTURE, JpegCheck, is_sound_jpeg
from lightning_rcnn.data.pack.source import Source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.errors import InputError


def repeated(source: Source, number: int, folder: Path) -> Source:
    """Return a source of so many images, each a file of its own, by repeating those of a COCO data set.

    Args:
        source: result of `coco_source(...)`.
        number: number of images.
        folder: existing folder for the files.
    """
    items = []
    for position, item in enumerate(islice(cycle(source.items), number), start=1):
        name = f"{position:012d}{item.path.suffix}"
        shutil.copyfile(item.path, folder / name)
        items.append(item._replace(image_id=position, file_name=name, path=folder / name))
    return replace(source, items=items)


def contenders(source: Source, workers: int | None) -> dict[str, Callable[[Path], None]]:
    """Return what is timed: functions that write all images of a COCO data set into an empty folder, by their names.

    Args:
        source: result of `coco_source(...)` whose images are files of different names.
        workers: see `write_shards`.
    """

    def copy(out: Path) -> None:
        for item in source.items:
            _copy(item.path, out / item.file_name)

    def copy_and_check(out: Path) -> None:
        for item in source.items:
            _copy(item.path, out / item.file_name)
            if not is_sound_jpeg((out / item.file_name).read_bytes()):
                raise InputError(f"{item.file_name}: not a sound JPEG; time packing with a set of sound ones")

    def pack(check: JpegCheck) -> Callable[[Path], None]:
        def run(out: Path) -> None:
            write_shards(source, out / "packed", workers=workers, pixels=PixelOptions(check=check))

        return run

    return {
        "copied, headers read": copy,
        "copied and checked": copy_and_check,
        "packed, --check structure": pack(STRUCTURE),
        "packed": pack("full"),
    }


def _copy(path: Path, copy: Path) -> None:
    """Copy a file and read its header, as the least that any packing does."""
    shutil.copyfile(path, copy)
    with Image.open(copy):
        pass
