"""Shards with proposals beside the images: the bytes of the packed set, and one tar member more a sample.

The work is hours long on a large set, so it can be interrupted anywhere. The folder has a subfolder `.unfinished` till
it is whole: in it are the origin of the proposals, those of each image of the shards that are not written yet, and the
index entries of those that are. What is written there or as a shard appears under its name when it is whole.
"""

import contextlib
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import file_digest
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from rich.console import Console
from torch import Tensor

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.decode import UndecodableImage, decode_image
from lightning_rcnn.data.index import INDEX_NAME, ProposalOrigin, Shard, ShardIndex
from lightning_rcnn.data.pack.parallel import map_in_order
from lightning_rcnn.data.reader import RawSample, ShardReader, UnreadableRecordError
from lightning_rcnn.data.shards import ShardSet
from lightning_rcnn.data.stored_proposals import MEMBER, encode_proposals
from lightning_rcnn.errors import InputError
from lightning_rcnn.progress import track

Propose = Callable[[RawSample], np.ndarray]
"""From a sample to its proposals float32 [P, 5], as they are stored."""

_UNFINISHED = ".unfinished"
_ORIGIN = "origin.json"


@dataclass(frozen=True)
class FromPixels:
    """Proposals that are found in the image.

    Attributes:
        find: from uint8 [3, h, w], RGB, to float32 [P, 5].
    """

    find: Callable[[Tensor], np.ndarray]

    def __call__(self, sample: RawSample) -> np.ndarray:
        """The proposals of one sample.

        Raises:
            UndecodableImage: its image is broken.
        """
        return self.find(decode_image(sample.image, apply_exif=bool(sample.content.get("apply_exif"))))


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
    """Make proposals for a packed set, or go on where this was interrupted.

    The bytes depend on the set and `propose` alone, not on the number of processes or on interruptions. An image that
    cannot be read gets no proposals.

    Args:
        shard_set: the packed set.
        cache: for remote shards.
        out: the folder for shards with proposals; if it holds the finished work already, nothing is done.
        propose: must be picklable where `workers` is more than 1.
        method: all that decides what `propose` gives, in words.
        workers: processes; 1 for this one alone.
        console: where progress is shown.

    Returns:
        The index of the shards in `out`.

    Raises:
        InputError: the set has proposals already, `out` holds something else or cannot be written, or another process
            is at work there.
    """
    index = shard_set.index
    if index.proposals is not None:
        raise InputError(f"{index.name} has proposals already ({index.proposals.method}); give the set without them")
    if len({shard.name for shard in index.shards}) < len(index.shards):
        raise InputError(f"{index.name}: shards of the same name do not fit into one folder; give one set at a time")
    origin = ProposalOrigin(method, index.fingerprint)
    work = out / _UNFINISHED
    if (finished := _finished_index(out, origin)) is not None:
        shutil.rmtree(work, ignore_errors=True)  # there if a process was killed at the very end
        return finished
    try:
        _begin(out, origin)
        with _alone(work):
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


def _begin(out: Path, origin: ProposalOrigin) -> None:
    """Make the folders, or see that the ones that are there are of the same work."""
    work = out / _UNFINISHED
    if (work / _ORIGIN).is_file():
        _require_same(out, ProposalOrigin(**json.loads((work / _ORIGIN).read_text())), origin)
        return
    if out.exists() and (not out.is_dir() or any(path.name != _UNFINISHED for path in out.iterdir())):
        raise InputError(f"{out}: exists and holds no proposals, so it is left alone; choose another folder")
    work.mkdir(parents=True, exist_ok=True)
    _write_whole(work / _ORIGIN, json.dumps(asdict(origin)).encode())


def _require_same(out: Path, found: ProposalOrigin | None, wanted: ProposalOrigin) -> None:
    if found is None:
        raise InputError(f"{out}: holds a packed data set without proposals; choose another folder")
    if found.source != wanted.source:
        raise InputError(f"{out}: holds proposals of another data set; choose another folder")
    if found.method != wanted.method:
        raise InputError(f"{out}: holds proposals of {found.method}, not of {wanted.method}; choose another folder")


@contextlib.contextmanager
def _alone(work: Path) -> Iterator[None]:
    try:
        held = FileLock(work / "lock").acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{work.parent}: another process is making these proposals; wait for it") from error
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
    places = [
        (position, within)
        for position, (shard, entry) in enumerate(zip(shards, entries, strict=True))
        for within in range(len(shard))
        if entry is None and not _proposals_path(work, shard, within).exists()
    ]
    last_of_shard = dict(places)

    def assemble(position: int) -> Shard:
        source = cache.local_path(shard_set.addresses[position], shards[position])
        return _assemble(source, shards[position], work, out)

    numbers = [starts[position] + within for position, within in places]
    results = map_in_order(
        partial(_propose_for, reader, propose), numbers, workers, items_per_task=1, name_of=reader.place
    )
    description = f"proposing for {shard_set.index.name}"
    if len(numbers) < starts[-1]:
        description += f", {starts[-1] - len(numbers)} images before"
    with contextlib.closing(results):
        for (position, within), proposals in zip(
            places, track(results, description, console, len(places)), strict=True
        ):
            _write_whole(_proposals_path(work, shards[position], within), proposals)
            if within == last_of_shard[position]:
                entries[position] = assemble(position)
    return [entry or assemble(position) for position, entry in enumerate(entries)]


def _propose_for(reader: ShardReader, propose: Propose, number: int) -> bytes:
    """The tar member with the proposals of one sample."""
    try:
        return encode_proposals(propose(reader.read(number)))
    except (UnreadableRecordError, UndecodableImage):
        return encode_proposals(np.zeros((0, 5), np.float32))


def _proposals_path(work: Path, shard: Shard, within: int) -> Path:
    return work / f"{shard.first + within:09d}.{MEMBER}"


def _entry_path(work: Path, shard: Shard) -> Path:
    return work / f"{shard.name}.json"


def _read_entry(work: Path, out: Path, shard: Shard) -> Shard | None:
    """What the index says of a shard with proposals; None if it is not written yet."""
    path = _entry_path(work, shard)
    return Shard(**json.loads(path.read_text())) if path.exists() and (out / shard.name).exists() else None


def _assemble(source: Path, shard: Shard, work: Path, out: Path) -> Shard:
    """Write a shard from that of the source and the proposals of its images, which go when it is there."""
    proposals = [_proposals_path(work, shard, within) for within in range(len(shard))]
    offsets = [0]
    temporary = work / shard.name
    with source.open("rb") as before, temporary.open("wb") as after:
        for path, start, end in zip(proposals, shard.offsets[:-1], shard.offsets[1:], strict=True):
            before.seek(start)
            after.write(before.read(end - start) + _tar_member(path.name, path.read_bytes()))
            offsets.append(after.tell())
        after.write(bytes(2 * tarfile.BLOCKSIZE))
        after.write(bytes(-after.tell() % tarfile.RECORDSIZE))
    with temporary.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    temporary.replace(out / shard.name)
    entry = replace(shard, sha256=digest, offsets=offsets)
    _write_whole(_entry_path(work, shard), json.dumps(asdict(entry)).encode())
    for path in proposals:
        path.unlink()
    return entry


def _tar_member(name: str, content: bytes) -> bytes:
    header = tarfile.TarInfo(name)
    header.size, header.mode = len(content), 0o444
    return header.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.partial")
    temporary.write_bytes(content)
    temporary.replace(path)
