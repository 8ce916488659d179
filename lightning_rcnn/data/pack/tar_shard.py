"""Write a shard: a tar file whose bytes depend only on its members, hashed while it is written."""

import tarfile
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from lightning_rcnn.data.pack.hashed_file import HashedFile

_MODE = 0o444
"""Permissions that a program which unpacks a shard gives its files."""
_SIZE, _CHECKSUM = slice(124, 135), slice(148, 155)
_ZEROS = bytes(tarfile.BLOCKSIZE)
_MAX_SIZE = 8**11 - 1
"""Bytes of a member that the eleven octal digits of a header can say."""


class TarShard:
    """A tar file of members without owner and time, in the format that every program reads (POSIX 1988, ustar).

    Python's `tarfile` and webdataset's writer make the same file, but copy each image piece by piece.

    Args:
        file: file to write to, from its beginning; the caller closes it when its hash is there.
        thread: thread that writes and hashes, as of `HashedFile`.
    """

    def __init__(self, file: BinaryIO, thread: ThreadPoolExecutor) -> None:
        self._file = HashedFile(file, thread)

    @property
    def offset(self) -> int:
        """Number of bytes written."""
        return self._file.offset

    def add(self, name: str, content: bytes) -> None:
        """Append a member.

        Args:
            name: its name, ASCII, at most 100 characters.
            content: its bytes, less than 8 GiB.
        """
        self.write(_header(name, len(content)))
        self.write(content)
        self.write(_ZEROS[: -len(content) % tarfile.BLOCKSIZE])

    def write(self, blocks: bytes) -> None:
        """Append bytes of a tar file, such as whole members."""
        self._file.write(blocks)

    def end(self) -> Future[str]:
        """Write the end of the archive; its future result is the SHA-256 of the whole file."""
        end_of_tar = 2 * tarfile.BLOCKSIZE
        self.write(bytes(end_of_tar + -(self.offset + end_of_tar) % tarfile.RECORDSIZE))
        return self._file.end()


def _template() -> bytes:
    info = tarfile.TarInfo()
    info.mode = _MODE
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    header[_CHECKSUM] = b" " * 7  # with the space behind it, as the sum is defined
    return bytes(header)


_TEMPLATE = _template()
_SUM = sum(_TEMPLATE) - sum(_TEMPLATE[_SIZE])
"""Of the bytes beside name and size; the checksum counts as spaces."""


def _header(name: str, size: int) -> bytes:
    """Return the header that `tarfile` writes, in a quarter of the time."""
    if len(name) > tarfile.LENGTH_NAME or size > _MAX_SIZE:
        raise ValueError(f"{name}: a name of {len(name)} characters, or {size} bytes, are too many for a tar header")
    header = bytearray(_TEMPLATE)
    header[: len(name)] = name.encode("ascii")
    octal = b"%011o" % size
    header[_SIZE] = octal
    header[_CHECKSUM] = b"%06o\0" % (_SUM + sum(header[: len(name)]) + sum(octal))
    return bytes(header)
