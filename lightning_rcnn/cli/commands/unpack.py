"""`lightning-rcnn unpack`: a packed data set as files of another format."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.formats.splits import in_order
from lightning_rcnn.data.formats.write.registry import FormatName, open_writer
from lightning_rcnn.data.index import INDEX_NAME
from lightning_rcnn.data.pack.folder import atomic_folder
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.shards import category_difference, read_shards, skeleton_difference, told_apart
from lightning_rcnn.data.unpack import write_samples
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

CACHE_LIMIT_GB = 100.0


def unpack(
    shards: str,
    /,
    format: FormatName,
    out: Path,
    cache_dir: Path | None = None,
) -> None:
    """Write a packed data set as images and annotations of another format; images stay byte for byte.

    What the format has no place for is left out, counted and printed. `lightning-rcnn pack auto OUT` packs the result.

    Args:
        shards: packed folder, shards, glob or URL, as in data.train; or a folder with a packed folder for each split.
        format: coco, yolo, voc, labelme, csv, or masks (an image file for each object).
        out: folder for images and annotations; it appears when it is whole.
        cache_dir: folder for shards that are fetched from URLs; by default the user's cache folder.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"--out {out}: exists and is not an empty folder; choose another folder")
    policy = FetchPolicy()
    cache = ShardCache(cache_dir, CACHE_LIMIT_GB * 1e9, policy)
    sets = {split: read_shards(source, policy) for split, source in _splits(shards).items()}
    first, *others = told_apart({split: shard_set.index for split, shard_set in sets.items()})
    for other in others:
        if differs := category_difference(first, other) or skeleton_difference(first, other):
            raise InputError(f"{shards}: its splits do not fit together: {differs}")
    console = Console()
    num_objects = 0
    with atomic_folder(out, overwrite=False) as folder:
        writer = open_writer(format, folder, first.categories, first.skeleton)
        for split, shard_set in sets.items():
            reader = ShardReader(shard_set, cache)
            num_objects += write_samples(reader, writer, split, shard_set.index.name, console)
        writer.finish()
    num_images = sum(len(shard_set.index) for shard_set in sets.values())
    for remark in writer.remarks(format):
        console.print(remark, soft_wrap=True, highlight=False)
    summary = f"{plural(num_images, 'image')} with {plural(num_objects, 'object')}: {out}"
    console.print(escape(summary), soft_wrap=True, highlight=False)


def _splits(shards: str) -> dict[str, str]:
    """Return split -> source; one without a name, unless the source is a folder of packed folders."""
    folder = Path(shards).expanduser()
    if folder.is_dir() and not (folder / INDEX_NAME).is_file():
        names = in_order(path.parent.name for path in folder.glob(f"*/{INDEX_NAME}"))
        if names:
            return {name: str(folder / name) for name in names}
    return {"": shards}
