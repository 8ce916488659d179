"""Pack the splits of a data set into the folders OUT/train, OUT/val and so on, which appear together."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from lightning_rcnn.data.index import ShardIndex
from lightning_rcnn.data.pack.completeness import MAX_LOSS
from lightning_rcnn.data.pack.folder import atomic_folder
from lightning_rcnn.data.pack.source import Source
from lightning_rcnn.data.pack.write import SILENT, write_shards


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
    console: Console = SILENT,
) -> dict[str, ShardIndex]:
    """Pack each source into the folder of its name in `out`; a single source without a name into `out` itself.

    If one is refused, none appears.

    Args:
        sources: split -> source.
        out: path of the folder.
        name: name of the data set; by default that of the sources.
        shard_size, workers, strict, max_loss, overwrite, console: see `write_shards`.

    Returns:
        Split -> index, as written.

    Raises:
        InputError: see `write_shards`.
    """

    def write(source: Source, folder: Path, full_name: str | None, *, replace: bool) -> ShardIndex:
        return write_shards(
            source,
            folder,
            name=full_name,
            shard_size=shard_size,
            workers=workers,
            strict=strict,
            max_loss=max_loss,
            overwrite=replace,
            console=console,
        )

    if list(sources) == [""]:
        return {"": write(sources[""], out, name, replace=overwrite)}
    with atomic_folder(out, overwrite=overwrite) as folder:
        return {
            split: write(source, folder / split, f"{name}/{split}" if name else None, replace=False)
            for split, source in sources.items()
        }
