"""Write a file and hash its bytes in a thread, while the caller makes the next ones."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import BinaryIO

_PIECE = 1 << 20
"""Bytes that the thread takes at a time: enough for some images, few enough to stay in the cache of a core."""
_AHEAD = 2
"""Pieces that wait: one at work, and one so that the thread does not wait."""


class HashedFile:
    """A file that is written from its beginning to its end.

    Writing and hashing do not need Python's lock: where a second core is free, they take no time of the caller's.

    Args:
        file: file to write to; the caller closes it when its hash is there.
        thread: the thread; several files may share it, one after the other.

    Attributes:
        offset: number of bytes given so far.
    """

    def __init__(self, file: BinaryIO, thread: ThreadPoolExecutor) -> None:
        self.offset = 0
        self._file = file
        self._digest = sha256()
        self._thread = thread
        self._waiting: deque[Future[None]] = deque()
        self._piece: list[bytes] = []
        self._size = 0

    def write(self, content: bytes) -> None:
        """Append bytes.

        Raises:
            OSError: earlier ones could not be written, for example to a full disk.
        """
        self.offset += len(content)
        self._piece.append(content)
        self._size += len(content)
        if self._size >= _PIECE:
            self._hand_over()

    def end(self) -> Future[str]:
        """End the file; its future result is the SHA-256 of all, or the OSError of bytes that could not be written."""
        self._hand_over()
        return self._thread.submit(self._finish)

    def _hand_over(self) -> None:
        self._waiting.append(self._thread.submit(self._write, self._piece))
        self._piece, self._size = [], 0
        if len(self._waiting) > _AHEAD:
            self._waiting.popleft().result()

    def _finish(self) -> str:
        for written in self._waiting:
            written.result()
        return self._digest.hexdigest()

    def _write(self, contents: list[bytes]) -> None:
        piece = b"".join(contents)  # one call for all: after each the lock has to be waited for
        self._file.write(piece)
        self._digest.update(piece)
