"""Fetch bytes from a URL or a command in bounded time: retry with back-off, then raise one line with the address."""

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
from typing import BinaryIO, TypeVar

from lightning_rcnn.errors import InputError

PIPE = "pipe:"
_CHUNK = 1 << 20
_MIN_BYTES_PER_SECOND = 100_000  # a transfer whose average speed is lower counts as stalled
_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}
_NO_SUCH_COMMAND = {126, 127}  # exit statuses of a shell

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


class TransferError(Exception):
    """Raised when an attempt fails; `is_final` says that another attempt would fail too."""

    def __init__(self, reason: str, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


def is_remote(address: str) -> bool:
    """Return whether the address is a URL or a command, not a local path."""
    return address.startswith(("http://", "https://", PIPE))


def without_query(address: str) -> str:
    """Return the address for messages: without a URL's query, which may contain a secret signature."""
    return address if address.startswith(PIPE) else address.split("?")[0]


def fetch_bytes(address: str, policy: FetchPolicy) -> bytes:
    """Return the content of a URL or the output of a command.

    Raises:
        InputError: every attempt failed.
    """

    def attempt() -> bytes:
        return b"".join(_receive(address, policy.timeout, time.monotonic() + 10 * policy.timeout))

    return _retry(address, policy, attempt)


def fetch_file(address: str, file: BinaryIO, *, min_size: int, sha256: str, policy: FetchPolicy) -> None:
    """Write the content of an address into a file and verify it; after an error the file may be incomplete.

    Args:
        address: URL, or `pipe:` and a command.
        file: open file, which each attempt empties first.
        min_size: minimum size of the content in bytes.
        sha256: hash of the content.
        policy: timeout and attempts.

    Raises:
        InputError: every attempt failed, the content is not the expected one, or the file cannot be written.
    """

    def attempt() -> None:
        digest, size = hashlib.sha256(), 0
        deadline = time.monotonic() + policy.timeout + min_size / _MIN_BYTES_PER_SECOND
        try:
            if file.tell():  # a failed attempt has written something
                file.seek(0)
                file.truncate()
            for chunk in _receive(address, policy.timeout, deadline):
                size += file.write(chunk)
                digest.update(chunk)
        except OSError as error:
            raise InputError(
                f"{Path(file.name).parent}: {without_query(address)} cannot be stored ({error.strerror}); "
                "make room or set data.fetching.cache_dir and data.fetching.cache_limit_gb"
            ) from error
        if size < min_size:
            raise TransferError(f"received only {size} of at least {min_size} bytes")
        if digest.hexdigest() != sha256:
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
                raise InputError(
                    f"{without_query(address)}: {error}{attempts}; check the address and the network"
                ) from error
            time.sleep(policy.first_pause * 2 ** (number - 1) * (1 + jitter.random()))
    raise AssertionError("unreachable")


def _receive(address: str, timeout: float, deadline: float) -> Iterator[bytes]:
    receive = _receive_pipe if address.startswith(PIPE) else _receive_http
    for chunk in receive(address, timeout):
        if time.monotonic() > deadline:
            raise TransferError(f"slower than {_MIN_BYTES_PER_SECOND // 1000} kB/s")
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
        # The command gets its own session, so that killing the group also ends the shell's children.
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
            lines = errors.read().decode(errors="replace").strip().splitlines()
            raise TransferError(
                f"exit status {status}: {lines[-1] if lines else 'no message'}", status in _NO_SUCH_COMMAND
            )


def _read_pipe(descriptor: int, timeout: float) -> bytes:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    if not poll.poll(timeout * 1000):
        raise TransferError(f"no byte in {timeout:g} s")
    return os.read(descriptor, _CHUNK)
