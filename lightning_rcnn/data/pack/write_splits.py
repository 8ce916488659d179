"""Pack the splits of a data set into the folders OUT/train, OUT/val and so on, which appear together."""

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from pathlib import Path

from rich.console import Console

from lightning_rcnn.data.index import ShardIndex, pixel_difference
from lightning_rcnn.data.pack.completeness import MAX_LOSS
from lightning_rcnn.data.pack.folder import atomic_folder
from lightning_rcnn.data.pack.pixel_options import PixelOptions
from lightning_rcnn.data.pack.source import Source
from lightning_rcnn.data.pack.write import SILENT, write_shards
from lightning_rcnn.data.pixel_format import united
from lightning_rcnn.errors import InputError


def write_splits(
    sources: Mapping[str, Source],
    out: Path,
    *,
    name: str | None = None,
    shard_size: int = 256,
    workers: int | None = None,
    strict: bool = False,
    max_loss: float = MAX_LOSS,
    overwrite: bool = False,
    pixels: PixelOptions = PixelOptions(),
    console: Console = SILENT,
) -> dict[str, ShardIndex]:
    """Pack each source into the folder of its name in `out`; a single source without a name into `out` itself.

    If one is refused, none appears.

    Args:
        sources: split -> source.
        out: path of the folder.
        name: name of the data set; by default that of the sources.
        shard_size, workers, strict, max_loss, overwrite, pixels, console: see `write_shards`. All splits get one range
            of values, which holds that of each.

    Returns:
        Split -> index, as written.

    Raises:
        InputError: see `write_shards`; or the splits differ in their channels.
    """

    def write(source: Source, folder: Path, full_name: str | None, *, overwrite: bool) -> ShardIndex:
        return write_shards(
            source,
            folder,
            name=full_name,
            shard_size=shard_size,
            workers=workers,
            strict=strict,
            max_loss=max_loss,
            overwrite=overwrite,
            pixels=pixels,
            console=console,
        )

    if list(sources) == [""]:
        return {"": write(sources[""], out, name, overwrite=overwrite)}
    with atomic_folder(out, overwrite=overwrite, splits=sources) as folder:
        indexes = {
            split: write(source, folder / split, f"{name}/{split}" if name else None, overwrite=False)
            for split, source in sources.items()
        }
        return _with_one_range(indexes, folder)


def _with_one_range(indexes: dict[str, ShardIndex], folder: Path) -> dict[str, ShardIndex]:
    first, *others = indexes.values()
    for other in others:
        if difference := pixel_difference(first, other):
            raise InputError(f"{difference}; pack them with the same --channels")
    pixels = reduce(united, (index.pixels for index in indexes.values()))
    for split, index in indexes.items():
        if index.pixels != pixels:
            indexes[split] = replace(index, pixels=pixels)
            indexes[split].write(folder / split)
    return indexes
