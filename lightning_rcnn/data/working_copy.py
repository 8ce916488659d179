"""A folder in a cloud and its local copy, for programs that work with files.

The folder in the cloud is the truth: `pull` makes the copy equal to it, except for files that could not be sent before.
What was written by somebody else since it was read is never overwritten.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from filelock import FileLock

from lightning_rcnn.data.cache import default_folder
from lightning_rcnn.data.fetch import FetchPolicy, fetch_file, file_state, list_files, remove_file, send_file
from lightning_rcnn.data.stores.addresses import inside, path_below
from lightning_rcnn.data.stores.transfer import FileState
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_write

_RECORD = ".copied.json"
"""File of the copy: of each file its size and time here and its version in the cloud, and which could not be sent."""
_LOCAL_NAMES = {_RECORD, ".lock"}

Stamp = tuple[int, int]  # size and time of a local file


class ChangedElsewhereError(InputError):
    """Raised when a file in the cloud is not the one that was read or written here."""


class WorkingCopy:
    """A local copy of a folder in a cloud.

    Args:
        url: URL of the folder.
        policy: timeout and attempts.

    Attributes:
        folder: the copy, in the user's cache folder.
    """

    def __init__(self, url: str, policy: FetchPolicy) -> None:
        self.url = url.rstrip("/")
        self.policy = policy
        self.folder = default_folder().with_name("runs") / path_below(self.url)

    def require_writable(self) -> None:
        """Check that files can be written to the cloud.

        Raises:
            InputError: they cannot.
        """
        with tempfile.NamedTemporaryFile() as empty:
            send_file(Path(empty.name), inside(self.url, ".writable"), self.policy)
        remove_file(inside(self.url, ".writable"), self.policy)

    def pull(self) -> None:
        """Fetch what is not here as it is there, and remove what is not there any more.

        Raises:
            InputError: the cloud cannot be read, or the copy cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock():
                self._pull()
        except OSError as error:
            raise InputError(f"{self.folder}: the copy of {self.url} cannot be written ({error})") from error

    def _pull(self) -> None:
        stored = list_files(self.url, self.policy)
        record = _Record.read(self.folder)
        for name in self._files():
            # What was never there is new here, perhaps by a command that still runs.
            if name not in stored and name in record.versions:
                (self.folder / name).unlink()
        for name, state in stored.items():
            is_known = record.versions.get(name) == state.version
            is_here = record.stamps.get(name) == _stamp(self.folder / name)
            if not is_known or not (is_here or name in record.unsent):
                version = self._fetch(name, state)
                record.note(name, _stamp(self.folder / name), version)
        record.write(self.folder)

    def push(self) -> None:
        """Send what is new or has changed here, checkpoints last: what belongs to them is there before.

        Raises:
            InputError: a file cannot be sent; the next call tries again.
            ChangedElsewhereError: a file was written by somebody else since it was read or written here.
        """
        try:
            with self._lock():
                self._push()
        except OSError as error:
            raise InputError(f"{self.folder}: the copy of {self.url} cannot be read or written ({error})") from error

    def _push(self) -> None:
        record = _Record.read(self.folder)
        changed = [name for name in self._files() if record.stamps.get(name) != _stamp(self.folder / name)]
        changed.sort(key=lambda name: (name.endswith(".ckpt"), name))
        record.unsent |= set(changed)
        if not changed:
            return
        try:
            stored = list_files(self.url, self.policy)
            for name in changed:
                self._send(name, stored.get(name), record)
        finally:
            record.write(self.folder)

    def _lock(self) -> FileLock:
        """Return the lock of the record: several commands may work in the copy."""
        return FileLock(self.folder.with_name(f".{self.folder.name}.lock"))

    def _fetch(self, name: str, listed: FileState) -> str:
        """Fetch a file, and return its version."""
        path, url, state = self.folder / name, inside(self.url, name), listed
        while True:
            with atomic_write(path) as file:
                fetch_file(url, file, min_size=state.size, sha256=None, policy=self.policy)
            now = file_state(url, self.policy)
            if now.version == state.version:
                break
            state = now  # it was replaced since it was listed
        os.utime(path, (state.modified, state.modified))  # so that the copies of all machines are alike
        return state.version

    def _send(self, name: str, stored: FileState | None, record: "_Record") -> None:
        url, path = inside(self.url, name), self.folder / name
        if name in record.versions:
            stored = file_state(url, self.policy)  # that of the listing is some files old
        version = None if stored is None else stored.version
        if version != record.versions.get(name) and not self._is_own(name, stored, record):
            raise ChangedElsewhereError(
                f"{url}: was written by another process since this one read it; its own is {path}"
            )
        stamp = _stamp(path)  # of what is sent: a log may grow meanwhile
        if stamp is None:  # a file that was removed since
            record.unsent.discard(name)
            return
        record.sending[name] = _digest(path)
        record.write(self.folder)
        send_file(path, url, self.policy)
        record.note(name, stamp, file_state(url, self.policy).version)

    def _is_own(self, name: str, stored: FileState | None, record: "_Record") -> bool:
        """Tell whether a file there is what was sent from here, without an answer."""
        if stored is None or name not in record.sending:
            return False
        with tempfile.NamedTemporaryFile() as file:
            fetch_file(inside(self.url, name), file, min_size=stored.size, sha256=None, policy=self.policy)  # type: ignore[arg-type]
            file.flush()
            return _digest(Path(file.name)) == record.sending[name]

    def _files(self) -> Iterator[str]:
        for path in sorted(self.folder.rglob("*")):
            if path.name not in _LOCAL_NAMES and path.suffix != ".partial" and path.is_file() and not path.is_symlink():
                yield path.relative_to(self.folder).as_posix()


@dataclass
class _Record:
    """What is known of the files of a copy, by relative path.

    Attributes:
        stamps: size and time here, when they were last the same as in the cloud.
        versions: version in the cloud at that time.
        unsent: files that could not be sent; those here are the newer ones.
        sending: SHA-256 of files that were sent, without an answer so far.
    """

    stamps: dict[str, Stamp]
    versions: dict[str, str]
    unsent: set[str]
    sending: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> "_Record":
        """Read the record of a folder; empty if there is none."""
        try:
            content = json.loads((folder / _RECORD).read_text())
            stamps = {name: (size, time) for name, (size, time) in content["stamps"].items()}
            return cls(stamps, dict(content["versions"]), set(content["unsent"]), dict(content["sending"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls({}, {}, set(), {})

    def note(self, name: str, stamp: Stamp | None, version: str) -> None:
        """Note that a file is the same here and in the cloud."""
        if stamp is not None:
            self.stamps[name] = stamp
        self.versions[name] = version
        self.unsent.discard(name)
        self.sending.pop(name, None)

    def write(self, folder: Path) -> None:
        """Write the record into a folder."""
        content = {"stamps": self.stamps, "versions": self.versions}
        content |= {"unsent": sorted(self.unsent), "sending": self.sending}
        with atomic_write(folder / _RECORD) as file:
            file.write(json.dumps(content).encode())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _stamp(path: Path) -> Stamp | None:
    """Return size and time of a file; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
