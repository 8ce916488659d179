"""Bytes from a URL or a command, in bounded time: retries with back-off, then one line that names the address."""

import hashlib
import http.client
import os
import random
import select
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

from lightning_rcnn.errors import InputError

PIPE = "pipe:"
_CHUNK = 1 << 20
_SLOWEST = 100_000  # bytes a second; a transfer that is slower over its whole length counts as stalled
_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}
_NO_SUCH_COMMAND = {126, 127}  # what a shell exits with

Result = TypeVar("Result")


@dataclass(frozen=True)
class FetchPolicy:
    """Patience with an address.

    Attributes:
        timeout: seconds without a byte after which an attempt is given up.
        attempts: how often it is tried.
        first_pause: seconds before the second attempt; doubled before each further one, and up to doubled again at
            random, so that many nodes do not come back at the same moment.
    """

    timeout: float = 30.0
    attempts: int = 5
    first_pause: float = 1.0


class TransferError(Exception):
    """An attempt failed; `is_final` says that another one would, too."""

    def __init__(self, reason: str, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


def is_remote(address: str) -> bool:
    """Whether the address is not a local path."""
    return address.startswith(("http://", "https://", PIPE))


def readable(address: str) -> str:
    """The address for messages: without a URL's query, where signatures stand."""
    return address if address.startswith(PIPE) else address.split("?")[0]


def fetch_bytes(address: str, policy: FetchPolicy) -> bytes:
    """All that is at a URL, or that a command prints.

    Raises:
        InputError: not to be had.
    """

    def attempt() -> bytes:
        return b"".join(_receive(address, policy.timeout, time.monotonic() + 10 * policy.timeout))

    return _retry(address, policy, attempt)


def fetch_file(address: str, path: Path, *, min_size: int, sha256: str, policy: FetchPolicy) -> None:
    """Write what is at an address into a file and check it; after an error the file may be there in part.

    Args:
        address: URL, or `pipe:` and a command.
        path: the file, made anew at each attempt.
        min_size: bytes that the file has at least.
        sha256: of the whole file.
        policy: patience.

    Raises:
        InputError: not to be had, not what it should be, or no room for it.
    """

    def attempt() -> None:
        digest, size = hashlib.sha256(), 0
        deadline = time.monotonic() + policy.timeout + min_size / _SLOWEST
        try:
            with path.open("wb") as file:
                for chunk in _receive(address, policy.timeout, deadline):
                    size += file.write(chunk)
                    digest.update(chunk)
        except OSError as error:
            raise InputError(
                f"{path.parent}: cannot store {readable(address)} ({error.strerror}); "
                "make room or set data.fetching.cache_dir and data.fetching.cache_limit_gb"
            ) from error
        if size < min_size:
            raise TransferError(f"only {size} of at least {min_size} bytes came")
        if digest.hexdigest() != sha256:
            raise TransferError("its sha256 is not that of the index: damaged, or changed since it was packed")

    _retry(address, policy, attempt)


def _retry(address: str, policy: FetchPolicy, attempt: Callable[[], Result]) -> Result:
    spread = random.Random()
    for number in count(1):
        try:
            return attempt()
        except TransferError as error:
            if error.is_final or number == policy.attempts:
                tried = f" after {number} attempts" if number > 1 else ""
                raise InputError(f"{readable(address)}: {error}{tried}; check the address and the network") from error
            time.sleep(policy.first_pause * 2 ** (number - 1) * (1 + spread.random()))
    raise AssertionError("unreachable")


def _receive(address: str, timeout: float, deadline: float) -> Iterator[bytes]:
    receive = _receive_pipe if address.startswith(PIPE) else _receive_http
    for chunk in receive(address, timeout):
        if time.monotonic() > deadline:
            raise TransferError(f"slower than {_SLOWEST // 1000} kB/s")
        yield chunk


def _receive_http(url: str, timeout: float) -> Iterator[bytes]:
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            while chunk := response.read1(_CHUNK):
                yield chunk
    except urllib.error.HTTPError as error:
        raise TransferError(
            f"HTTP {error.code} {error.reason}", is_final=error.code not in _TRANSIENT_STATUS
        ) from error
    except TimeoutError as error:
        raise TransferError(f"no byte in {timeout:g} s") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise TransferError(str(getattr(error, "reason", error)) or type(error).__name__) from error
    except ValueError as error:
        raise TransferError(str(error), is_final=True) from error


def _receive_pipe(address: str, timeout: float) -> Iterator[bytes]:
    command = address.removeprefix(PIPE)
    with tempfile.TemporaryFile() as errors:
        # A session of its own, so that the shell's children end with it.
        process = subprocess.Popen(command, shell=True, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        assert process.stdout is not None
        try:
            while chunk := _read_pipe(process.stdout.fileno(), timeout):
                yield chunk
            status = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TransferError(f"did not end in {timeout:g} s") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stdout.close()
        if status != 0:
            errors.seek(0)
            words = errors.read().decode(errors="replace").strip().splitlines()
            raise TransferError(
                f"exit status {status}: {words[-1] if words else 'no message'}", status in _NO_SUCH_COMMAND
            )


def _read_pipe(descriptor: int, timeout: float) -> bytes:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    if not poll.poll(timeout * 1000):
        raise TransferError(f"no byte in {timeout:g} s")
    return os.read(descriptor, _CHUNK)
