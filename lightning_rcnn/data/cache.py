"""Local copies of remote shards: one cache folder for all processes of a node.

A shard is fetched when its first sample is read. One process fetches it while the others wait. It appears under its
final name only when it is complete and verified. The name contains the shard's sha256, so data sets can share a cache.
When the folder exceeds its limit, the least recently opened shards are removed. A process that has a removed shard open
keeps reading it; a process that opens it later fetches it again.
"""

import contextlib
import os
from functools import partial
from pathlib import Path

from filelock import FileLock

from lightning_rcnn.data.fetch import FetchPolicy, fetch_file
from lightning_rcnn.data.index import Shard
from lightning_rcnn.data.open_files import OpenFiles
from lightning_rcnn.data.stores.addresses import is_remote
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_write


class ShardCache:
    """Provides a local file for each shard.

    Args:
        folder: folder for fetched shards; the user's cache folder if None.
        limit_bytes: size in bytes above which shards are removed. It must hold the shards that are read at the same
            time; otherwise each of them is fetched again and again.
        policy: timeout and attempts for remote addresses.
    """

    def __init__(self, folder: str | Path | None, limit_bytes: float, policy: FetchPolicy) -> None:
        self.folder = Path(folder).expanduser() if folder is not None else default_folder()
        self.limit_bytes = limit_bytes
        self.policy = policy
        self._files = OpenFiles()

    def read(self, address: str, shard: Shard, start: int, end: int) -> bytes:
        """Return the bytes of a shard from `start` to `end`, fewer at its end.

        Raises:
            InputError: see `local_path`.
            OSError: its file cannot be read.
        """
        return self._files.read(address, partial(self.local_path, address, shard), start, end)

    def holds(self, shard: Shard) -> bool:
        """Return whether the shard was fetched, and not removed since."""
        return self._path(shard).exists()

    def local_path(self, address: str, shard: Shard) -> Path:
        """Return the path of the local file of a shard, which is fetched if necessary.

        Raises:
            InputError: the shard cannot be fetched or stored.
        """
        if not is_remote(address):
            return Path(address)
        path = self._path(shard)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                if not path.exists():
                    self._fetch(address, shard, path)
                os.utime(path)
        except OSError as error:
            raise InputError(
                f"{self.folder}: fetched shards cannot be stored ({error}); make room or set data.fetching.cache_dir "
                "and data.fetching.cache_limit_gb"
            ) from error
        return path

    def _path(self, shard: Shard) -> Path:
        return self.folder / f"{shard.sha256[:16]}-{shard.name}"

    def _fetch(self, address: str, shard: Shard, path: Path) -> None:
        """Fetch a shard; the caller holds the lock, so no other process writes the partial file."""
        with atomic_write(path) as file:
            fetch_file(address, file, min_size=shard.offsets[-1], sha256=shard.sha256, policy=self.policy)
        self._remove_oldest(keep=path)

    def _remove_oldest(self, keep: Path) -> None:
        files = []
        for path in [*self.folder.glob("*.tar"), *self.folder.glob("*.jsonl")]:
            with contextlib.suppress(FileNotFoundError):  # another process may remove it at the same time
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        excess = sum(size for _, size, _ in files) - self.limit_bytes
        for _, size, path in sorted(files):
            if excess <= 0:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                excess -= size


def default_folder() -> Path:
    """Return `lightning-rcnn/shards` in the user's cache folder (XDG_CACHE_HOME, else ~/.cache)."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "lightning-rcnn" / "shards"
