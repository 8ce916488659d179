"""Write an index, and a file of annotations for each shard, beside shards that another program wrote."""

import hashlib
import json
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_rcnn.data.annotation_files import ANNOTATIONS_SUFFIX
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.index import INDEX_NAME, AnnotationFile, Shard, ShardIndex, distinct_labels
from lightning_rcnn.data.pack.completeness import MAX_LOSS
from lightning_rcnn.data.pack.pixel_options import PixelOptions
from lightning_rcnn.data.pack.webdataset import BEGIN, SHARD, ForeignSet
from lightning_rcnn.data.pack.write import SILENT, write_shards
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_write


def write_index(
    foreign: ForeignSet,
    *,
    workers: int | None = None,
    strict: bool = False,
    max_loss: float = MAX_LOSS,
    overwrite: bool = False,
    pixels: PixelOptions = PixelOptions(),
    console: Console = SILENT,
) -> ShardIndex:
    """Apply the rules for bad data to the samples, and write what they leave beside the shards.

    The index appears last, so that a set is either indexed as a whole or not.

    Args:
        foreign: the shards.
        workers, strict, max_loss, pixels, console: see `write_shards`.
        overwrite: whether to replace an index that was written here before.

    Returns:
        The index, as written.

    Raises:
        InputError: see `write_shards`; or the shards are in several folders, or have an index.
    """
    folders = {shard.parent for shard in foreign.ends}
    if len(folders) > 1:
        raise InputError(
            f"{' and '.join(sorted(map(str, folders))[:2])}: the index lies beside the shards, so they have to be in "
            "one folder; index each folder by itself, and give both to data.train"
        )
    (folder,) = folders
    _require_replaceable(folder, overwrite)
    with tempfile.TemporaryDirectory() as temporary:  # the packed set without images
        packed = Path(temporary) / "set"
        index = write_shards(
            foreign.source,
            packed,
            workers=workers,
            strict=strict,
            max_loss=max_loss,
            pixels=pixels,
            console=console,
        )
        records = _records(packed)
    try:
        shards: list[Shard] = []
        for path, end in foreign.ends.items():
            if records[path.name]:
                shards.append(_write_annotations(path, end, sum(map(len, shards)), records[path.name]))
        index = replace(index, shards=shards)
        index.write(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); link the shards into a folder of yours with `ln -s`"
        ) from error
    return index


def _require_replaceable(folder: Path, overwrite: bool) -> None:
    path = folder / INDEX_NAME
    if not path.exists():
        return
    index = ShardIndex.from_json(path.read_text(), str(path))
    if any(shard.annotations is None for shard in index.shards):
        raise InputError(f"{folder}: is a packed data set already; train on it as it is")
    if not overwrite:
        raise InputError(f"{path}: these shards have an index; use it, or add --overwrite to write it again")


def _records(packed: Path) -> defaultdict[str, list[dict[str, Any]]]:
    """Return the JSON of the samples of each shard, in order."""
    reader = ShardReader(read_shards(str(packed)), ShardCache(None, 0, FetchPolicy()))
    records: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for number in range(len(reader)):
        record = reader.read(number).content
        records[record.pop(SHARD)].append(record)
    return records


def _write_annotations(path: Path, end: int, first: int, records: list[dict[str, Any]]) -> Shard:
    """Write the annotations of a shard, and return its entry in the index."""
    begins = [record.pop(BEGIN) for record in records]
    lines = [json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records]
    positions = [0]
    for line in lines:
        positions.append(positions[-1] + len(line))
    annotations = path.with_name(f"{path.stem}{ANNOTATIONS_SUFFIX}")
    with atomic_write(annotations) as file:
        file.writelines(lines)
    with path.open("rb") as shard:
        digest = hashlib.file_digest(shard, "sha256").hexdigest()
    return Shard(
        name=path.name,
        sha256=digest,
        first=first,
        offsets=[*begins, end],
        image_ids=[record["image_id"] for record in records],
        widths=[record["width"] for record in records],
        heights=[record["height"] for record in records],
        objects=[len(record["annotations"]) for record in records],
        classes=[distinct_labels(record["annotations"]) for record in records],
        annotations=AnnotationFile(annotations.name, hashlib.sha256(b"".join(lines)).hexdigest(), positions),
    )
