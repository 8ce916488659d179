"""Read samples by number: one read of the sample's byte range in its shard."""

import contextlib
import json
import tarfile
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lightning_rcnn.data.annotation_files import HEADER, SampleLine, as_file, parse_line
from lightning_rcnn.data.index import Shard
from lightning_rcnn.data.shards import ShardSet
from lightning_rcnn.data.stored_proposals import MEMBER, decode_proposals
from lightning_rcnn.errors import InputError

if TYPE_CHECKING:  # shards are unpacked without torch
    from torch import Tensor


class UnreadableRecordError(Exception):
    """Raised when a sample cannot be read or decoded; the message names shard and key."""


@dataclass(frozen=True)
class RawSample:
    """The stored data of a sample.

    Attributes:
        image: bytes of the image file.
        content: JSON of the sample (see `data/index.py`).
        location: shard and key, for messages.
        proposals: float32 [P, 5], see `stored_proposals.py`; None if there are none.
        pixels: uint8 [3, h, w], RGB, instead of `image` if the sample is not a file.
    """

    image: bytes
    content: dict[str, Any]
    location: str
    proposals: np.ndarray | None = None
    pixels: "Tensor | None" = None


class SampleReader(Protocol):
    """Reads samples of a data set by number, in workers."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def read(self, number: int) -> RawSample:
        """Read one sample.

        Raises:
            UnreadableRecordError: the sample cannot be read; training leaves it out and names it.
            InputError: the run must stop.
        """

    def location(self, number: int) -> str:
        """Return the location of a sample, for messages."""


class ShardFiles(Protocol):
    """Reads parts of shards: `ShardCache`, which fetches them as a whole, or `ShardRanges`."""

    def read(self, address: str, shard: Shard, start: int, end: int) -> bytes:
        """Return the bytes of a shard from `start` to `end`, fewer at its end.

        Raises:
            InputError: it cannot be fetched.
            OSError: its file cannot be read.
        """


class ShardReader:
    """Reads samples of a shard set by number.

    Args:
        shard_set: the shards.
        files: what their bytes are read with.
    """

    def __init__(self, shard_set: ShardSet, files: ShardFiles) -> None:
        shards = shard_set.index.shards
        self._files = files
        self._addresses = list(shard_set.addresses)
        # Arrays are compact: each worker holds a copy, and a data set of a million images has a million offsets.
        self._offsets = [np.array(shard.offsets, dtype=np.int64) for shard in shards]
        self._shards = [
            Shard(shard.name, shard.sha256, shard.first, [0, shard.offsets[-1]], [], [], [], [], []) for shard in shards
        ]
        self._starts = list(accumulate((len(shard) for shard in shards), initial=0))
        # Annotations beside shards of other programs are files too, at the positions after those of the shards.
        self._annotations: dict[int, tuple[int, np.ndarray]] = {}
        for position, (shard, address) in enumerate(zip(shards, shard_set.annotation_addresses, strict=True)):
            if shard.annotations is not None and address is not None:
                self._annotations[position] = len(self._shards), np.array(shard.annotations.offsets, dtype=np.int64)
                self._shards.append(as_file(shard))
                self._addresses.append(address)

    def __len__(self) -> int:
        return self._starts[-1]

    def read(self, number: int) -> RawSample:
        """Read one sample.

        Raises:
            UnreadableRecordError: the sample is damaged, or not at the position in the index.
            InputError: its shard cannot be fetched.
        """
        position, within, key = self._locate(number)
        if position in self._annotations:
            return self._read_annotated(position, within)
        location = self.location(number)
        start, end = self._offsets[position][within : within + 2].tolist()
        try:
            image, content, proposals = _parse(self._read_range(position, start, end), key)
        except InputError:
            raise
        except Exception as error:  # the file system, and parsers of damaged bytes, raise anything
            raise UnreadableRecordError(f"{location}: {error or type(error).__name__}") from error
        return RawSample(image, content, location, proposals)

    def location(self, number: int) -> str:
        """Return shard and key of a sample, for messages."""
        position, within, key = self._locate(number)
        if position in self._annotations:
            with contextlib.suppress(ValueError, OSError, InputError):  # without its annotation, its place has to do
                key = self._read_line(position, within).key
        return f"{self._addresses[position]}, key {key}"

    def _read_annotated(self, position: int, within: int) -> RawSample:
        """Read a sample of a shard that another program wrote."""
        location = f"{self._addresses[self._annotations[position][0]]}, line {within + 1}"
        try:
            line = self._read_line(position, within)
            location = f"{self._addresses[position]}, key {line.key}"
            data = self._read_range(position, line.start - HEADER, line.end)
            _, size = _tar_header(data[:HEADER])
            if size != line.end - line.start or len(data) != HEADER + size:
                raise ValueError("not at its position, the shard was damaged or changed; index it again")
        except InputError:
            raise
        except Exception as error:  # as above
            raise UnreadableRecordError(f"{location}: {error or type(error).__name__}") from error
        return RawSample(data[HEADER:], line.content, location)

    def _read_line(self, position: int, within: int) -> SampleLine:
        file, offsets = self._annotations[position]
        start, end = offsets[within : within + 2].tolist()
        return parse_line(self._read_range(file, start, end))

    def _locate(self, number: int) -> tuple[int, int, str]:
        """Return the shard's position in the set, the sample's position in the shard, and the sample's key."""
        position = bisect_right(self._starts, number) - 1
        within = number - self._starts[position]
        return position, within, f"{self._shards[position].first + within:09d}"

    def _read_range(self, position: int, start: int, end: int) -> bytes:
        return self._files.read(self._addresses[position], self._shards[position], start, end)


def _parse(data: bytes, key: str) -> tuple[bytes, dict[str, Any], np.ndarray | None]:
    """Return the image file, the JSON and the proposals in the tar members of one sample."""
    members = dict(_tar_members(data))
    content = members.pop(f"{key}.json", None)
    proposals = members.pop(f"{key}.{MEMBER}", None)
    if content is None or len(members) != 1 or not next(iter(members)).startswith(f"{key}."):
        raise ValueError(
            "not at its position, the shard was damaged or changed since it was packed; pack the data set again"
        )
    (image,) = members.values()
    return image, json.loads(content), None if proposals is None else decode_proposals(proposals)


def _tar_members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each member in a part of a tar file that `pack` wrote: short names, plain files.

    The standard library's readers would take a tenth of the time of decoding an image.
    """
    position = 0
    while position < len(data):
        name, size = _tar_header(data[position : position + tarfile.BLOCKSIZE])
        start = position + tarfile.BLOCKSIZE
        end = start + size
        if end > len(data):
            raise ValueError(f"{name} is cut off; pack the data set again")
        yield name, data[start:end]
        position = end + -end % tarfile.BLOCKSIZE


def _tar_header(header: bytes) -> tuple[str, int]:
    """Return name and size of a member from a POSIX header, whose checksum counts its own field as blanks."""
    try:
        checksum, size = (int(field.strip(b" \0"), 8) for field in (header[148:156], header[124:136]))
    except ValueError:
        checksum, size = -1, 0
    if checksum != sum(header[:148]) + 8 * ord(" ") + sum(header[156:]):
        raise ValueError("a tar header is damaged; pack the data set again")
    return header[:100].rstrip(b"\0").decode(), size
