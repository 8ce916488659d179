"""Fetch bytes from a URL or a command in bounded time: retry with back-off, then raise one line with the address."""

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO, TypeVar

from lightning_rcnn.data.stores import cloud, http, pipe
from lightning_rcnn.data.stores.addresses import PIPE, is_cloud, without_secrets
from lightning_rcnn.data.stores.transfer import MIN_BYTES_PER_SECOND, FileState, Span, TransferError
from lightning_rcnn.errors import InputError

Result = TypeVar("Result")


@dataclass(frozen=True)
class FetchPolicy:
    """Timeout and retries for an address.

    Attributes:
        timeout: seconds without a byte after which an attempt fails.
        attempts: number of attempts.
        first_pause: seconds before the second attempt. Each further pause is twice as long, and a random factor from 1
            to 2 keeps many nodes from retrying at the same moment.
    """

    timeout: float = 30.0
    attempts: int = 5
    first_pause: float = 1.0


def fetch_bytes(address: str, policy: FetchPolicy) -> bytes:
    """Return the content of a URL or the output of a command.

    Raises:
        InputError: every attempt failed.
    """

    def attempt() -> bytes:
        return b"".join(_receive(address, policy.timeout, time.monotonic() + 10 * policy.timeout))

    return _retry(address, policy, attempt)


def fetch_range(address: str, span: Span, policy: FetchPolicy) -> bytes:
    """Return a part of the content of a URL.

    Raises:
        InputError: every attempt failed.
        NoRangesError: its server sends files as a whole only.
    """
    size = span.end - span.start

    def attempt() -> bytes:
        deadline = time.monotonic() + policy.timeout + size / MIN_BYTES_PER_SECOND
        content = b"".join(_receive(address, policy.timeout, deadline, span))
        if len(content) != size:
            raise TransferError(f"received {len(content)} of {size} bytes")
        return content

    return _retry(address, policy, attempt)


def find_matches(pattern: str, policy: FetchPolicy) -> list[str]:
    """Return the URLs of the files and folders in a cloud that match a pattern, in order.

    Raises:
        InputError: every attempt failed.
    """
    return _retry(pattern, policy, lambda: cloud.matches(pattern, policy.timeout))


def file_state(url: str, policy: FetchPolicy) -> FileState:
    """Return the size and the version of a file in a cloud.

    Raises:
        InputError: every attempt failed.
    """
    return _retry(url, policy, lambda: cloud.state(url, policy.timeout))


def list_files(url: str, policy: FetchPolicy) -> dict[str, FileState]:
    """Return the files below a folder in a cloud by their relative path; none if there is no such folder.

    Raises:
        InputError: every attempt failed.
    """
    return _retry(url, policy, lambda: cloud.listing(url, policy.timeout))


def send_file(file: Path, url: str, policy: FetchPolicy) -> None:
    """Write a local file to a cloud, where it appears when it is whole.

    Raises:
        InputError: every attempt failed.
    """
    _retry(url, policy, lambda: cloud.send(file, url, policy.timeout))


def remove_file(url: str, policy: FetchPolicy) -> None:
    """Remove a file from a cloud.

    Raises:
        InputError: every attempt failed.
    """
    _retry(url, policy, lambda: cloud.remove(url, policy.timeout))


def fetch_file(address: str, file: BinaryIO, *, min_size: int, sha256: str | None, policy: FetchPolicy) -> None:
    """Write the content of an address into a file and verify it; after an error the file may be incomplete.

    Args:
        address: URL, or `pipe:` and a command.
        file: open file, which each attempt empties first.
        min_size: minimum size of the content in bytes.
        sha256: hash of the content; None if it is not known.
        policy: timeout and attempts.

    Raises:
        InputError: every attempt failed, or the content is not the expected one.
        OSError: the file cannot be written.
    """

    def attempt() -> None:
        digest, size = hashlib.sha256(), 0
        deadline = time.monotonic() + policy.timeout + min_size / MIN_BYTES_PER_SECOND
        if file.tell():  # a failed attempt has written something
            file.seek(0)
            file.truncate()
        for chunk in _receive(address, policy.timeout, deadline):
            size += file.write(chunk)
            digest.update(chunk)
        if size < min_size:
            raise TransferError(f"received only {size} of at least {min_size} bytes")
        if sha256 is not None and digest.hexdigest() != sha256:
            raise TransferError("its sha256 differs from the index: damaged, or changed since it was packed")

    _retry(address, policy, attempt)


def _retry(address: str, policy: FetchPolicy, attempt: Callable[[], Result]) -> Result:
    jitter = random.Random()
    for number in count(1):
        try:
            return attempt()
        except TransferError as error:
            if error.is_final or number == policy.attempts:
                attempts = f" after {number} attempts" if number > 1 else ""
                what_to_check = "the address, your access to it" if is_cloud(address) else "the address"
                raise InputError(
                    f"{without_secrets(address)}: {error}{attempts}; check {what_to_check} and the network"
                ) from error
            time.sleep(policy.first_pause * 2 ** (number - 1) * (1 + jitter.random()))
    raise AssertionError("unreachable")


def _receive(address: str, timeout: float, deadline: float, span: Span | None = None) -> Iterator[bytes]:
    store = pipe if address.startswith(PIPE) else cloud if is_cloud(address) else http
    for chunk in store.receive(address, timeout, span):
        if time.monotonic() > deadline:
            raise TransferError(f"slower than {MIN_BYTES_PER_SECOND // 1000} kB/s")
        yield chunk
