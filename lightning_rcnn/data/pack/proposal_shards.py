"""Write shards with proposals beside the images: the bytes of the packed set plus one tar member per sample.

The work takes hours on a large set, so it can be interrupted anywhere and resumed. Until it is complete, the folder has
a subfolder `.unfinished` with the origin of the proposals, the proposals of each image whose shard is not written yet,
and the index entries of the written shards. Every file appears under its name only when it is complete.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from rich.console import Console
from torch import Tensor

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.decode import UndecodableImage
from lightning_rcnn.data.decode_sample import decode_sample
from lightning_rcnn.data.index import INDEX_NAME, ProposalOrigin, Shard, ShardIndex
from lightning_rcnn.data.pack.parallel import map_in_order
from lightning_rcnn.data.pack.tar_shard import TarShard
from lightning_rcnn.data.pixel_format import RGB, PixelFormat
from lightning_rcnn.data.reader import RawSample, ShardReader, UnreadableRecordError
from lightning_rcnn.data.shards import ShardSet
from lightning_rcnn.data.shown_bands import shown_bands
from lightning_rcnn.data.stored_proposals import MEMBER, encode_proposals
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_write
from lightning_rcnn.progress import track

Propose = Callable[[RawSample], np.ndarray]
"""Function from a sample to its proposals float32 [P, 5], in the stored form."""

_UNFINISHED = ".unfinished"
_ORIGIN = "origin.json"


@dataclass(frozen=True)
class FromPixels:
    """Computes proposals from the pixels of an image.

    Attributes:
        search: function from pixels [C, h, w] of the format to proposals float32 [P, 5].
        pixels: pixel format of the data set.
    """

    search: Callable[[Tensor], np.ndarray]
    pixels: PixelFormat = RGB

    def __call__(self, sample: RawSample) -> np.ndarray:
        """Return the proposals of a sample.

        Raises:
            UndecodableImage: the image cannot be decoded.
        """
        return self.search(decode_sample(sample, self.pixels).pixels)


@dataclass(frozen=True)
class FromPicture:
    """Computes proposals from what pictures show of an image.

    Attributes:
        search: function from pixels uint8 [3, h, w], RGB, to proposals float32 [P, 5].
        pixels: pixel format of the data set.
    """

    search: Callable[[Tensor], np.ndarray]
    pixels: PixelFormat

    def __call__(self, image: Tensor) -> np.ndarray:
        """Return the proposals of an image [C, h, w] of the format."""
        return self.search(shown_bands(image, self.pixels))


def write_proposals(
    shard_set: ShardSet,
    cache: ShardCache,
    out: Path,
    propose: Propose,
    method: str,
    *,
    workers: int,
    console: Console,
) -> ShardIndex:
    """Write the shards of a packed set with proposals, or resume interrupted work.

    The bytes depend only on the set and `propose`, not on the number of processes or on interruptions. An image that
    cannot be read gets no proposals.

    Args:
        shard_set: packed set.
        cache: cache of remote shards.
        out: folder for the shards with proposals; if it already holds the finished work, nothing is done.
        propose: function from a sample to its proposals; picklable if `workers` is more than 1.
        method: description of everything that determines the proposals.
        workers: number of processes; 1 for this process alone.
        console: console for the progress bar.

    Returns:
        The index of the shards in `out`.

    Raises:
        InputError: the set already has proposals, `out` holds something else or cannot be written, or another process
            is writing there.
    """
    index = shard_set.index
    if index.proposals is not None:
        raise InputError(f"{index.name}: already has proposals ({index.proposals.method}); give the set without them")
    if any(shard.annotations is not None for shard in index.shards):
        raise InputError(
            f"{index.name}: shards that another program wrote have no place for proposals; make a copy with "
            "`lightning-rcnn unpack SHARDS --format coco --out COPY` and `lightning-rcnn pack coco`"
        )
    if len({shard.name for shard in index.shards}) < len(index.shards):
        raise InputError(f"{index.name}: several shards have the same name; give one set at a time")
    origin = ProposalOrigin(method, index.fingerprint)
    work = out / _UNFINISHED
    if (finished := _finished_index(out, origin)) is not None:
        shutil.rmtree(work, ignore_errors=True)  # exists if a process was killed at the very end
        return finished
    try:
        _prepare_folders(out, origin)
        with _exclusive_lock(work):
            reader = ShardReader(shard_set, cache)
            written = _write_shards(shard_set, reader, cache, out, propose, workers, console)
            finished = replace(index, shards=written, proposals=origin)
            finished.write(out)
        shutil.rmtree(work)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error}); choose another folder") from error
    return finished


def _finished_index(out: Path, origin: ProposalOrigin) -> ShardIndex | None:
    path = out / INDEX_NAME
    if not path.is_file():
        return None
    index = ShardIndex.from_json(path.read_text(), str(path))
    _require_same(out, index.proposals, origin)
    return index


def _prepare_folders(out: Path, origin: ProposalOrigin) -> None:
    """Create the folders, or check that the existing ones belong to the same work."""
    work = out / _UNFINISHED
    if (work / _ORIGIN).is_file():
        _require_same(out, ProposalOrigin(**json.loads((work / _ORIGIN).read_text())), origin)
        return
    if out.exists() and (not out.is_dir() or any(path.name != _UNFINISHED for path in out.iterdir())):
        raise InputError(f"{out}: exists and holds no proposals; choose another folder")
    _write(work / _ORIGIN, json.dumps(asdict(origin)).encode())


def _require_same(out: Path, existing: ProposalOrigin | None, wanted: ProposalOrigin) -> None:
    if existing is None:
        raise InputError(f"{out}: holds a packed data set without proposals; choose another folder")
    if existing.source != wanted.source:
        raise InputError(f"{out}: holds proposals of another data set; choose another folder")
    if existing.method != wanted.method:
        raise InputError(f"{out}: holds proposals of {existing.method}, not of {wanted.method}; choose another folder")


@contextlib.contextmanager
def _exclusive_lock(work: Path) -> Iterator[None]:
    try:
        held = FileLock(work / "lock").acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{work.parent}: another process is writing these proposals; wait for it") from error
    with held:
        yield


def _write_shards(
    shard_set: ShardSet,
    reader: ShardReader,
    cache: ShardCache,
    out: Path,
    propose: Propose,
    workers: int,
    console: Console,
) -> list[Shard]:
    work = out / _UNFINISHED
    shards = shard_set.index.shards
    starts = np.cumsum([0, *map(len, shards)]).tolist()
    entries = [_read_entry(work, out, shard) for shard in shards]
    missing = [
        (position, within)
        for position, (shard, entry) in enumerate(zip(shards, entries, strict=True))
        for within in range(len(shard))
        if entry is None and not _proposals_path(work, shard, within).exists()
    ]
    last_of_shard = dict(missing)

    def assemble(position: int) -> Shard:
        source = cache.local_path(shard_set.addresses[position], shards[position])
        return _assemble(source, shards[position], work, out)

    numbers = [starts[position] + within for position, within in missing]
    results = map_in_order(
        partial(_propose_for, reader, propose), numbers, workers, items_per_task=1, name_of=reader.location
    )
    description = f"proposing for {shard_set.index.name}"
    if len(numbers) < starts[-1]:
        description += f", {starts[-1] - len(numbers)} images already done"
    with contextlib.closing(results):
        for (position, within), proposals in zip(
            missing, track(results, description, console, len(missing)), strict=True
        ):
            _write(_proposals_path(work, shards[position], within), proposals)
            if within == last_of_shard[position]:
                entries[position] = assemble(position)
    return [entry or assemble(position) for position, entry in enumerate(entries)]


def _propose_for(reader: ShardReader, propose: Propose, number: int) -> bytes:
    """Return the tar member with the proposals of one sample."""
    try:
        return encode_proposals(propose(reader.read(number)))
    except (UnreadableRecordError, UndecodableImage):
        return encode_proposals(np.zeros((0, 5), np.float32))


def _proposals_path(work: Path, shard: Shard, within: int) -> Path:
    return work / f"{shard.first + within:09d}.{MEMBER}"


def _entry_path(work: Path, shard: Shard) -> Path:
    return work / f"{shard.name}.json"


def _read_entry(work: Path, out: Path, shard: Shard) -> Shard | None:
    """Return the index entry of a shard with proposals; None if the shard is not written yet."""
    path = _entry_path(work, shard)
    return Shard(**json.loads(path.read_text())) if path.exists() and (out / shard.name).exists() else None


def _assemble(source: Path, shard: Shard, work: Path, out: Path) -> Shard:
    """Write a shard from the source's shard and the proposals of its images, and then delete the latter."""
    proposals = [_proposals_path(work, shard, within) for within in range(len(shard))]
    offsets = [0]
    with source.open("rb") as before, atomic_write(out / shard.name) as file, ThreadPoolExecutor(1) as thread:
        after = TarShard(file, thread)
        for path, start, end in zip(proposals, shard.offsets[:-1], shard.offsets[1:], strict=True):
            before.seek(start)
            after.write(before.read(end - start))
            after.add(path.name, path.read_bytes())
            offsets.append(after.offset)
        digest = after.end().result()
    entry = replace(shard, sha256=digest, offsets=offsets)
    _write(_entry_path(work, shard), json.dumps(asdict(entry)).encode())
    for path in proposals:
        path.unlink()
    return entry


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)
