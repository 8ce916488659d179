"""Files of clouds and hubs: S3, Google Cloud Storage, Azure, Hugging Face, and whatever else fsspec reads."""

import hashlib
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from lightning_rcnn.data.stores.filesystems import filesystem_of
from lightning_rcnn.data.stores.transfer import MIN_BYTES_PER_SECOND, FileState, Span, TransferError

_CHUNK = 2 << 20
_AT_ONCE = 4
"""Requests at the same time: one alone has a fraction of the bandwidth of a cloud."""
_MAGIC = re.compile(r"[*?\[]")
_ATOMIC = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "oss", "memory"}
"""Schemes of stores in which a file appears when it is whole; in others it is written under another name first."""
_VERSIONS = ("ETag", "etag", "md5Hash", "blob_id", "mtime", "created", "LastModified", "last_modified", "modify")
_TIMES = ("LastModified", "last_modified", "updated", "mtime")
"""Keys of what a store says of a file, the best first; each package has its own."""
_NO_ACCESS = re.compile("credential|authentication|unauthorized", re.IGNORECASE)
"""In the names of errors, of which each package has its own."""

Result = TypeVar("Result")


def receive(url: str, timeout: float, span: Span | None = None) -> Iterator[bytes]:
    """Yield the content of a file, or a part of it, requested in pieces.

    Raises:
        TransferError: it cannot be read, no piece of it arrived in time, or a whole file was replaced meanwhile: its
            pieces would be those of two.
        InputError: see `filesystem_of`.
    """
    filesystem = filesystem_of(url, timeout)
    path = filesystem._strip_protocol(url)
    if span is None:
        before = state(url, timeout)
        yield from receive(url, timeout, Span(0, before.size))
        if state(url, timeout).version != before.version:
            raise TransferError("was replaced while it was read")
        return
    requests: deque[tuple[Span, Future[bytes]]] = deque()
    for start in range(span.start, span.end, _CHUNK):
        piece = Span(start, min(start + _CHUNK, span.end))
        requests.append((piece, _start(partial(filesystem.cat_file, path, start=piece.start, end=piece.end))))
        if len(requests) == _AT_ONCE:
            yield _answer(requests, timeout)
    while requests:
        yield _answer(requests, timeout)


def state(url: str, timeout: float) -> FileState:
    """Return the size and the version of a file.

    Raises:
        TransferError: there is none, or the store cannot be asked.
        InputError: see `filesystem_of`.
    """
    filesystem = filesystem_of(url, timeout)
    filesystem.invalidate_cache()
    info = _wait(_start(partial(filesystem.info, filesystem._strip_protocol(url))), timeout)
    if info["type"] != "file":
        raise TransferError("is a folder", is_final=True)
    return _state_of(info)


def listing(url: str, timeout: float) -> dict[str, FileState]:
    """Return the files below a folder by their relative path; none if there is no such folder.

    Raises:
        TransferError: the store cannot be asked.
        InputError: see `filesystem_of`.
    """
    filesystem = filesystem_of(url, timeout)
    filesystem.invalidate_cache()
    folder = filesystem._strip_protocol(url).rstrip("/")
    found = _wait(_start(partial(filesystem.find, folder, detail=True)), timeout)
    return {path[len(folder) :].strip("/"): _state_of(info) for path, info in found.items() if path != folder}


def send(file: Path, url: str, timeout: float) -> None:
    """Write a local file to a store, where it appears when it is whole.

    Raises:
        TransferError: it cannot be written.
        InputError: see `filesystem_of`.
    """
    filesystem = filesystem_of(url, timeout)
    path, size = filesystem._strip_protocol(url), file.stat().st_size
    if url.partition("://")[0] in _ATOMIC:
        _wait(_start(partial(filesystem.put_file, str(file), path)), timeout, size)
        return
    folder, _, name = path.rpartition("/")
    partial_path = f"{folder}/.{name}.partial"
    _wait(_start(partial(filesystem.makedirs, folder, exist_ok=True)), timeout)
    _wait(_start(partial(filesystem.put_file, str(file), partial_path)), timeout, size)
    _wait(_start(partial(filesystem.mv, partial_path, path)), timeout)


def remove(url: str, timeout: float) -> None:
    """Remove a file.

    Raises:
        TransferError: it cannot be removed.
        InputError: see `filesystem_of`.
    """
    filesystem = filesystem_of(url, timeout)
    _wait(_start(partial(filesystem.rm_file, filesystem._strip_protocol(url))), timeout)


def _state_of(info: Mapping[str, Any]) -> FileState:
    version = info["size"], next((str(info[key]) for key in _VERSIONS if key in info), "")
    time = next((info[key] for key in _TIMES if key in info), 0)
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    modified = time.timestamp() if isinstance(time, datetime) else time
    return FileState(info["size"], hashlib.sha256(repr(version).encode()).hexdigest()[:16], int(modified))


def matches(pattern: str, timeout: float) -> list[str]:
    """Return the URLs of the files and folders that match a pattern, in order.

    Raises:
        TransferError: the store cannot be asked.
        InputError: see `filesystem_of`.
    """
    filesystem = filesystem_of(pattern, timeout)
    filesystem.invalidate_cache()
    folder = _MAGIC.split(pattern, maxsplit=1)[0].rpartition("/")[0]
    beginning = len(filesystem._strip_protocol(folder))
    paths = _wait(_start(partial(filesystem.glob, filesystem._strip_protocol(pattern))), timeout)
    return [f"{folder}/{path[beginning:].strip('/')}" for path in sorted(paths)]


def _answer(requests: deque[tuple[Span, "Future[bytes]"]], timeout: float) -> bytes:
    """Take the first request and return its answer; the others share the bandwidth."""
    in_flight = sum(piece.end - piece.start for piece, _ in requests)
    piece, future = requests.popleft()
    content = _wait(future, timeout, in_flight)
    if len(content) < piece.end - piece.start:
        raise TransferError(f"received only {len(content)} of {piece.end - piece.start} bytes")
    return content


def _start(function: Callable[[], Result]) -> "Future[Result]":
    """Call a function in a thread that nobody has to wait for: not every file system has a timeout."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _wait(future: "Future[Result]", timeout: float, size: int = 0) -> Result:
    """Wait `timeout` seconds, and as long as `size` bytes take."""
    try:
        return future.result(timeout + size / MIN_BYTES_PER_SECOND)
    except FileNotFoundError as error:
        raise TransferError("no such file or bucket", is_final=True) from error
    except PermissionError as error:
        raise TransferError(f"no access ({_first_line(error)})", is_final=True) from error
    except TimeoutError as error:
        raise TransferError(f"no byte in {timeout:g} s") from error
    except Exception as error:  # every package has its own
        is_final = isinstance(error, ValueError | TypeError | NotImplementedError | IsADirectoryError)
        denied = _NO_ACCESS.search(type(error).__name__) is not None
        raise TransferError(_first_line(error), is_final or denied) from error


def _first_line(error: Exception) -> str:
    reason = str(getattr(error, "strerror", None) or error)
    return (reason.strip().splitlines() or [type(error).__name__])[0].rstrip(".")
