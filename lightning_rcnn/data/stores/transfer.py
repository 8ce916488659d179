"""What all ways to transfer a file have in common."""

from typing import NamedTuple

MIN_BYTES_PER_SECOND = 100_000
"""A transfer whose average speed is lower counts as stalled."""


class Span(NamedTuple):
    """A part of a file.

    Attributes:
        start, end: first byte, and the byte after the last.
    """

    start: int
    end: int


class FileState(NamedTuple):
    """What a store says of a file.

    Attributes:
        size: bytes.
        version: 16 digits that change with the content.
        modified: time of the last change in seconds since 1970; 0 if unknown.
    """

    size: int
    version: str
    modified: int


class NoRangesError(Exception):
    """Raised where files can be had as a whole only."""


class TransferError(Exception):
    """Raised when an attempt fails; `is_final` says that another attempt would fail too."""

    def __init__(self, reason: str, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final
