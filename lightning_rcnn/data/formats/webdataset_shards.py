"""List the samples of WebDataset shards that another program wrote, without reading their images.

Members are grouped as webdataset does: by the path up to the first dot of the name, with the rest as extension.
"""

import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from webdataset.tariterators import base_plus_ext

from lightning_rcnn.data.image_formats import IMAGE_SUFFIXES
from lightning_rcnn.errors import InputError

_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
"""First bytes of compressed files -> the command that unpacks them."""


class Member(NamedTuple):
    """The content of a file in a tar file: its first byte and the byte after its last."""

    start: int
    end: int


class ForeignSample(NamedTuple):
    """One sample of a shard.

    Attributes:
        shard: path of the tar file.
        key: key of the sample.
        begin: first byte of the sample's first header.
        extension: extension of the image, without a dot.
        image: image; None if the sample has none.
        content: JSON; None if the sample has none.
    """

    shard: Path
    key: str
    begin: int
    extension: str
    image: Member | None
    content: Member | None

    def __str__(self) -> str:
        return f"{self.shard}, key {self.key}"


def list_samples(shard: Path, given: Mapping[str, str]) -> tuple[list[ForeignSample], int]:
    """Return the samples of a shard, and the byte where the last one ends.

    Args:
        shard: tar file.
        given: extensions of the image and the JSON in a sample, under `image` and `json`; by default any of an image,
            and `json`.

    Raises:
        InputError: it is compressed, not a tar file or cut off, or a sample has several images.
    """
    _refuse_compressed(shard)
    end = 0
    try:
        with tarfile.open(shard, "r:") as archive:
            samples = [_sample(shard, key, members, given) for key, members in _groups(archive)]
            for member in archive.getmembers():
                size = member.size if member.isreg() else 0
                end = member.offset_data + size + -size % tarfile.BLOCKSIZE
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{shard}: not a whole tar file ({error}); copy it again") from error
    if read_member(shard, Member(end, end + tarfile.BLOCKSIZE)) != bytes(tarfile.BLOCKSIZE):
        raise InputError(f"{shard}: cut off, it does not end as a tar file does; copy it again")
    return samples, end


def _refuse_compressed(shard: Path) -> None:
    try:
        with shard.open("rb") as file:
            beginning = file.read(6)
    except OSError as error:
        raise InputError(f"{shard}: cannot be read ({error.strerror}); check its permissions") from error
    for magic, command in _COMPRESSED.items():
        if beginning.startswith(magic):
            raise InputError(
                f"{shard}: a compressed tar file, in which no sample can be read by its number; unpack it first, as "
                f"with `{command} {shard.name}`"
            )


def _groups(archive: tarfile.TarFile) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Yield key and members by extension of each sample."""
    key, members = None, dict[str, tarfile.TarInfo]()
    for member in archive:
        prefix, extension = base_plus_ext(member.name)
        if not member.isreg() or prefix is None:
            continue
        if prefix != key and members:
            yield str(key), members
            members = {}
        key = prefix
        members[extension.lower()] = member
    if members:
        yield str(key), members


def _sample(shard: Path, key: str, members: Mapping[str, tarfile.TarInfo], given: Mapping[str, str]) -> ForeignSample:
    images = [extension for extension in members if f".{extension}" in IMAGE_SUFFIXES]
    if "image" in given:
        images = [given["image"]] if given["image"] in members else []
    if len(images) > 1:
        raise InputError(
            f"{shard}, key {key}: has several images, {' and '.join(images)}; choose one with --map image={images[0]}"
        )
    return ForeignSample(
        shard,
        key,
        min(member.offset for member in members.values()),
        images[0] if images else "",
        _member(members.get(images[0])) if images else None,
        _member(members.get(given.get("json", "json"))),
    )


def _member(info: tarfile.TarInfo | None) -> Member | None:
    return None if info is None else Member(info.offset_data, info.offset_data + info.size)


def read_member(path: Path, member: Member) -> bytes:
    """Return the content of a member.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        file.seek(member.start)
        return file.read(member.end - member.start)
